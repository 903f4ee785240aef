"""A learner's unroll of a rollout, from the state that came with it, gives the probabilities that were drawn from."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from toy_policies import kept

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.environments.partially_observed import StatelessCartPoleEnv
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.testing import assert_nests_close
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig, PolicyPair
from workers.collection.evaluator import EVALUATION_STREAM, Evaluator
from workers.collection.seeding import slot_seeds
from workers.environments.factory import EnvironmentFactory
from workers.inference.server import InferenceServer
from workers.learning.learner import Learner
from workers.restart_budget import RestartBudgetConfig

FIRST, LAST = StepType.FIRST, StepType.LAST
CARTPOLE = "distpolicy.environments.partially_observed:StatelessCartPole-v1"
SLOTS = EnvironmentFactory(CARTPOLE, "sync")
NUM_SLOTS, NUM_STEPS = 4, 7
NETWORK = NetworkConfig(actor_units=(4,), recurrent="lstm", recurrent_units=(5, 4), encoder_units=(4,))
# One step on the whole batch, so that figures are those from before any gradient step.
PPO = PPOConfig(value_units=(4,), num_epochs=1, num_minibatches=1, learning_rate=3e-2, normalize_observations=True)
CONFIG = TrainConfig(network=NETWORK, agent=PPO, jit_compile=False)


class FailingCartPoleEnv(StatelessCartPoleEnv):
    """Fails in one step of twelve, by its own dice."""

    def step(self, action: Any) -> Any:
        if self.np_random.random() < 1 / 12:
            raise OSError("the simulator is gone")
        return super().step(action)


FAILING = EnvironmentFactory(
    "test_recurrent_rollouts:FailingCartPoleEnv", "sync", restarts=RestartBudgetConfig(max_restarts=1000, backoff_s=0.0)
)


def make_collector(environment: EnvironmentFactory = SLOTS, policy: Any = None, **settings: Any) -> Collector:
    settings = {"index": 0, "first_slot": 0, "num_slots": NUM_SLOTS, "num_steps": NUM_STEPS, "seed": 0, **settings}
    return Collector(CollectorConfig(**settings), environment, policy or PolicyFactory(CONFIG))


def make_learner(config: TrainConfig = CONFIG) -> Learner:
    probed = SLOTS(1)
    return Learner(AgentFactory(config, EnvironmentSpecs(probed.time_step_spec, probed.action_spec)))


def randomize(policy: Any, seed: int = 0) -> None:
    """Draws weights that make a policy's outputs depend on its state, and shows its normaliser observations."""
    generator = np.random.default_rng(seed)
    for variable in policy.trainable_variables:
        variable.assign(generator.normal(scale=0.8, size=variable.shape).astype(np.float32))
    policy.observation_normalizer.update(tf.constant(generator.normal(scale=0.1, size=(50, 2)).astype(np.float32)))


@pytest.fixture(scope="module")
def learner() -> Learner:
    """A learner whose weights are drawn anew; nothing changes them."""
    made = make_learner()
    randomize(made._agent.collect_policy)
    return made


@pytest.fixture
def collectors() -> Iterator[list[Collector]]:
    """Holds what is to be closed."""
    made: list[Collector] = []
    yield made
    for collector in made:
        collector.close()


def unroll(learner: Learner, rollout: Rollout, state: Any = None) -> np.ndarray:
    """Log-probabilities ``[B, T]`` of the rollout's actions by the learner's policy, all steps at once."""
    policy = learner._agent.collect_policy
    zeros = np.zeros(rollout.reward.shape, np.float32)
    observation = map_structure(lambda leaf: leaf[:, :-1], rollout.observation)
    time_step = TimeStep(rollout.step_type[:, :-1], zeros, zeros, observation)
    state = rollout.policy_state if state is None else state
    distribution = policy.distribution(*tf.nest.map_structure(tf.constant, (time_step, state))).action
    return distribution.log_prob(rollout.action).numpy()


def assert_unroll_is_exact(learner: Learner, rollout: Rollout) -> None:
    found = unroll(learner, rollout)
    np.testing.assert_allclose(found, rollout.policy_info.log_probability, rtol=1e-5, atol=1e-5)


def borders(rollouts: list[Rollout]) -> set[str]:
    """Where episodes ended."""
    found = set()
    for rollout in rollouts:
        boundary = rollout.trajectory.is_boundary()
        if boundary[:, 1:-1].any():
            found.add("inside")
        if (rollout.step_type[:, -1] == LAST).any():
            found.add("in the step after a rollout")
        if boundary[:, -1].any():
            found.add("in a rollout's last step")
        if boundary[:, 0].any():
            found.add("in a rollout's first step")
    return found


