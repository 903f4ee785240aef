from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.ddpg.actor_network import ActorNetwork
from distpolicy.agents.ddpg.critic_network import CriticNetwork
from distpolicy.agents.ddpg.critic_rnn_network import CriticRnnNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts

VECTOR = BoundedArraySpec((3,), np.float32, -10.0, 10.0)
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 10.0], [1.0, 30.0])


def draw(seed: int, *shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def dense(values: np.ndarray, layer: keras.layers.Dense) -> np.ndarray:
    return values @ layer.kernel.numpy() + layer.bias.numpy()


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_critic_equals_a_plain_reference(outer: tuple[int, ...], jit_compile: bool) -> None:
    network = CriticNetwork(
        (VECTOR, BOX),
        observation_fc_layer_params=(4,),
        action_fc_layer_params=(5,),
        joint_fc_layer_params=(6,),
        output_activation_fn="tanh",
        seed=1,
    )
    observation, action = draw(0, *outer, 3), draw(1, *outer, 2)
    network.create_variables()
    for variable in network.variables:
        variable.assign(draw(2, *variable.shape))
    value = tf.function(lambda *inputs: network(inputs)[0], jit_compile=jit_compile)(observation, action)
    layers = {tuple(layer.kernel.shape): layer for layer in network.layers}
    seen = np.maximum(dense(observation.numpy(), layers[3, 4]), 0.0)
    done = np.maximum(dense(action.numpy(), layers[2, 5]), 0.0)
    joint = np.maximum(dense(np.concatenate([seen, done], axis=-1), layers[9, 6]), 0.0)
    expected = np.tanh(dense(joint, layers[6, 1]))[..., 0]
    assert value.shape == outer
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_critic_without_layers_is_linear() -> None:
    network = CriticNetwork((VECTOR, BOX))
    kernel, bias = network.variables
    assert kernel.shape == (5, 1)
    assert np.abs(kernel.numpy()).max() <= 0.003
    kernel.assign(tf.reshape(tf.range(1.0, 6.0), [5, 1]))
    bias.assign([0.5])
    np.testing.assert_allclose(network((tf.ones([1, 3]), tf.ones([1, 2])))[0], [15.5])


def test_critic_takes_images_and_discrete_actions() -> None:
    image = BoundedArraySpec((8, 8, 1), np.uint8, 0, 255)
    network = CriticNetwork((image, BoundedArraySpec((), np.int64, 0, 3)), ((3, 4, 2),), joint_fc_layer_params=(4,))
    for outer in ((2,), (2, 3)):
        inputs = (tf.ones([*outer, 8, 8, 1], tf.uint8), tf.ones(outer, tf.int64))
        assert network(inputs)[0].shape == outer


def test_critic_s_last_layer_may_be_given_and_is_copied() -> None:
    last = keras.layers.Dense(1, bias_initializer="ones", kernel_initializer="zeros")
    network = CriticNetwork((VECTOR, BOX), last_layer=last)
    np.testing.assert_array_equal(network((draw(0, 4, 3), draw(1, 4, 2)))[0], np.ones(4))
    assert not last.built
    twin = network.copy()
    assert not {id(item) for item in twin.variables} & {id(item) for item in network.variables}


@pytest.mark.parametrize("make", [CriticNetwork, lambda spec: CriticRnnNetwork(spec, lstm_size=(4,))])
@pytest.mark.parametrize(
    ("spec", "match"),
    [(([VECTOR, VECTOR], BOX), "single observation"), ((VECTOR, [BOX, BOX]), "single action"), (VECTOR, "action_spec")],
)
def test_critic_refuses_other_inputs(make: Any, spec: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(spec)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_critic_of_a_sequence_equals_its_steps(cell: str) -> None:
    network = CriticRnnNetwork((VECTOR, BOX), lstm_size=(4,), output_fc_layer_params=(5,), cell=cell, seed=1)
    observation, action = draw(0, 2, 4, 3), draw(1, 2, 4, 2)
    step_type = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.int32)
    whole, _ = network((observation, action), step_type)
    assert whole.shape == (2, 4)
    state: Any = network.get_initial_state(2)
    for step in range(4):
        value, state = network((observation[:, step], action[:, step]), step_type[:, step], state)
        np.testing.assert_allclose(whole[:, step], value, rtol=1e-5, atol=1e-7)


def test_seed_decides_all_weights_and_no_two_layers_share_them() -> None:
    def kernels(seed: int, make: Any, **arguments: Any) -> list[np.ndarray]:
        network = make((VECTOR, VECTOR), observation_fc_layer_params=(4,), action_fc_layer_params=(4,), seed=seed,
                       **arguments)  # fmt: skip
        return [variable.numpy() for variable in network.variables if variable.shape.rank == 2]

    for make, arguments in ((CriticNetwork, {}), (CriticRnnNetwork, {"lstm_size": (3,)})):
        first, again, other = (kernels(seed, make, **arguments) for seed in (1, 1, 2))
        assert all(np.array_equal(left, right) for left, right in zip(first, again, strict=True))
        assert not any(np.array_equal(left, right) for left, right in zip(first, other, strict=True))
        own = [kernel for kernel in first if kernel.shape == (3, 4)]
        assert len(own) == 2
        assert not np.array_equal(*own)


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_actor_s_actions_lie_within_the_bounds(outer: tuple[int, ...], jit_compile: bool) -> None:
    network = ActorNetwork(VECTOR, {"move": BOX}, fc_layer_params=(6,), seed=1)
    network.create_variables()
    for variable in network.variables:
        variable.assign(draw(2, *variable.shape) * 2.0)
    observation = draw(0, *outer, 3)
    action = tf.function(lambda x: network(x)[0], jit_compile=jit_compile)(observation)["move"]
    hidden, last = network.layers
    raw = np.tanh(dense(np.maximum(dense(observation.numpy(), hidden), 0.0), last))
    assert action.shape == (*outer, 2)
    np.testing.assert_allclose(action, [0.0, 20.0] + [1.0, 10.0] * raw, rtol=1e-4, atol=1e-5)


def test_actor_begins_in_the_middle_and_makes_a_policy() -> None:
    network = ActorNetwork(VECTOR, BOX, fc_layer_params=(6,))
    policy = ActorPolicy(ts.time_step_spec(VECTOR), BOX, network)
    action = policy.action(ts.restart(draw(0, 4, 3), 4)).action
    np.testing.assert_allclose(action, np.tile([0.0, 20.0], (4, 1)), atol=0.5)


@pytest.mark.parametrize(
    ("observation", "action", "match"),
    [
        (VECTOR, [BOX, BOX], "single action"),
        ([VECTOR, VECTOR], BOX, "single observation"),
        (VECTOR, BoundedArraySpec((), np.int64, 0, 1), "floats with finite bounds"),
        (VECTOR, BoundedArraySpec((2,), np.float32, -np.inf, np.inf), "floats with finite bounds"),
    ],
)
def test_actor_refuses_other_specs(observation: Any, action: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ActorNetwork(observation, action)
