"""Agents whose observations hold a mask of actions: the learner's distributions are the collector's."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rollout_training import train

from distpolicy.agents.action_masks import ActionMaskSplitter, seen_by_networks
from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.agent_training import train_arguments_of, train_with, zero_rollout_for
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.ppo_agent import PPOAgent
from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.agents.td3.config import TD3Config
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec
from distpolicy.utils.nests.array_nest import map_structure

NUM_ACTIONS, NUM_SLOTS, NUM_STEPS = 4, 3, 8
SEEN = ArraySpec((3,), np.float32)
MASK = BoundedArraySpec((NUM_ACTIONS,), np.int8, 0, 1)
# Numbers begin above 0, so that places among the logits are not the actions themselves.
ACTION = BoundedArraySpec((), np.int64, 2, 1 + NUM_ACTIONS)
SPECS = EnvironmentSpecs(time_step_spec({"seen": SEEN, "mask": MASK}), ACTION)
SMALL = NetworkConfig(actor_units=(6,))
LSTM = NetworkConfig(actor_units=(6,), recurrent="lstm", recurrent_units=(5,))
ONE_STEP: dict[str, Any] = {
    "value_units": (5,),
    "num_epochs": 1,
    "num_minibatches": 1,
    "normalize_observations": True,
    "entropy_weight": 0.1,
}
CONFIGS = [PPOConfig(**ONE_STEP), ImpalaConfig(**ONE_STEP), APPOConfig(**ONE_STEP)]


def make_agent(config: AgentConfig, networks: NetworkConfig = SMALL) -> TFAgent:
    return config.make_agent(SPECS, networks, LearnerOptions(3, jit_compile=False, action_mask="mask"))


def collected(agent: TFAgent, seed: int = 0) -> Rollout:
    """Steps of the agent's own collect policy, with an end in each slot, after which the mask allows nothing.

    The last action is never allowed.
    """
    generator = np.random.default_rng(seed)
    zeros = zero_rollout_for(agent, NUM_SLOTS, NUM_STEPS)
    step_type = np.full(zeros.step_type.shape, StepType.MID, np.int32)
    for slot, last in enumerate((2, 4, NUM_STEPS - 2)):
        step_type[slot, last : last + 2] = StepType.LAST, StepType.FIRST
    mask = generator.integers(0, 2, zeros.observation["mask"].shape).astype(np.int8)
    mask[..., 1], mask[..., -1] = 1, 0
    mask[step_type == StepType.LAST] = 0
    seen = generator.normal(size=zeros.observation["seen"].shape).astype(np.float32)
    policy = agent.collect_policy
    act = tf.function(policy.action, autograph=False)
    state, taken = policy.get_initial_state(NUM_SLOTS), []
    for t in range(NUM_STEPS):
        now = {"seen": tf.constant(seen[:, t]), "mask": tf.constant(mask[:, t])}
        step = TimeStep(tf.constant(step_type[:, t]), tf.zeros(NUM_SLOTS), tf.ones(NUM_SLOTS), now)
        action, state, info = act(step, state, seed=tf.constant([[seed, NUM_SLOTS * t + i] for i in range(NUM_SLOTS)]))
        taken.append((action, info))
    action, info = tf.nest.map_structure(lambda *steps: tf.stack(steps, 1).numpy(), *taken)
    reward = generator.normal(size=zeros.reward.shape).astype(np.float32)
    discount = np.ones_like(zeros.discount)
    discount[0, 1] = 0.0
    return zeros._replace(
        observation={"seen": seen, "mask": mask},
        step_type=step_type,
        action=action,
        policy_info=info,
        reward=reward,
        discount=discount,
        policy_state=map_structure(np.asarray, policy.get_initial_state(NUM_SLOTS)),
    )


def learn(agent: TFAgent, rollout: Rollout) -> None:
    known = {**train_arguments_of(rollout), "progress": 0.0}
    assert np.isfinite(train_with(agent, rollout.trajectory, rollout.step_weights, known).loss)


def state_of(agent: TFAgent) -> dict[str, np.ndarray]:
    return {item.path: item.variable.numpy() for item in agent.named_variables()}


@pytest.mark.parametrize("networks", [SMALL, LSTM], ids=["feed-forward", "lstm"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_the_policy_that_learns_is_the_one_that_acted(config: AgentConfig, networks: NetworkConfig) -> None:
    agent = make_agent(config, networks)
    rollout = collected(agent)
    counts = rollout.step_weights > 0
    allowed = np.take_along_axis(rollout.observation["mask"][:, :-1], rollout.action[..., np.newaxis] - 2, -1)[..., 0]
    assert allowed[counts].all()
    metrics = train(agent, rollout)
    # Ratios of probabilities are 1: this is half of their mean squared distance from it.
    np.testing.assert_allclose(metrics["approx_kl"], 0.0, atol=3e-7)
    most = np.log(np.maximum(rollout.observation["mask"][:, :-1].sum(-1), 1))[counts].mean()
    assert 0.9 * most < metrics["entropy"] <= most + 1e-6, "near uniform draws from what is allowed"


@pytest.mark.parametrize("config", [*CONFIGS, ReinforceConfig(entropy_weight=0.1)], ids=lambda config: config.kind)
def test_nothing_is_learned_about_what_is_never_allowed_or_lies_at_a_boundary(config: AgentConfig) -> None:
    agent, other = make_agent(config), make_agent(config)
    rollout, before = collected(agent), state_of(agent)
    learn(agent, rollout)
    after = state_of(agent)
    (path,) = (path for path in before if path.endswith("logits/kernel") and "target" not in path)
    changed = np.any(before[path] != after[path], axis=0)
    np.testing.assert_array_equal(changed, [True, True, True, False])
    boundary = rollout.step_type[:, :-1] == StepType.LAST
    mask, action = rollout.observation["mask"].copy(), rollout.action.copy()
    mask[:, :-1][boundary], action[boundary] = [0, 0, 0, 1], 2
    learn(other, rollout._replace(observation={**rollout.observation, "mask": mask}, action=action))
    for name, value in state_of(other).items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


@pytest.mark.parametrize("kind", ["ppo", "impala", "appo", "reinforce", "dqn", "c51", "sac", "r2d2"])
def test_networks_and_normaliser_are_those_of_the_observation_without_its_mask(kind: str) -> None:
    config, networks = AgentConfig.of_kind(kind)(), LSTM if kind == "r2d2" else SMALL
    masked = make_agent(config, networks)
    bare = EnvironmentSpecs(time_step_spec(SEEN), ACTION)
    plain = config.make_agent(bare, networks, LearnerOptions(3, jit_compile=False))
    expected = state_of(plain)
    found = state_of(masked)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)
    assert set(masked.collect_policy.time_step_spec.observation) == {"seen", "mask"}


def test_ppo_with_tf_agents_arguments_takes_a_splitter() -> None:
    agent = PPOAgent(
        SPECS.time_step,
        ACTION,
        actor_net=ActorDistributionNetwork(SEEN, ACTION, fc_layer_params=(6,)),
        value_net=ValueNetwork(SEEN, fc_layer_params=(5,)),
        num_epochs=1,
        entropy_regularization=0.1,
        observation_and_action_constraint_splitter=ActionMaskSplitter("mask"),
    )
    agent.initialize()
    rollout = collected(agent)
    final = map_structure(lambda leaf: leaf[:, -1], rollout.observation)
    info = agent.train(rollout.trajectory, rollout.step_weights, final_observation=final).extra
    np.testing.assert_allclose(info.approx_kl, 0.0, atol=1e-6)
    assert info.clip_fraction == 0.0


def test_a_splitter_takes_arrays_and_specs_apart_and_travels() -> None:
    splitter = pickle.loads(pickle.dumps(ActionMaskSplitter("mask")))
    assert splitter({"seen": 1, "mask": 2}) == (1, 2)
    assert splitter({"seen": 1, "mask": 2, "more": {"a": 3}}) == ({"seen": 1, "more": {"a": 3}}, 2)
    assert seen_by_networks(SPECS, "mask").specs.time_step.observation == SEEN
    assert seen_by_networks(SPECS, None) == (SPECS, None)


@pytest.mark.parametrize(
    ("observation", "action", "key", "message"),
    [
        (SEEN, ACTION, "mask", "action_mask mask is a key, but observations are not a dict"),
        ({"seen": SEEN, "mask": MASK}, ACTION, "masks", "masks is no key of the observations: take one of mask, seen"),
        ({"mask": MASK}, ACTION, "mask", "observations have nothing beside the action_mask mask"),
        ({"seen": SEEN, "mask": MASK}, ACTION, "seen", r"seen must be .* of shape \[4\], but is float32\[3\]"),
        ({"seen": SEEN, "mask": {"a": MASK}}, ACTION, "mask", r"mask must be .* of shape \[4\], but is a dict"),
        ({"seen": SEEN, "mask": MASK}, (ACTION, ACTION), "mask", "action_mask is for one discrete action"),
        ({"seen": SEEN, "mask": MASK}, BoundedArraySpec((4,), np.float32, 0.0, 1.0), "mask", "for one discrete action"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(observation: Any, action: Any, key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        seen_by_networks(EnvironmentSpecs(time_step_spec(observation), action), key)
    assert "\n" not in str(caught.value)


def test_an_agent_without_masks_says_which_ones_have_them() -> None:
    with pytest.raises(
        ConfigError, match=r"action_mask is not for td3, .*: take one of appo, c51, dqn, impala, ppo, r2"
    ):
        TD3Config().check_action_mask("mask")
