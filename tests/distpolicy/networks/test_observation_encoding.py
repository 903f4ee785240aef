"""Every observation that Gymnasium's spaces describe becomes a vector that the networks learn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.observation_encoding import NATURE_CONV_LAYERS, default_conv_layers, preprocessing_for
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.networks.value_rnn_network import ValueRnnNetwork
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs import spec_from_space
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.utils.nests.array_nest import flatten, map_structure

ACTION = BoundedArraySpec((), np.int64, 0, 3)
Box, Discrete, Dict, Tuple = gym.spaces.Box, gym.spaces.Discrete, gym.spaces.Dict, gym.spaces.Tuple

MIXED = Dict(
    {
        "camera": Box(0, 255, (9, 8, 3), np.uint8),
        "frames": Box(0, 255, (4, 40, 36), np.uint8),
        "joints": Tuple((Box(-1, 1, (2, 2), np.float64), Dict({"on": gym.spaces.MultiBinary(2)}))),
        "level": gym.spaces.MultiDiscrete([2, 9], start=[1, -3]),
        "score": Box(-(2**63), 2**63 - 1, (), np.int64),
        "room": Discrete(5, start=2),
    }
)


def samples(space: gym.Space, *outer: int, seed: int = 0) -> Any:
    """Arrays ``[*outer, ...]`` of the spec's structure and dtypes."""
    space.seed(seed)
    spec = spec_from_space(space)
    rows = [_plain(spec, space.sample()) for _ in range(math.prod(outer))]
    return map_structure(lambda *leaves: np.stack(leaves).reshape(*outer, *leaves[0].shape), *rows)


def _plain(spec: Any, value: Any) -> Any:
    if isinstance(spec, dict):
        return {key: _plain(child, value[key]) for key, child in spec.items()}
    if isinstance(spec, tuple):
        return tuple(_plain(child, part) for child, part in zip(spec, value, strict=True))
    return np.asarray(value, spec.dtype)


def encoder(space: gym.Space, seed: int | None = 1, **arguments: Any) -> EncodingNetwork:
    spec = spec_from_space(space)
    layers, combiner = preprocessing_for(spec, seed=seed, **arguments)
    return EncodingNetwork(spec, layers, combiner, fc_layer_params=(8,), activation_fn="tanh", seed=2)


def layer_names(space: gym.Space, **arguments: Any) -> list[str]:
    return [type(layer).__name__ for layer in flatten(preprocessing_for(spec_from_space(space), **arguments)[0])]


def mixed_policy(space: gym.Space = MIXED) -> ActorPolicy:
    spec = spec_from_space(space, "observation")
    layers, combiner = preprocessing_for(spec, seed=1)
    network = ActorDistributionNetwork(spec, ACTION, layers, combiner, fc_layer_params=(16,), seed=2)
    return ActorPolicy(ts.time_step_spec(spec), ACTION, network, emit_log_probability=True)


def steps(space: gym.Space, num: int) -> ts.TimeStep:
    ones = np.ones(num, np.float32)
    return ts.TimeStep(np.full(num, ts.StepType.MID, np.int32), ones, ones, samples(space, num))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_floats_alone_go_to_the_network_as_they_are(dtype: Any, shape: tuple[int, ...]) -> None:
    assert preprocessing_for(spec_from_space(Box(-1, 1, shape, dtype))) == (None, None)


@pytest.mark.parametrize(
    ("space", "layer"),
    [
        (Box(0, 255, (84, 84, 4), np.uint8), "EncodingNetwork"),
        (Box(0, 255, (4, 84, 84), np.uint8), "EncodingNetwork"),
        (Box(0, 255, (12, 10), np.uint8), "EncodingNetwork"),
        (Box(0, 255, (4, 12, 10, 3), np.uint8), "EncodingNetwork"),
        (Box(0, 10, (7, 7, 3), np.uint8), "EncodingNetwork"),
        (Box(0, 255, (2, 9), np.uint8), "ScaledIntegers"),
        (Box(0, 255, (128,), np.uint8), "ScaledIntegers"),
        (Box(0, 255, (), np.uint8), "OneHotIntegers"),
        (Box(0, 3, (5,), np.uint8), "OneHotIntegers"),
        (Discrete(500, start=-7), "OneHotIntegers"),
        (Discrete(1025), "ScaledIntegers"),
        (gym.spaces.MultiDiscrete([3, 5]), "OneHotIntegers"),
        (gym.spaces.MultiDiscrete([3, 5000]), "ScaledIntegers"),
        (gym.spaces.MultiBinary((2, 3)), "ScaledIntegers"),
        (Box(0, 1, (3,), np.bool_), "FlatFloats"),
        (Box(-500, 500, (3,), np.int16), "ScaledIntegers"),
        (Box(-(2**15), 2**15 - 1, (3,), np.int16), "LogIntegers"),
        (Box(0, 2**31 - 1, (3,), np.int32), "LogIntegers"),
        (Box(0, 2**40, (3,), np.int64), "LogIntegers"),
        (Box(0, 2**64 - 1, (3,), np.uint64), "LogIntegers"),
    ],
    ids=repr,
)
def test_each_kind_of_leaf_has_its_layer(space: gym.Space, layer: str) -> None:
    assert layer_names(space) == [layer]


