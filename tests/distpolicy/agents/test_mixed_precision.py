"""Updates in bfloat16: near those in float32, with nothing else changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from rollout_training import train

from distpolicy.agents.actor_critic import ActorCritic
from distpolicy.agents.agent_training import zero_rollout_for
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType

FLOATS = BoundedArraySpec((4,), np.float32, -10.0, 10.0, "observation")
IMAGE = BoundedArraySpec((8, 8, 1), np.float32, 0.0, 1.0, "observation")
ACTION = BoundedArraySpec((), np.int64, 0, 2, "action")
CONFIG = PPOConfig(num_epochs=2, num_minibatches=2, normalize_observations=True, learning_rate=3e-3)
NUM_SLOTS, NUM_STEPS = 16, 4
KINDS = ("dense", "convolutions", "lstm", "stacked gru")


def make_encoding(kind: str) -> Any:
    if kind == "convolutions":
        return EncodingNetwork(IMAGE, conv_layer_params=((4, 3, 2),), fc_layer_params=(8,), seed=1)
    if kind == "lstm":
        return LSTMEncodingNetwork(
            FLOATS, input_fc_layer_params=(8,), lstm_size=(6,), output_fc_layer_params=(5,), seed=1
        )
    if kind == "stacked gru":
        return LSTMEncodingNetwork(
            FLOATS, input_fc_layer_params=None, lstm_size=(6, 5), output_fc_layer_params=None, cell="gru", seed=1
        )
    return None


def make_agent(kind: str, mixed_precision: bool, config: PPOConfig = CONFIG) -> SurrogateAgent:
    encoding = make_encoding(kind)
    spec = FLOATS if encoding is None else encoding.create_variables()
    return SurrogateAgent(
        ts.time_step_spec(IMAGE if kind == "convolutions" else FLOATS),
        ACTION,
        ActorDistributionNetwork(spec, ACTION, fc_layer_params=(16,), activation_fn="tanh", seed=2),
        ValueNetwork(spec, fc_layer_params=(16,), activation_fn="tanh", seed=3),
        config,
        jit_compile=False,
        encoding_network=encoding,
        mixed_precision=mixed_precision,
    )


def make_rollout(agent: SurrogateAgent, seed: int) -> Rollout:
    """Random steps on which the action that is the place of the greatest of the first three numbers is rewarded."""
    generator = np.random.default_rng(seed)
    zeros = zero_rollout_for(agent, NUM_SLOTS, NUM_STEPS)
    observation = generator.uniform(-1.0, 1.0, zeros.observation.shape).astype(np.float32)
    flat = observation[:, :-1].reshape(NUM_SLOTS, NUM_STEPS, -1)
    action = generator.integers(0, 3, (NUM_SLOTS, NUM_STEPS))
    return zeros._replace(
        observation=observation,
        step_type=np.full(zeros.step_type.shape, StepType.FIRST, np.int32),
        action=action,
        policy_info=zeros.policy_info._replace(
            log_probability=np.full((NUM_SLOTS, NUM_STEPS), -np.log(3.0), np.float32)
        ),
        reward=(action == flat[..., :3].argmax(axis=-1)).astype(np.float32),
    )


def state_of(agent: SurrogateAgent) -> dict[str, np.ndarray]:
    return {item.path: item.variable.numpy() for item in agent.named_variables()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_is_near_that_in_float32_and_its_variables_are_of_the_same_layout(kind: str) -> None:
    states, metrics = [], []
    for mixed_precision in (False, True):
        agent = make_agent(kind, mixed_precision)
        start = state_of(agent)
        metrics.append(train(agent, make_rollout(agent, 0), 0.0))
        states.append(state_of(agent))
    exact, mixed = states
    layout = {path: (value.dtype, value.shape) for path, value in exact.items()}
    assert {path: (value.dtype, value.shape) for path, value in mixed.items()} == layout
    weights = [path for path in exact if path.startswith(("policy/", "value_")) and exact[path].dtype == np.float32]
    step, difference = (
        np.concatenate([np.ravel(of[path] - since[path]) for path in weights])
        for of, since in ((exact, start), (mixed, exact))
    )
    # A weight without much of a gradient may go the other way: Adam's steps are of one size.
    assert 0.0 < np.linalg.norm(difference) < 0.2 * np.linalg.norm(step)
    for name, value in metrics[0].items():
        assert metrics[1][name] == pytest.approx(value, rel=0.05, abs=0.02), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_given_and_what_it_gives_is_float32(kind: str) -> None:
    encoding = make_encoding(kind)
    observation_spec = IMAGE if kind == "convolutions" else FLOATS
    spec = observation_spec if encoding is None else encoding.create_variables()
    actor = ActorDistributionNetwork(spec, ACTION, fc_layer_params=(16,), seed=2)
    value = ValueNetwork(spec, fc_layer_params=(16,), seed=3)
    actor_critic = ActorCritic(observation_spec, actor, value, encoding, mixed_precision=True)
    state = tf.nest.map_structure(
        lambda item: tf.ones([2, *item.shape], item.dtype), actor_critic.policy_network.state_spec
    )
    distribution, values, after = actor_critic(
        tf.ones([2, 3, *observation_spec.shape]), tf.ones([2, 3], tf.int32), state
    )
    assert distribution.logits.dtype == values.dtype == tf.float32
    assert all(leaf.dtype == tf.float32 for leaf in tf.nest.flatten(after))


def test_policies_of_the_same_networks_compute_in_float32() -> None:
    exact, mixed = (make_agent("lstm", mixed_precision) for mixed_precision in (False, True))
    train(mixed, make_rollout(mixed, 0), 0.0)
    for source, target in zip(mixed.named_variables(), exact.named_variables(), strict=True):
        target.variable.assign(source.variable)
    step = ts.restart(tf.constant(make_rollout(mixed, 1).observation[:, 0]), batch_size=NUM_SLOTS)

    def logits(policy: TFPolicy) -> np.ndarray:
        return policy.distribution(step, policy.get_initial_state(NUM_SLOTS)).action.logits.numpy()

    np.testing.assert_array_equal(logits(mixed.collect_policy), logits(exact.collect_policy))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dense", ["Dense"]),
        ("convolutions", ["Conv2D", "Dense"]),
        ("lstm", ["Dense", "Dense", "LSTMCell"]),
        ("stacked gru", ["GRUCell", "GRUCell"]),
    ],
)
def test_encoders_compute_in_bfloat16_and_heads_do_not(kind: str, expected: list[str]) -> None:
    encoding = make_encoding(kind)
    network = ValueNetwork(FLOATS, fc_layer_params=(16,)) if encoding is None else encoding
    network.create_variables()
    layers = layers_in_bfloat16([network, network], True)
    assert layers_in_bfloat16([network], False) == []
    assert sorted(type(layer).__name__ for layer in layers) == expected
    with in_bfloat16(layers):
        assert {layer.compute_dtype for layer in layers} == {"bfloat16"}
    assert {layer.compute_dtype for layer in layers} == {"float32"}


def test_layers_are_as_before_also_after_an_error() -> None:
    layer = keras.layers.Dense(2)
    with pytest.raises(RuntimeError), in_bfloat16([layer]):
        raise RuntimeError
    assert layer.compute_dtype == "float32"


def test_it_learns() -> None:
    agent = make_agent("dense", True, dataclasses.replace(CONFIG, num_epochs=10, learning_rate=1e-2, discount=0.0))
    for update in range(15):
        train(agent, make_rollout(agent, update), 0.0)
    observation = np.random.default_rng(100).uniform(-1.0, 1.0, (256, 4)).astype(np.float32)
    action = agent.policy.action(ts.restart(tf.constant(observation), batch_size=256)).action.numpy()
    assert (action == observation[:, :3].argmax(axis=1)).mean() > 0.8