EVERYWHERE = {"inside", "in the step after a rollout", "in a rollout's last step", "in a rollout's first step"}


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        (SLOTS, {}),
        (EnvironmentFactory(CARTPOLE, "vector_entry_point"), {}),
        (SLOTS, {"num_groups": 2}),
        (FAILING, {}),
    ],
    ids=["sync", "vector_entry_point", "two groups", "failing"],
)
def test_unroll_from_the_stored_state_gives_the_probabilities_that_were_drawn_from(
    environment: EnvironmentFactory, settings: dict[str, int], learner: Learner, collectors: list[Collector]
) -> None:
    collector = make_collector(environment, **settings)
    collectors.append(collector)
    rollouts, cuts = [], 0
    # Until episodes have ended everywhere: it takes the same number of rollouts each time.
    while borders(rollouts) != EVERYWHERE or len(rollouts) < 12:
        rollouts.append(kept(collector.rollout(learner.weights())[0]))
        cuts += int(rollouts[-1].cuts.sum())
        assert_unroll_is_exact(learner, rollouts[-1])
        assert len(rollouts) < 60
    assert (cuts > 3) == (environment is FAILING)
    assert collector.policy.tracing_count == 1
    # Slots in the middle of an episode feel it if their state is another.
    later = rollouts[-1]
    zeros = map_structure(np.zeros_like, later.policy_state)
    going_on = later.step_type[:, 0] != FIRST
    difference = np.abs(unroll(learner, later, zeros) - later.policy_info.log_probability)
    assert difference[going_on].max() > 1e-3
    np.testing.assert_allclose(difference[~going_on], 0.0, atol=1e-5)


@pytest.mark.parametrize("inference", ["litert", "tf"])
def test_state_before_a_rollout_is_the_one_after_the_rollout_before(
    inference: str, learner: Learner, collectors: list[Collector]
) -> None:

    def factory(*specs: Any) -> PolicyPair:
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        pair = PolicyFactory(CONFIG)(*specs)
        eager = PyTFEagerPolicy(pair.collect.policy, True, False, jit_compile=False, inference=inference)
        return PolicyPair(eager, pair.greedy())

    collector = make_collector(policy=factory, num_slots=3)
    collectors.append(collector)
    policy = learner._agent.collect_policy
    carried = policy.get_initial_state(3)
    for _ in range(4):
        rollout = kept(collector.rollout(learner.weights())[0])
        assert_nests_close(rollout.policy_state, carried, 1e-5)
        observation, step_type = rollout.observation[:, :-1], rollout.step_type[:, :-1]
        zeros = np.zeros(step_type.shape, np.float32)
        steps = TimeStep(step_type, zeros, zeros, observation)
        carried = policy.distribution(*tf.nest.map_structure(tf.constant, (steps, rollout.policy_state))).state
    assert collector.policy.inference == inference


def test_ratio_is_one_before_the_first_step_in_every_update_of_a_run(collectors: list[Collector]) -> None:
    learner = make_learner()
    learner.warm_up(NUM_SLOTS, NUM_STEPS)
    halves = [make_collector(index=index, first_slot=2 * index, num_slots=2) for index in (0, 1)]
    collectors.extend(halves)
    weights, ended = learner.weights(), set()
    for _ in range(12):
        rollouts = [kept(collector.rollout(weights)[0]) for collector in halves]
        for rollout in rollouts:
            assert_unroll_is_exact(learner, rollout)
        ended |= borders(rollouts)
        # In whatever order they come.
        weights, metrics = learner.update(0.0, *rollouts[::-1])
        assert abs(metrics["approx_kl"]) < 1e-6
        assert metrics["clip_fraction"] == 0.0
    assert "inside" in ended
    assert learner._agent.tracing_count == 1
    assert weights.version == 12


def test_a_collector_that_was_started_again_begins_with_first_and_a_fresh_state(
    learner: Learner, collectors: list[Collector]
) -> None:
    collector = make_collector(num_steps=4)
    collectors.append(collector)
    for _ in range(2):
        before = kept(collector.rollout(learner.weights())[0])
    assert (before.step_type[:, 0] != FIRST).any()
    assert any(leaf.any() for leaf in flatten(before.policy_state))
    again = make_collector(generation=1)
    collectors.append(again)
    weights = dataclasses.replace(learner.weights(), generation=1)
    rollout = kept(again.rollout(weights)[0])
    assert (rollout.step_type[:, 0] == FIRST).all()
    assert not any(leaf.any() for leaf in flatten(rollout.policy_state))
    assert_unroll_is_exact(learner, rollout)
    # Another state before FIRST would be forgotten: the two episodes cannot be joined.
    found = unroll(learner, rollout, before.policy_state)
    np.testing.assert_allclose(found, rollout.policy_info.log_probability, rtol=1e-5, atol=1e-5)