def test_integers_without_bounds_become_logarithms() -> None:
    assert type(preprocessing_for(ArraySpec((3,), np.int32))[0]).__name__ == "LogIntegers"


def test_the_width_of_one_hot_vectors_is_the_callers() -> None:
    assert layer_names(Discrete(12), max_one_hot_width=12) == ["OneHotIntegers"]
    assert layer_names(Discrete(12), max_one_hot_width=11) == ["ScaledIntegers"]


@pytest.mark.parametrize(
    ("side", "expected"),
    [(84, NATURE_CONV_LAYERS), (36, NATURE_CONV_LAYERS), (7, ((32, 3, 1), (64, 3, 1))), (3, ((32, 3, 1),))],
)
def test_convolutions_follow_the_size_of_the_image(side: int, expected: Any) -> None:
    assert default_conv_layers((side, side + 5, 3)) == expected


def test_every_image_is_left_something_by_its_convolutions() -> None:
    for side in range(3, 60):
        rest = side
        for _, kernel_size, strides in default_conv_layers((side, side, 1)):
            assert rest >= kernel_size
            rest = (rest - kernel_size) // strides + 1
        assert 1 <= rest <= 8


def test_the_callers_convolutions_are_those_of_every_image() -> None:
    network = encoder(MIXED, conv_layer_params=((5, 4, 3), (6, (2, 1), 1)))
    network.create_variables()
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.filters, layer.kernel_size) for layer in convolutions] == [(5, (4, 4)), (6, (2, 1))] * 2


def test_convolutions_that_leave_nothing_are_an_error_that_names_the_leaf() -> None:
    space = Dict({"eye": Box(0, 255, (9, 20, 3), np.uint8), "x": Discrete(2)})
    with pytest.raises(ConfigError, match=r"\[1\] \(8, 4, 1\) is larger than its 3x9 input from observation/eye"):
        preprocessing_for(spec_from_space(space), conv_layer_params=((4, 4, 2), (8, 4, 1)))
    with pytest.raises(ConfigError, match=r"conv_layer_params\[0\]"):
        preprocessing_for(spec_from_space(space), conv_layer_params=((4, 3, 1, 8),))


def test_what_no_network_takes_is_an_error_that_names_the_leaf() -> None:
    with pytest.raises(SpecMismatchError, match=r"observation/a is of dtype string"):
        preprocessing_for({"a": tf.TensorSpec((), tf.string), "b": tf.TensorSpec((), tf.float32)})
    with pytest.raises(SpecMismatchError, match=r"observation/0 has the open shape"):
        preprocessing_for((tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)))
    with pytest.raises(SpecMismatchError, match="without any leaf"):
        preprocessing_for({})


def spaces() -> st.SearchStrategy[gym.Space]:
    integers = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
    sides = st.integers(3, 9)
    small = st.lists(st.integers(1, 3), max_size=3).map(tuple)
    leaves = st.one_of(
        st.builds(lambda h, w: Box(0, 255, (h, w), np.uint8), sides, sides),
        st.builds(lambda h, w, c: Box(0, 255, (h, w, c), np.uint8), sides, sides, st.integers(1, 3)),
        st.builds(lambda h, w, c: Box(0, 255, (c, h, w), np.uint8), sides, sides, st.integers(1, 2)),
        st.builds(lambda h, w, s: Box(0, 255, (s, h, w, 2), np.uint8), sides, sides, st.integers(1, 4)),
        st.builds(lambda n, start: Discrete(n, start=start), st.integers(2, 2000), st.integers(-9, 9)),
        st.builds(gym.spaces.MultiDiscrete, st.lists(st.integers(2, 700), min_size=1, max_size=3)),
        st.builds(gym.spaces.MultiBinary, st.integers(1, 5)),
        st.builds(lambda shape: Box(0, 1, shape, np.bool_), small),
        st.builds(lambda shape, kind: Box(-9, 9, shape, kind), small, st.sampled_from([np.float16, np.float64])),
        st.builds(lambda shape: Box(-np.inf, np.inf, shape, np.float32), small),
        st.builds(lambda shape, kind: Box(1, 100, shape, kind), small, st.sampled_from(integers)),
        st.builds(
            lambda shape, kind: Box(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind),
            small,
            st.sampled_from(integers),
        ),
    )
    return st.recursive(
        leaves,
        lambda children: st.one_of(
            st.lists(children, min_size=1, max_size=3).map(Tuple),
            st.dictionaries(st.sampled_from("abcd"), children, min_size=1, max_size=3).map(Dict),
        ),
        max_leaves=4,
    )


