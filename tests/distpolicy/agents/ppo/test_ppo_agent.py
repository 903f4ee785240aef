from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rollout_training import train

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep

OBSERVATION = BoundedArraySpec((3,), np.float32, -10.0, 10.0, "observation")
DISCRETE = BoundedArraySpec((), np.int64, 0, 2, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")
FIRST, MID, LAST = 0, 1, 2
NUM_SLOTS, NUM_STEPS = 4, 8
WHOLE_BATCH = PPOConfig(num_epochs=1, num_minibatches=1, learning_rate_schedule="constant")
MANY_STEPS = PPOConfig(num_epochs=3, num_minibatches=4, learning_rate=1e-2, normalize_rewards=True, entropy_weight=0.01)


def make_agent(
    config: PPOConfig = WHOLE_BATCH,
    action_spec: BoundedArraySpec = DISCRETE,
    seed: int = 0,
    jit_compile: bool = False,
) -> SurrogateAgent:
    actor = ActorDistributionNetwork(OBSERVATION, action_spec, fc_layer_params=(8,), activation_fn="tanh", seed=3)
    value = ValueNetwork(OBSERVATION, fc_layer_params=(8,), activation_fn="tanh", seed=4)
    return SurrogateAgent(
        ts.time_step_spec(OBSERVATION), action_spec, actor, value, config, seed=seed, jit_compile=jit_compile
    )


def make_rollout(agent: SurrogateAgent, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> Rollout:
    """Steps that the agent's policy acts on, with a truncation, a termination and two boundaries."""
    generator = np.random.default_rng(seed)
    observation = generator.normal(offset, scale, size=(NUM_SLOTS, NUM_STEPS + 1, 3)).astype(np.float32)
    step_type = np.full((NUM_SLOTS, NUM_STEPS + 1), MID, np.int32)
    discount = np.ones((NUM_SLOTS, NUM_STEPS), np.float32)
    step_type[:, 0] = FIRST
    step_type[1, 3:5] = LAST, FIRST
    discount[1, 2] = 0.0
    step_type[2, 5:7] = LAST, FIRST
    num = NUM_SLOTS * NUM_STEPS
    time_step = TimeStep(
        tf.constant(step_type[:, :-1].reshape(num)),
        tf.zeros([num]),
        tf.ones([num]),
        tf.constant(observation[:, :-1].reshape(num, 3)),
    )
    seeds = np.stack([np.full(num, seed), np.arange(num)], axis=1).astype(np.int32)
    step = agent.collect_policy.action(time_step, (), tf.constant(seeds))
    return Rollout(
        observation=observation,
        step_type=step_type,
        action=step.action.numpy().reshape(NUM_SLOTS, NUM_STEPS, *step.action.shape[1:]),
        policy_info=step.info._replace(log_probability=step.info.log_probability.numpy().reshape(NUM_SLOTS, NUM_STEPS)),
        reward=generator.normal(size=(NUM_SLOTS, NUM_STEPS)).astype(np.float32),
        discount=discount,
        policy_state=(),
        discounted_return=generator.normal(size=NUM_SLOTS),
        cuts=np.zeros((NUM_SLOTS, NUM_STEPS), np.bool_),
        weights_version=np.zeros((NUM_SLOTS, 2), np.int64),
        first_step=np.zeros((NUM_SLOTS, 2), np.int64),
        first_slot=np.asarray(0, np.int64),
    )


def restore(agent: SurrogateAgent, state: dict[str, np.ndarray]) -> None:
    for item in agent.named_variables():
        item.variable.assign(state[item.path])


@pytest.fixture(scope="module")
def many_steps() -> tuple[SurrogateAgent, dict[str, np.ndarray]]:
    """An agent with several epochs and minibatches and normalised rewards, and its state at the start."""
    agent = make_agent(MANY_STEPS)
    return agent, {item.path: item.variable.numpy() for item in agent.named_variables()}


@pytest.fixture(scope="module")
def whole_batch() -> tuple[SurrogateAgent, dict[str, np.ndarray]]:
    """An agent that takes one step on the whole batch, on a continuous action, and its state at the start."""
    agent = make_agent(action_spec=BOX)
    return agent, {item.path: item.variable.numpy() for item in agent.named_variables()}


Snapshot = Callable[[Any], dict[str, np.ndarray]]
SameBits = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None]


def with_garbage_at_last(rollout: Rollout, **garbage: Any) -> Rollout:
    boundary = rollout.trajectory.is_boundary()
    assert boundary.sum() == 2
    changed = {name: getattr(rollout, name).copy() for name in ("action", "reward", "discount")}
    log_probability = rollout.policy_info.log_probability.copy()
    for name, array in changed.items():
        if name in garbage:
            array[boundary] = garbage[name]
    log_probability[boundary] = garbage.get("log_probability", log_probability[boundary])
    observation = rollout.observation.copy()
    # That of the truncated episode's end is looked at rightly: its value is bootstrapped from.
    observation[1, 3] = garbage.get("observation", observation[1, 3])
    info = rollout.policy_info._replace(log_probability=log_probability)
    return rollout._replace(observation=observation, policy_info=info, **changed)


@pytest.mark.parametrize(
    "garbage",
    [
        {"action": 2, "reward": 1e6, "discount": 0.25, "log_probability": -3.0, "observation": 9.0},
        {"reward": np.nan, "discount": np.nan},
        {"log_probability": -1e4},
        {"log_probability": np.nan},
        {"log_probability": np.inf},
    ],
    ids=["finite", "nan reward", "overflowing ratio", "nan log-probability", "infinite log-probability"],
)
def test_content_of_a_boundary_step_cannot_change_the_update(
    many_steps: tuple[SurrogateAgent, dict[str, np.ndarray]],
    snapshot: Snapshot,
    assert_same_bits: SameBits,
    garbage: dict[str, Any],
) -> None:
    agent, start = many_steps
    restore(agent, start)
    rollout = make_rollout(agent)
    train(agent, rollout, 0.0)
    expected = snapshot(agent)
    assert any(not np.array_equal(start[path], expected[path]) for path in start if path.startswith("policy/"))
    restore(agent, start)
    train(agent, with_garbage_at_last(rollout, **garbage), 0.0)
    assert_same_bits(snapshot(agent), expected)


def test_content_of_a_step_that_a_fault_cut_cannot_change_the_update(
    many_steps: tuple[SurrogateAgent, dict[str, np.ndarray]], snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    agent, start = many_steps
    rollout = make_rollout(agent)
    # The truncation of slot 2, as a fault makes one: the step before its LAST is not a transition of the task.
    rollout.cuts[2, 4] = True
    states = []
    for reward, discount, log_probability in ((0.0, 1.0, -1.0), (1e6, 0.25, -3.0)):
        changed = {name: getattr(rollout, name).copy() for name in ("reward", "discount")}
        log_probabilities = rollout.policy_info.log_probability.copy()
        changed["reward"][2, 4], changed["discount"][2, 4], log_probabilities[2, 4] = reward, discount, log_probability
        info = rollout.policy_info._replace(log_probability=log_probabilities)
        restore(agent, start)
        train(agent, rollout._replace(policy_info=info, **changed), 0.0)
        states.append(snapshot(agent))
    assert_same_bits(*states)
    restore(agent, start)
    train(agent, rollout._replace(cuts=np.zeros_like(rollout.cuts)), 0.0)
    assert any(not np.array_equal(states[0][path], value) for path, value in snapshot(agent).items())


def test_content_of_any_other_step_does_change_the_update(
    many_steps: tuple[SurrogateAgent, dict[str, np.ndarray]], snapshot: Snapshot
) -> None:
    agent, start = many_steps
    restore(agent, start)
    rollout = make_rollout(agent)
    train(agent, rollout, 0.0)
    expected = snapshot(agent)
    for name in ("reward", "observation"):
        array = getattr(rollout, name).copy()
        array[0, 2] += 1.0
        restore(agent, start)
        train(agent, rollout._replace(**{name: array}), 0.0)
        assert any(not np.array_equal(expected[path], value) for path, value in snapshot(agent).items())


def test_same_seed_gives_the_same_bits_after_three_updates(
    many_steps: tuple[SurrogateAgent, dict[str, np.ndarray]], snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    agent, start = many_steps
    restore(agent, start)
    twin = make_agent(MANY_STEPS)
    other = make_agent(MANY_STEPS, seed=1)
    assert_same_bits(snapshot(twin), start)
    for update in range(3):
        rollout = make_rollout(agent, seed=update)
        for learner in (agent, twin, other):
            train(learner, rollout, update / 3)
    assert_same_bits(snapshot(twin), snapshot(agent))
    assert int(agent.train_step_counter.numpy()) == 3
    # Another seed is another order of minibatches.
    kernel = "policy/actor_network/projection/logits/kernel"
    assert not np.array_equal(snapshot(other)[kernel], snapshot(agent)[kernel])


def test_every_update_has_its_own_order_of_minibatches(
    many_steps: tuple[SurrogateAgent, dict[str, np.ndarray]], snapshot: Snapshot
) -> None:
    agent, start = many_steps
    kernel = "policy/actor_network/projection/logits/kernel"
    results = []
    for train_step in (0, 1):
        restore(agent, {**start, "train_step": np.asarray(train_step)})
        train(agent, make_rollout(agent), 0.0)
        results.append(snapshot(agent)[kernel])
    assert not np.array_equal(*results)


def test_update_is_traced_once() -> None:
    agent = make_agent()
    for update in range(4):
        train(agent, make_rollout(agent, seed=update), update / 4)
    assert agent.tracing_count == 1


def test_ratio_is_one_before_the_first_step(whole_batch: tuple[SurrogateAgent, dict[str, np.ndarray]]) -> None:
    agent, start = whole_batch
    restore(agent, start)
    metrics = train(agent, make_rollout(agent), 0.0)
    assert abs(metrics["approx_kl"]) < 1e-6
    assert metrics["clip_fraction"] == 0.0
    # Normalised advantages have mean 0, and the ratio is 1.
    assert abs(metrics["policy_loss"]) < 1e-5
    stale = make_rollout(agent)
    info = stale.policy_info._replace(log_probability=stale.policy_info.log_probability - 0.5)
    metrics = train(agent, stale._replace(policy_info=info), 0.0)
    assert metrics["clip_fraction"] == 1.0
    np.testing.assert_allclose(metrics["approx_kl"], np.exp(0.5) - 1.5, rtol=1e-4)


def test_truncation_is_bootstrapped_and_termination_is_not(
    whole_batch: tuple[SurrogateAgent, dict[str, np.ndarray]], snapshot: Snapshot
) -> None:
    agent, start = whole_batch
    rollout = make_rollout(agent)
    results = {}
    for name, end_discount, end_observation in [
        ("truncated", 1.0, 1.0),
        ("truncated elsewhere", 1.0, 5.0),
        ("terminated", 0.0, 1.0),
        ("terminated elsewhere", 0.0, 5.0),
    ]:
        restore(agent, start)
        discount, observation = rollout.discount.copy(), rollout.observation.copy()
        discount[2, 4] = end_discount
        observation[2, 5] = end_observation
        train(agent, rollout._replace(discount=discount, observation=observation), 0.0)
        results[name] = b"".join(value.tobytes() for value in snapshot(agent).values())
    assert results["terminated"] == results["terminated elsewhere"]
    assert len(set(results.values())) == 3


def test_observations_are_normalised_by_the_statistics_from_before_the_batch() -> None:
    agent = make_agent(dataclasses.replace(WHOLE_BATCH, normalize_observations=True), BOX)
    normalizer = agent.collect_policy.observation_normalizer
    first = make_rollout(agent, seed=1, scale=3.0, offset=5.0)
    train(agent, first, 0.0)
    values = first.observation[:, :-1].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(normalizer.mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(normalizer.variance(), values.var(axis=0), rtol=1e-6)
    # The second batch lies elsewhere: were it normalised by its own statistics, the ratio would not be 1.
    second = make_rollout(agent, seed=2, scale=0.5, offset=-2.0)
    metrics = train(agent, second, 0.0)
    assert abs(metrics["approx_kl"]) < 1e-6
    both = np.concatenate([values, second.observation[:, :-1].reshape(-1, 3).astype(np.float64)])
    np.testing.assert_allclose(normalizer.mean, both.mean(axis=0), rtol=1e-6)


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return(
    many_steps: tuple[SurrogateAgent, dict[str, np.ndarray]], snapshot: Snapshot
) -> None:
    agent, start = many_steps
    restore(agent, start)
    rollout = make_rollout(agent)
    train(agent, rollout, 0.0)
    returns = []
    for b in range(NUM_SLOTS):
        total = rollout.discounted_return[b]
        for t in range(NUM_STEPS):
            if rollout.step_type[b, t] == LAST:
                total = 0.0
            else:
                total = 0.99 * total + rollout.reward[b, t]
                returns.append(total)
    state = snapshot(agent)
    assert state["reward_normalizer/count"] == len(returns) == NUM_SLOTS * NUM_STEPS - 2
    np.testing.assert_allclose(state["reward_normalizer/mean"], np.mean(returns), rtol=1e-6)
    variance = state["reward_normalizer/sum_of_squares"] / len(returns)
    np.testing.assert_allclose(variance, np.var(returns), rtol=1e-6)


def test_learning_rate_and_clip_range_follow_their_schedules(snapshot: Snapshot) -> None:
    agent = make_agent(
        PPOConfig(num_epochs=1, num_minibatches=1, learning_rate=1e-2, clip_range=0.3, clip_range_schedule="linear")
    )
    for progress, share in [(-1.0, 1.0), (0.0, 1.0), (0.25, 0.75), (2.0, 0.0)]:
        before = snapshot(agent)
        metrics = train(agent, make_rollout(agent), progress)
        np.testing.assert_allclose(metrics["learning_rate"], 1e-2 * share, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(metrics["clip_range"], 0.3 * share, rtol=1e-5, atol=1e-9)
        kernel = "policy/actor_network/projection/logits/kernel"
        moved = not np.array_equal(before[kernel], snapshot(agent)[kernel])
        assert moved == (share > 0)
    constant = train(make_agent(), make_rollout(agent), 0.9)
    np.testing.assert_allclose([constant["learning_rate"], constant["clip_range"]], [3e-4, 0.2], rtol=1e-6)


def test_one_step_equals_a_plain_reference(snapshot: Snapshot) -> None:
    config = PPOConfig(
        num_epochs=1,
        num_minibatches=1,
        learning_rate=1e-2,
        learning_rate_schedule="constant",
        entropy_weight=0.03,
        value_loss_weight=0.7,
        max_gradient_norm=0.3,
        discount=0.9,
        gae_lambda=0.8,
    )
    agent = make_agent(config)
    rollout = make_rollout(agent)
    # Behaviour that is a little off the policy, so that some ratios are clipped.
    shift = np.random.default_rng(9).normal(scale=0.4, size=(NUM_SLOTS, NUM_STEPS)).astype(np.float32)
    old = rollout.policy_info.log_probability + shift
    rollout = rollout._replace(policy_info=rollout.policy_info._replace(log_probability=old))
    start = snapshot(agent)

    def dense(weights: dict[str, tf.Variable], path: str, inputs: tf.Tensor) -> tf.Tensor:
        return inputs @ weights[f"{path}/kernel"] + weights[f"{path}/bias"]

    names = [name for name in start if name.startswith(("policy/", "value_network/"))]
    weights = {name: tf.Variable(start[name]) for name in names}
    assert len(weights) == 8

    def values_of(observation: np.ndarray) -> tf.Tensor:
        hidden = tf.tanh(dense(weights, "value_network/encoder/layers/0", tf.constant(observation)))
        return dense(weights, "value_network/value", hidden)[..., 0]

    value = values_of(rollout.observation).numpy().astype(np.float64)
    boundary = rollout.step_type[:, :-1] == LAST
    advantage = np.zeros((NUM_SLOTS, NUM_STEPS + 1))
    for t in reversed(range(NUM_STEPS)):
        discount = 0.9 * rollout.discount[:, t]
        delta = rollout.reward[:, t] + discount * value[:, t + 1] - value[:, t]
        advantage[:, t] = np.where(boundary[:, t], 0.0, delta + discount * 0.8 * advantage[:, t + 1])
    keep = ~boundary
    advantage = advantage[:, :-1][keep]
    target = tf.constant((advantage + value[:, :-1][keep]).astype(np.float32))
    normalized = tf.constant(((advantage - advantage.mean()) / advantage.std()).astype(np.float32))
    observation = rollout.observation[:, :-1][keep]
    with tf.GradientTape() as tape:
        hidden = tf.tanh(dense(weights, "policy/actor_network/encoder/layers/0", tf.constant(observation)))
        log_probabilities = tf.nn.log_softmax(dense(weights, "policy/actor_network/projection/logits", hidden))
        chosen = tf.gather(log_probabilities, rollout.action[keep], batch_dims=1)
        ratio = tf.exp(chosen - old[keep])
        surrogate = tf.minimum(ratio * normalized, tf.clip_by_value(ratio, 0.8, 1.2) * normalized)
        policy_loss = -tf.reduce_mean(surrogate)
        value_loss = tf.reduce_mean((values_of(observation) - target) ** 2)
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_probabilities) * log_probabilities, axis=-1))
        loss = policy_loss + 0.7 * value_loss - 0.03 * entropy
    gradients = [gradient.numpy().astype(np.float64) for gradient in tape.gradient(loss, list(weights.values()))]
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    assert norm > 0.3

    metrics = train(agent, rollout, 0.0)
    assert 0.0 < metrics["clip_fraction"] < 1.0
    expected = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "gradient_norm": norm}
    for name, figure in expected.items():
        np.testing.assert_allclose(metrics[name], float(figure), rtol=1e-3, atol=1e-5, err_msg=name)
    after = snapshot(agent)
    for name, gradient in zip(weights, gradients, strict=True):
        clipped = gradient * 0.3 / norm
        # Adam's first step: both moments are unbiased, so it is the gradient over its own magnitude.
        step = 1e-2 * clipped / (np.abs(clipped) + config.adam_epsilon / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(after[name] - start[name], -step, rtol=1e-2, atol=2e-5, err_msg=name)


def test_rows_that_fill_no_minibatch_do_not_stop_the_update() -> None:
    agent = make_agent(dataclasses.replace(WHOLE_BATCH, num_minibatches=5))
    assert all(np.isfinite(list(train(agent, make_rollout(agent), 0.0).values())))


def test_compiled_by_xla_gives_the_same_step(snapshot: Snapshot) -> None:
    plain, compiled = make_agent(), make_agent(jit_compile=True)
    rollout = make_rollout(plain)
    metrics, compiled_metrics = train(plain, rollout, 0.0), train(compiled, rollout, 0.0)
    assert metrics.keys() == compiled_metrics.keys()
    for path, value in snapshot(plain).items():
        np.testing.assert_allclose(snapshot(compiled)[path], value, rtol=1e-3, atol=1e-5, err_msg=path)


def test_policy_is_greedy_and_shares_the_collect_policy_s_variables() -> None:
    agent = make_agent()
    assert isinstance(agent.policy, GreedyPolicy)
    assert agent.policy.wrapped_policy is agent.collect_policy
    assert {id(item) for item in agent.policy.variables()} == {id(item) for item in agent.collect_policy.variables()}
    assert agent.collect_policy.emit_log_probability


def test_named_variables_hold_all_that_a_checkpoint_needs() -> None:
    config = dataclasses.replace(WHOLE_BATCH, normalize_observations=True)
    paths = [item.path for item in make_agent(config).named_variables()]
    assert len(set(paths)) == len(paths)
    assert {"policy/observation_normalizer/mean", "reward_normalizer/count", "train_step"} <= set(paths)
    assert {"optimizer/iterations", "optimizer/first_moment", "optimizer/second_moment"} <= set(paths)
    variables = [item.variable.ref() for item in make_agent(config).named_variables()]
    assert len(set(variables)) == len(variables)
    assert paths == [item.path for item in make_agent(config).named_variables()]