def test_a_slot_that_was_replaced_begins_with_a_fresh_state(learner: Learner, collectors: list[Collector]) -> None:
    collector = make_collector(FAILING, num_steps=20)
    collectors.append(collector)
    num_checked = 0
    for _ in range(4):
        rollout = kept(collector.rollout(learner.weights())[0])
        for row, t in np.argwhere(rollout.cuts[:, :-2]):
            assert rollout.step_type[row, t + 1 : t + 3].tolist() == [LAST, FIRST]
            # The new episode by itself, from the initial state.
            rows, steps = slice(row, row + 1), slice(t + 2, None)
            names = ("observation", "step_type", "action", "reward")
            parts = {name: getattr(rollout, name)[rows, steps] for name in names}
            state = map_structure(lambda leaf, row=row: np.zeros_like(leaf[row : row + 1]), rollout.policy_state)
            alone = unroll(learner, rollout._replace(**parts, policy_state=state))
            np.testing.assert_allclose(alone, rollout.policy_info.log_probability[rows, steps], rtol=1e-5, atol=1e-5)
            num_checked += 1
    assert num_checked > 3


@pytest.fixture(scope="module")
def greedy() -> PolicyPair:
    """Policies of weights with which the state decides about actions."""
    probed = SLOTS(1)
    pair = PolicyFactory(CONFIG)(probed.time_step_spec, probed.action_spec)
    randomize(pair.collect.policy, 16)
    pair.greedy().refresh()
    return pair


def play_alone(policy: Any, seed: int, remembers: bool = True) -> int:
    """Steps of one episode, played as a user would: an env, and the policy without a batch dimension."""
    env = SLOTS.make_single()
    observation, _ = env.reset(seed=seed)
    step = ts.restart(observation)
    state, steps, ended = policy.get_initial_state(), 0, False
    while not ended:
        answer = policy.action(step, state, 0)
        observation, _, terminated, truncated, _ = env.step(int(answer.action))
        step, steps, ended = ts.transition(observation, 1.0), steps + 1, terminated or truncated
        state = answer.state if remembers else policy.get_initial_state()
    env.close()
    return steps


def test_evaluation_of_many_slots_is_that_of_each_episode_alone(greedy: PolicyPair) -> None:
    from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

    num_episodes, seed = 6, 3
    whole = Evaluator(SLOTS, greedy.greedy()).evaluate(num_episodes, seed=seed)
    assert len(set(whole.lengths)) > 2
    singles = [Evaluator(SLOTS, greedy.greedy()).evaluate(1, episode, seed) for episode in range(num_episodes)]
    assert [length for single in singles for length in single.lengths] == whole.lengths
    alone = PyTFEagerPolicy(greedy.greedy().policy, use_tf_function=True, jit_compile=False)
    seeds = slot_seeds(seed, 0, num_episodes, generation=0, stream=EVALUATION_STREAM).environment
    assert [play_alone(alone, int(env_seed)) for env_seed in seeds] == whole.lengths
    assert [play_alone(alone, int(env_seed), remembers=False) for env_seed in seeds] != whole.lengths
    assert whole.returns == [float(length) for length in whole.lengths]


def test_one_slot_evaluated_over_and_over_forgets_the_episode_before(greedy: PolicyPair) -> None:
    evaluator = Evaluator(SLOTS, greedy.greedy())
    first = evaluator.evaluate(2, seed=3).lengths
    evaluator.evaluate(2, seed=8)
    assert evaluator.evaluate(2, seed=3).lengths == first


class AskingPolicy(PyPolicy):
    """Asks an inference server in this process, as collectors ask the actor."""

    def __init__(self, specs: tuple[Any, Any], server: InferenceServer) -> None:
        description = asyncio.run(server.describe())
        super().__init__(*specs, description.policy_state_spec, description.info_spec)
        self._server = server

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        return asyncio.run(self._server.get_initial_state(1 if batch_size is None else batch_size))

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        return asyncio.run(self._server.action(time_step, policy_state, seed))


def test_collectors_of_a_server_get_the_rows_that_a_policy_of_their_own_gives(collectors: list[Collector]) -> None:
    probed = SLOTS(1)
    specs = probed.time_step_spec, probed.action_spec
    # More rows than either collector has: batches are filled up.
    server = InferenceServer(PolicyFactory(CONFIG), *specs, max_rows=NUM_SLOTS, window_s=0.0)

    def asking(*specs: Any) -> PolicyPair:
        policy = AskingPolicy(specs, server)
        return PolicyPair(policy, policy)

    local = make_collector()
    halves = [make_collector(policy=asking, index=index, first_slot=2 * index, num_slots=2) for index in (0, 1)]
    collectors.extend([local, *halves])
    ended = set()
    for _ in range(6):
        expected = kept(local.rollout()[0])
        ended |= borders([expected])
        for rows, half in zip((slice(0, 2), slice(2, 4)), halves, strict=True):
            found = half.rollout()[0]
            for name in ("observation", "step_type", "action", "reward", "policy_info", "policy_state"):
                part = map_structure(lambda leaf, rows=rows: leaf[rows], getattr(expected, name))
                assert_nests_close(getattr(found, name), part, 1e-5)
    assert "inside" in ended