@settings(max_examples=40)
@given(spaces())
def test_any_space_is_encoded_over_any_outer_dimensions_and_learned_from(space: gym.Space) -> None:
    network = encoder(space)
    observation = samples(space, 2, 3)
    with tf.GradientTape() as tape:
        encoding, _ = network(observation)
        loss = tf.reduce_sum(encoding)
    assert encoding.dtype == tf.float32
    assert encoding.shape == (2, 3, 8)
    assert np.isfinite(encoding).all()
    rows, _ = network(map_structure(lambda leaf: leaf.reshape(6, *leaf.shape[2:]), observation))
    np.testing.assert_allclose(tf.reshape(encoding, (6, 8)), rows, rtol=1e-4, atol=1e-5)
    single, _ = network(map_structure(lambda leaf: leaf[1, 2], observation))
    np.testing.assert_allclose(encoding[1, 2], single, rtol=1e-4, atol=1e-5)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)


@settings(max_examples=40)
@given(spaces(), st.integers(0, 99))
def test_observations_that_differ_in_a_leaf_have_encodings_that_differ(space: gym.Space, seed: int) -> None:
    spec = spec_from_space(space)
    layers, combiner = preprocessing_for(spec, seed=1)
    network = EncodingNetwork(spec, layers, combiner)
    first, second = (flatten(samples(space, 1, seed=given_seed)) for given_seed in (seed, seed + 1))
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        mixed = [other if index == place else leaf for index, leaf in enumerate(first)]
        encodings = [network(tf.nest.pack_sequence_as(spec, leaves))[0].numpy() for leaves in (first, mixed)]
        assert np.array_equal(*encodings) == np.array_equal(one, other)


def test_gradients_reach_the_convolutions_of_every_image() -> None:
    network = encoder(MIXED)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(samples(MIXED, 4))[0])
    gradients = tape.gradient(loss, network.trainable_variables)
    assert len(gradients) == 2 * (2 + 3 + 1)
    assert all(np.any(gradient != 0) for gradient in gradients)


@pytest.mark.parametrize("make", [LSTMEncodingNetwork, ValueRnnNetwork])
def test_recurrent_networks_give_of_a_sequence_what_they_give_step_by_step(make: Any) -> None:
    spec = spec_from_space(MIXED)
    layers, combiner = preprocessing_for(spec, seed=1)
    network = make(
        spec, layers, combiner, input_fc_layer_params=(6,), lstm_size=(4,), output_fc_layer_params=(), seed=2
    )
    observation = samples(MIXED, 2, 3)
    step_type = np.array([[1, 0, 1], [0, 1, 1]], np.int32)
    whole, _ = network(observation, step_type=step_type)
    state: Any = ()
    for t in range(3):
        one = map_structure(lambda leaf, t=t: leaf[:, t], observation)
        output, state = network(one, step_type=step_type[:, t], network_state=state)
        np.testing.assert_allclose(whole[:, t], output, rtol=1e-4, atol=1e-5)


def test_compiled_encodings_are_the_eager_ones() -> None:
    network = encoder(MIXED)
    observation = samples(MIXED, 3)
    eager = network(observation)[0]
    for jit_compile in (False, True):
        compiled = tf.function(lambda leaves: network(leaves)[0], jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(observation), eager, rtol=1e-4, atol=1e-5)


def test_open_outer_dimensions_are_traced() -> None:
    network = encoder(MIXED)
    leaves = map_structure(lambda spec: tf.TensorSpec((None, None, *spec.shape), spec.dtype), spec_from_space(MIXED))
    traced = tf.function(lambda observation: network(observation)[0], input_signature=[leaves])
    observation = samples(MIXED, 2, 2)
    np.testing.assert_allclose(traced(observation), network(observation)[0], rtol=1e-4, atol=1e-5)


