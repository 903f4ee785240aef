"""PPO over recurrent networks: what an update learns from, and that episodes that share a row stay apart in it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from recurrent_networks import (
    DISCRETE,
    ENCODING,
    FIRST,
    LAST,
    MID,
    MIXED,
    OBSERVATION,
    make_networks,
    random_observations,
    random_state,
)
from rollout_training import train

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure

NUM_SLOTS, NUM_STEPS = 4, 6
WHOLE_BATCH = PPOConfig(
    num_epochs=1, num_minibatches=1, learning_rate=1e-2, learning_rate_schedule="constant", entropy_weight=0.01
)
SEQUENCES = dataclasses.replace(WHOLE_BATCH, num_epochs=2, num_minibatches=2, sequence_length=3, learning_rate=3e-3)
MANY_STEPS = dataclasses.replace(
    SEQUENCES,
    sequence_states="recomputed",
    burn_in=2,
    normalize_observations=True,
    normalize_rewards=True,
)

Snapshot = Callable[[Any], dict[str, np.ndarray]]
SameBits = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None]
Started = tuple[SurrogateAgent, dict[str, np.ndarray]]


def make_agent(
    kind: str, config: PPOConfig = WHOLE_BATCH, action_spec: Any = DISCRETE, **arguments: Any
) -> SurrogateAgent:
    networks = make_networks(kind, OBSERVATION, action_spec)
    arguments = {"jit_compile": False, **arguments}
    return SurrogateAgent(ts.time_step_spec(OBSERVATION), action_spec, config=config, **networks, **arguments)


def state_of(agent: SurrogateAgent) -> dict[str, np.ndarray]:
    return {item.path: item.variable.numpy() for item in agent.named_variables()}


def restore(agent: SurrogateAgent, state: dict[str, np.ndarray]) -> None:
    for item in agent.named_variables():
        item.variable.assign(state[item.path])


@functools.cache
def started(kind: str, config: PPOConfig = WHOLE_BATCH, jit_compile: bool = False) -> Started:
    """An agent, and its state at the start."""
    agent = make_agent(kind, config, jit_compile=jit_compile)
    return agent, state_of(agent)


def fresh(kind: str, config: PPOConfig = WHOLE_BATCH, jit_compile: bool = False) -> SurrogateAgent:
    """An agent at its start; there is one of each, since tracing takes long."""
    agent, start = started(kind, config, jit_compile)
    restore(agent, start)
    return agent


def make_rollout(agent: SurrogateAgent, seed: int = 0, observation: Any = None) -> Rollout:
    """Steps that the agent's policy takes one by one, some slots in the middle of an episode before the first.

    Slot 1 has a termination, slot 2 a truncation, slot 3 begins with a boundary and ends with an episode.
    """
    generator = np.random.default_rng(seed)
    if observation is None:
        observation = random_observations(generator, NUM_SLOTS, NUM_STEPS + 1)
    step_type = np.full((NUM_SLOTS, NUM_STEPS + 1), MID, np.int32)
    step_type[0, 0] = FIRST
    step_type[1, 2:4] = LAST, FIRST
    step_type[2, 4:6] = LAST, FIRST
    step_type[3, :2] = LAST, FIRST
    step_type[3, NUM_STEPS] = LAST
    discount = np.ones((NUM_SLOTS, NUM_STEPS), np.float32)
    discount[1, 1] = discount[3, NUM_STEPS - 1] = 0.0
    policy = agent.collect_policy
    act = acting(policy)
    first_state = state = random_state(generator, policy.policy_state_spec, NUM_SLOTS)
    steps = []
    for t in range(NUM_STEPS):
        zeros = np.zeros(NUM_SLOTS, np.float32)
        time_step = TimeStep(step_type[:, t], zeros, zeros, map_structure(lambda leaf, t=t: leaf[:, t], observation))
        seeds = np.stack([np.full(NUM_SLOTS, 100 * seed + t), np.arange(NUM_SLOTS)], axis=1).astype(np.int32)
        step = act(*tf.nest.map_structure(tf.constant, (time_step, state, seeds)))
        state = step.state
        steps.append(tf.nest.map_structure(np.asarray, (step.action, step.info)))
    action, info = tf.nest.map_structure(lambda *leaves: np.stack(leaves, axis=1), *steps)
    return Rollout(
        observation=observation,
        step_type=step_type,
        action=action,
        policy_info=info,
        reward=generator.normal(size=(NUM_SLOTS, NUM_STEPS)).astype(np.float32),
        discount=discount,
        policy_state=first_state,
        discounted_return=generator.normal(size=NUM_SLOTS),
        cuts=np.zeros((NUM_SLOTS, NUM_STEPS), np.bool_),
        weights_version=np.zeros((NUM_SLOTS, 2), np.int64),
        first_step=np.zeros((NUM_SLOTS, 2), np.int64),
        first_slot=np.asarray(0, np.int64),
    )


@functools.cache
def acting(policy: Any) -> Any:
    return tf.function(policy.action, autograph=False)


@pytest.mark.parametrize("kind", ["lstm", "everything"])
def test_ratio_is_one_before_the_first_step(kind: str) -> None:
    agent = fresh(kind)
    metrics = train(agent, make_rollout(agent), 0.0)
    assert abs(metrics["approx_kl"]) < 1e-6
    assert metrics["clip_fraction"] == 0.0
    assert abs(metrics["policy_loss"]) < 1e-5
    # And is not, of another first state, which slots in the middle of an episode feel.
    restore(agent, started(kind)[1])
    rollout = make_rollout(agent)
    zeros = map_structure(np.zeros_like, rollout.policy_state)
    assert train(agent, rollout._replace(policy_state=zeros), 0.0)["approx_kl"] > 1e-4


def test_state_before_an_episode_s_first_step_changes_no_bit(snapshot: Snapshot, assert_same_bits: SameBits) -> None:
    agent = fresh("lstm")
    rollout = make_rollout(agent)
    train(agent, rollout, 0.0)
    expected = snapshot(agent)
    agent = fresh("lstm")
    state = map_structure(np.copy, rollout.policy_state)
    for leaf in flatten(state):
        leaf[0] = 100.0
    train(agent, rollout._replace(policy_state=state), 0.0)
    assert_same_bits(snapshot(agent), expected)


def with_garbage_at_boundaries(rollout: Rollout) -> Rollout:
    boundary = rollout.trajectory.is_boundary()
    assert boundary.sum() == 3
    action, reward, discount = (leaf.copy() for leaf in (rollout.action, rollout.reward, rollout.discount))
    log_probability = rollout.policy_info.log_probability.copy()
    action[boundary], reward[boundary], discount[boundary] = 3, 1e6, 0.25
    log_probability[boundary] = np.nan
    observation = rollout.observation.copy()
    # Those of truncated episodes are looked at rightly: their value is bootstrapped from.
    observation[1, 2] = 9.0
    observation[3, [0, NUM_STEPS]] = 9.0
    info = rollout.policy_info._replace(log_probability=log_probability)
    return rollout._replace(observation=observation, action=action, reward=reward, discount=discount, policy_info=info)


@pytest.mark.parametrize(
    ("kind", "config", "jit_compile"),
    [
        ("lstm", WHOLE_BATCH, False),
        ("lstm", WHOLE_BATCH, True),
        pytest.param("everything", MANY_STEPS, False, marks=pytest.mark.slow),
    ],
    ids=["one step", "one step by xla", "many steps"],
)
def test_content_of_a_boundary_step_cannot_change_the_update(
    kind: str, config: PPOConfig, jit_compile: bool, snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    agent, start = started(kind, config, jit_compile)
    rollout = make_rollout(fresh(kind, config, jit_compile))
    train(agent, rollout, 0.0)
    expected = snapshot(agent)
    assert any(not np.array_equal(start[path], expected[path]) for path in start if path.startswith("policy/"))
    agent = fresh(kind, config, jit_compile)
    garbage = with_garbage_at_boundaries(rollout)
    if config.normalize_observations:
        # The statistics are of all observations.
        garbage = garbage._replace(observation=rollout.observation)
    train(agent, garbage, 0.0)
    assert_same_bits(snapshot(agent), expected)


@pytest.mark.parametrize("place", [(1, 1), (1, 3), (3, 2)])
def test_content_of_any_other_step_does_change_the_update(place: tuple[int, int], snapshot: Snapshot) -> None:
    agent = fresh("lstm")
    rollout = make_rollout(agent)
    train(agent, rollout, 0.0)
    expected = snapshot(agent)
    observation = rollout.observation.copy()
    observation[place] += 0.5
    agent = fresh("lstm")
    train(agent, rollout._replace(observation=observation), 0.0)
    assert any(not np.array_equal(expected[path], value) for path, value in snapshot(agent).items())


def test_episodes_in_one_row_are_learned_from_as_in_rows_of_their_own(snapshot: Snapshot) -> None:
    agent = fresh("everything")
    whole = make_rollout(agent)
    whole.step_type[:] = MID
    whole.step_type[:, 2:4] = LAST, FIRST

    def rows(nest: Any, overlap: int) -> Any:
        """Steps 0 to 2, and below them steps 3 to 5; with the step after them if there is an overlap."""
        return map_structure(lambda leaf: np.concatenate([leaf[:, : 3 + overlap], leaf[:, 3:]]), nest)

    garbage = random_state(np.random.default_rng(9), agent.collect_policy.policy_state_spec, NUM_SLOTS)
    apart = Rollout(
        observation=rows(whole.observation, 1),
        step_type=rows(whole.step_type, 1),
        action=rows(whole.action, 0),
        policy_info=rows(whole.policy_info, 0),
        reward=rows(whole.reward, 0),
        discount=rows(whole.discount, 0),
        policy_state=map_structure(lambda *leaves: np.concatenate(leaves), whole.policy_state, garbage),
        discounted_return=np.zeros(2 * NUM_SLOTS),
        cuts=rows(whole.cuts, 0),
        weights_version=np.zeros((2 * NUM_SLOTS, 2), np.int64),
        first_step=np.zeros((2 * NUM_SLOTS, 2), np.int64),
        first_slot=whole.first_slot,
    )
    metrics = train(agent, whole, 0.0)
    expected, start = snapshot(agent), started("everything")[1]
    agent = fresh("everything")
    assert train(agent, apart, 0.0) == pytest.approx(metrics, rel=1e-4, abs=1e-5)
    for path, value in snapshot(agent).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)
    assert sum(not np.allclose(start[path], expected[path], atol=1e-3) for path in start) > 8


def lstm(weights: dict[str, Any], inputs: tf.Tensor, state: Any) -> Any:
    """Hochreiter and Schmidhuber's cell with forget gates, in Keras' order of gates."""
    hidden, memory = state
    path = "policy/actor_network/layers/0/unroll"
    sums = inputs @ weights[f"{path}/kernel"] + hidden @ weights[f"{path}/recurrent_kernel"] + weights[f"{path}/bias"]
    enter, forget, candidate, leave = tf.split(sums, 4, axis=-1)
    memory = tf.sigmoid(forget) * memory + tf.sigmoid(enter) * tf.tanh(candidate)
    return tf.sigmoid(leave) * tf.tanh(memory), memory


def by_hand(weights: dict[str, Any], observation: np.ndarray, step_type: np.ndarray, state: Any) -> Any:
    """Log-probabilities and values of ``[B, T]``, and the state before each step and after the last."""

    def dense(path: str, inputs: tf.Tensor) -> tf.Tensor:
        return inputs @ weights[f"{path}/kernel"] + weights[f"{path}/bias"]

    logits, values, states = [], [], [state]
    for t in range(step_type.shape[1]):
        keep = (step_type[:, t : t + 1] != FIRST).astype(np.float32)
        inputs = tf.tanh(dense("policy/actor_network/layers/0/encoder/layers/0", tf.constant(observation[:, t])))
        state = lstm(weights, inputs, [leaf * keep for leaf in states[-1]])
        states.append(state)
        hidden = tf.tanh(dense("policy/actor_network/layers/1/encoder/layers/0", state[0]))
        logits.append(tf.nn.log_softmax(dense("policy/actor_network/layers/1/projection/logits", hidden)))
        values.append(dense("value_network/value", tf.tanh(dense("value_network/encoder/layers/0", state[0])))[:, 0])
    return tf.stack(logits, axis=1), tf.stack(values, axis=1), states


def reference_update(
    config: PPOConfig, weights: dict[str, tf.Variable], rollout: Rollout, minibatches: np.ndarray, length: int
) -> dict[str, float]:
    """PPO over sequences from stored states, plainly; changes the weights."""
    step_type, observation = rollout.step_type, rollout.observation
    _, value, states = by_hand(weights, observation, step_type, rollout.policy_state[0])
    value = value.numpy().astype(np.float64)
    boundary = step_type[:, :-1] == LAST
    advantage = np.zeros((NUM_SLOTS, NUM_STEPS + 1))
    for t in reversed(range(NUM_STEPS)):
        discount = config.discount * rollout.discount[:, t]
        delta = rollout.reward[:, t] + discount * value[:, t + 1] - value[:, t]
        later = discount * config.gae_lambda * advantage[:, t + 1]
        advantage[:, t] = np.where(boundary[:, t], 0.0, delta + later)
    target = (advantage + value)[:, :-1].astype(np.float32)
    moments = [[np.zeros(weight.shape), np.zeros(weight.shape)] for weight in weights.values()]
    sums = dict.fromkeys(("policy_loss", "value_loss", "entropy", "gradient_norm"), 0.0)
    for count, chosen in enumerate(minibatches, start=1):
        rows, starts = chosen // (NUM_STEPS // length), chosen % (NUM_STEPS // length) * length

        def part(array: np.ndarray, rows: np.ndarray = rows, starts: np.ndarray = starts) -> np.ndarray:
            return np.stack([array[row, t : t + length] for row, t in zip(rows, starts, strict=True)])

        state = [
            tf.constant(np.stack([np.asarray(states[t][index])[row] for row, t in zip(rows, starts, strict=True)]))
            for index in (0, 1)
        ]
        keep = ~part(boundary)
        normalized = part(advantage[:, :-1])[keep]
        normalized = ((normalized - normalized.mean()) / normalized.std()).astype(np.float32)
        with tf.GradientTape() as tape:
            logits, values, _ = by_hand(weights, part(observation[:, :-1]), part(step_type[:, :-1]), state)
            logits, values = logits[keep], values[keep]
            log_probability = tf.gather(logits, part(rollout.action)[keep], batch_dims=1)
            ratio = tf.exp(log_probability - part(rollout.policy_info.log_probability)[keep])
            clipped = tf.clip_by_value(ratio, 1 - config.clip_range, 1 + config.clip_range)
            policy_loss = -tf.reduce_mean(tf.minimum(ratio * normalized, clipped * normalized))
            value_loss = tf.reduce_mean((values - part(target)[keep]) ** 2)
            entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(logits) * logits, axis=-1))
            loss = policy_loss + config.value_loss_weight * value_loss - config.entropy_weight * entropy
        gradients = [np.float64(gradient) for gradient in tape.gradient(loss, list(weights.values()))]
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
        for weight, gradient, moment in zip(weights.values(), gradients, moments, strict=True):
            gradient = gradient * min(1.0, config.max_gradient_norm / norm)
            moment[0] = 0.9 * moment[0] + 0.1 * gradient
            moment[1] = 0.999 * moment[1] + 0.001 * gradient**2
            # The efficient form of section 2 of Adam's paper.
            rate = config.learning_rate * np.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            weight.assign_sub((rate * moment[0] / (np.sqrt(moment[1]) + config.adam_epsilon)).astype(np.float32))
        figures = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "gradient_norm": norm}
        sums = {name: sums[name] + float(figure) / len(minibatches) for name, figure in figures.items()}
    return sums


@pytest.mark.parametrize("config", [WHOLE_BATCH, SEQUENCES], ids=["whole rows", "sequences"])
def test_an_update_equals_a_plain_reference(config: PPOConfig, snapshot: Snapshot) -> None:
    agent = fresh("lstm", config)
    rollout = make_rollout(agent)
    # Behaviour that is a little off the policy, so that some ratios are clipped.
    shift = np.random.default_rng(9).normal(scale=0.3, size=(NUM_SLOTS, NUM_STEPS)).astype(np.float32)
    info = rollout.policy_info._replace(log_probability=rollout.policy_info.log_probability + shift)
    rollout = rollout._replace(policy_info=info)
    start = snapshot(agent)
    weights = {path: tf.Variable(start[path]) for path in start if path.startswith(("policy/", "value_network/"))}
    assert len(weights) == 13
    length = config.sequence_length or NUM_STEPS
    # The order of minibatches is the agent's own.
    minibatches = agent._minibatches(NUM_SLOTS, NUM_STEPS)
    expected = reference_update(config, weights, rollout, minibatches, length)
    metrics = train(agent, rollout, 0.0)
    assert 0.0 < metrics["clip_fraction"] < 1.0
    for name, figure in expected.items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-3, atol=1e-5, err_msg=name)
    after = snapshot(agent)
    for path, weight in weights.items():
        np.testing.assert_allclose(after[path], weight, rtol=1e-3, atol=3e-5, err_msg=path)
        assert not np.allclose(start[path], weight, atol=1e-3), path


def test_compiled_by_xla_gives_the_same_step(snapshot: Snapshot) -> None:
    plain, compiled = fresh("lstm"), fresh("lstm", jit_compile=True)
    rollout = make_rollout(plain)
    metrics, compiled_metrics = train(plain, rollout, 0.0), train(compiled, rollout, 0.0)
    assert compiled_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
    for path, value in snapshot(plain).items():
        np.testing.assert_allclose(snapshot(compiled)[path], value, rtol=1e-4, atol=1e-5, err_msg=path)


def test_same_seed_gives_the_same_bits_and_the_update_is_traced_once(
    snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    agent = fresh("lstm", SEQUENCES)
    twin = make_agent("lstm", SEQUENCES)
    for update in range(3):
        rollout = make_rollout(agent, seed=update)
        for learner in (agent, twin):
            train(learner, rollout, update / 3)
    assert_same_bits(snapshot(twin), snapshot(agent))
    assert (agent.tracing_count, twin.tracing_count) == (1, 1)


def test_a_restored_agent_goes_on_as_the_one_that_was_saved(snapshot: Snapshot, assert_same_bits: SameBits) -> None:
    agent = fresh("everything", MANY_STEPS)
    rollouts = [make_rollout(agent, seed) for seed in range(3)]
    train(agent, rollouts[0], 0.0)
    saved = snapshot(agent)
    assert {"optimizer/first_moment", "reward_normalizer/count", "train_step"} <= saved.keys()
    for rollout in rollouts[1:]:
        train(agent, rollout, 0.5)
    expected = snapshot(agent)
    agent = fresh("everything", MANY_STEPS)
    restore(agent, saved)
    for rollout in rollouts[1:]:
        train(agent, rollout, 0.5)
    assert_same_bits(snapshot(agent), expected)


@pytest.mark.parametrize("settings", [{"sequence_states": "recomputed"}, {"burn_in": 2}], ids=["recomputed", "burn-in"])
def test_states_computed_anew_are_the_stored_ones_until_the_weights_move(
    settings: dict[str, Any], snapshot: Snapshot
) -> None:
    stored = dataclasses.replace(
        WHOLE_BATCH, num_epochs=2, sequence_length=2, learning_rate=3e-2, learning_rate_schedule="linear"
    )
    anew = dataclasses.replace(stored, **settings)
    rollout = make_rollout(fresh("lstm", stored))
    kernel = "policy/actor_network/layers/0/unroll/recurrent_kernel"
    # At the end of the schedule the learning rate is 0.
    for progress in (1.0, 0.0):
        expected, found = fresh("lstm", stored), fresh("lstm", anew)
        metrics = train(expected, rollout, progress)
        if progress == 1.0:
            assert train(found, rollout, progress) == pytest.approx(metrics, rel=1e-5, abs=1e-6)
        else:
            train(found, rollout, progress)
            assert not np.allclose(snapshot(found)[kernel], snapshot(expected)[kernel], atol=1e-5)


def test_lengths_and_minibatches_that_do_not_fit_are_refused() -> None:
    rollout = make_rollout(fresh("lstm"))
    with pytest.raises(ConfigError, match=r"sequence_length 4 does not divide the rollouts' 6 steps"):
        train(make_agent("lstm", dataclasses.replace(WHOLE_BATCH, sequence_length=4)), rollout)
    with pytest.raises(ConfigError, match=r"num_minibatches 5 is more than the 4 sequences"):
        train(make_agent("lstm", dataclasses.replace(WHOLE_BATCH, num_minibatches=5)), rollout)


def test_nested_observations_and_actions_train() -> None:
    spec = {"joints": ArraySpec((3,), np.float32), "map": ArraySpec((2, 2), np.float32)}
    encoder = LSTMEncodingNetwork(
        spec,
        preprocessing_layers={
            "joints": keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed=4)),
            "map": keras.Sequential(
                [
                    keras.layers.Flatten(),
                    keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed=5)),
                ]
            ),
        },
        preprocessing_combiner=keras.layers.Concatenate(),
        input_fc_layer_params=None,
        lstm_size=(4, 5),
        output_fc_layer_params=None,
        cell="gru",
        seed=1,
    )
    agent = SurrogateAgent(
        ts.time_step_spec(spec),
        MIXED,
        ActorDistributionNetwork(ENCODING, MIXED, fc_layer_params=(4,), activation_fn="tanh", seed=2),
        ValueNetwork(ENCODING, fc_layer_params=(4,), activation_fn="tanh", seed=3),
        # Without a discount the critic's targets are the rewards, which do not move while it learns them.
        dataclasses.replace(WHOLE_BATCH, sequence_length=3, burn_in=1, normalize_observations=True, discount=0.0),
        jit_compile=False,
        encoding_network=encoder,
    )
    generator = np.random.default_rng(0)
    outer = (NUM_SLOTS, NUM_STEPS + 1)
    observation = {name: generator.normal(size=(*outer, *leaf.shape)).astype(np.float32) for name, leaf in spec.items()}
    rollout = make_rollout(agent, observation=observation)
    before = state_of(agent)
    # One step on the whole batch: the ratio was 1 before it, of all leaves together.
    assert abs(train(agent, rollout, 0.0)["approx_kl"]) < 1e-6
    first = train(agent, rollout, 0.0)
    assert first["approx_kl"] > 1e-6
    after = state_of(agent)
    trained = [item.path for item in agent.named_variables() if item.variable.trainable]
    assert len(trained) > 15
    assert not [path for path in trained if np.array_equal(before[path], after[path])]
    for _ in range(30):
        last = train(agent, rollout, 0.0)
    assert last["value_loss"] < 0.9 * first["value_loss"]
    assert agent.tracing_count == 1


class LeavesResetsToThePolicy(Network):
    """Acts rightly step by step, where the policy resets its state, and runs episodes together in a sequence."""

    def __init__(self) -> None:
        super().__init__(OBSERVATION, [ArraySpec((8,), np.float32)])
        self._encoder = LSTMEncodingNetwork(
            OBSERVATION, input_fc_layer_params=None, lstm_size=(8,), output_fc_layer_params=None, cell="gru", seed=0
        )

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        return self._encoder(observation, network_state=network_state)


def test_a_network_that_does_not_reset_inside_a_sequence_is_refused() -> None:
    actor = ActorDistributionNetwork(ArraySpec((8,), np.float32), DISCRETE, fc_layer_params=())
    value = ValueNetwork(ArraySpec((8,), np.float32), fc_layer_params=())
    with pytest.raises(ConfigError, match="PolicyNetwork does not reset its state where step_type is FIRST"):
        SurrogateAgent(
            ts.time_step_spec(OBSERVATION),
            DISCRETE,
            actor,
            value,
            WHOLE_BATCH,
            encoding_network=LeavesResetsToThePolicy(),
        )