def test_seeds_decide_the_initial_convolutions_and_two_images_begin_differently() -> None:
    space = Dict({name: Box(0, 255, (6, 6, 3), np.uint8) for name in "ab"})
    for arguments in ({}, {"kernel_initializer": keras.initializers.Orthogonal(seed=3)}):
        kernels = [
            [variable.numpy() for variable in encoder(space, seed, **arguments).variables if len(variable.shape) == 4]
            for seed in (5, 5, 6)
        ]
        for left, right in zip(kernels[0], kernels[1], strict=True):
            np.testing.assert_array_equal(left, right)
        assert np.array_equal(kernels[0][0], kernels[2][0]) == bool(arguments)  # an own seed goes before
        assert not np.array_equal(*kernels[0])


def test_copies_and_networks_of_the_same_layers_share_no_weights() -> None:
    spec = spec_from_space(MIXED)
    layers, combiner = preprocessing_for(spec, seed=1)
    network = ValueNetwork(spec, layers, combiner, fc_layer_params=(4,), seed=2)
    others = [network.copy(), ActorDistributionNetwork(spec, ACTION, layers, combiner, fc_layer_params=(4,), seed=2)]
    own = {variable.ref() for variable in network.variables}
    for other in others:
        assert not own & {variable.ref() for variable in other.variables}
    for mine, its in zip(network.variables, others[0].variables, strict=True):
        its.assign(mine)
    observation = samples(MIXED, 2)
    np.testing.assert_array_equal(others[0](observation)[0], network(observation)[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_dtype_is_the_networks(dtype: str) -> None:
    spec = spec_from_space(MIXED)
    layers, combiner = preprocessing_for(spec, seed=1, dtype=dtype)
    network = EncodingNetwork(spec, layers, combiner, fc_layer_params=(4,), seed=2, dtype=dtype)
    encoding = network(samples(MIXED, 2))[0]
    assert encoding.dtype == dtype
    assert {variable.dtype.name for variable in network.variables} == {dtype}
    expected = EncodingNetwork(
        spec, *preprocessing_for(spec, seed=1, dtype="float64"), fc_layer_params=(4,), seed=2, dtype="float64"
    )
    for mine, its in zip(network.variables, expected.variables, strict=True):
        its.assign(tf.cast(mine, tf.float64))
    np.testing.assert_allclose(tf.cast(encoding, tf.float64), expected(samples(MIXED, 2))[0], rtol=0.05, atol=0.1)


def test_bytes_stay_bytes_up_to_the_first_layer(tmp_path: Path) -> None:
    policy = mixed_policy()
    PolicySaver(policy).save(tmp_path / "policy")
    for found in (policy, policy_loader.load(str(tmp_path / "policy"))):
        observation = found.collect_data_spec.observation
        assert {key: observation[key].dtype for key in ("camera", "frames")} == {"camera": "uint8", "frames": "uint8"}
    network = encoder(Dict({"frames": MIXED["frames"], "room": MIXED["room"]}))
    network.create_variables()
    graph = tf.function(lambda frames, room: network({"frames": frames, "room": room})[0]).get_concrete_function(
        tf.TensorSpec((5, 4, 40, 36), tf.uint8), tf.TensorSpec((5,), tf.int64)
    )
    chain = [tensor for op in graph.graph.get_operations() for tensor in op.outputs if tensor.dtype == tf.uint8]
    assert [tensor.op.type for tensor in chain] == ["Placeholder", "Transpose"]
    assert [op.type for op in chain[-1].consumers()] == ["Cast"]


def test_a_saved_policy_acts_alike(tmp_path: Path, to_tensors: Callable[[Any], Any]) -> None:
    policy = GreedyPolicy(mixed_policy())
    PolicySaver(policy).save(tmp_path / "policy")
    step = to_tensors(steps(MIXED, 8))
    loaded = policy_loader.load(str(tmp_path / "policy"))
    np.testing.assert_array_equal(loaded.action(step).action, policy.action(step).action)


def test_litert_acts_as_tensorflow(row_seeds: Callable[..., np.ndarray]) -> None:
    policy = mixed_policy()
    step = steps(MIXED, 5)
    found = []
    for inference in ("litert", "tf"):
        by = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference=inference)
        found.append(by.action(step, (), row_seeds(5)))
        assert by.inference == inference
    np.testing.assert_array_equal(found[0].action, found[1].action)
    np.testing.assert_allclose(found[0].info.log_probability, found[1].info.log_probability, rtol=1e-4)
