from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.categorical_projection_network import CategoricalProjectionNetwork
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep

VECTOR = BoundedArraySpec((3,), np.float32)


def observations(num: int, shape: tuple[int, ...] = (3,)) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(num, *shape)).astype(np.float32))


@pytest.mark.parametrize(
    ("minimum", "maximum", "dtype"), [(0, 2, np.int64), (0, 2, np.int32), (3, 6, np.int64), (-2, 0, np.int32)]
)
def test_every_value_of_a_discrete_action_is_drawn(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    row_seeds: Any,
    minimum: int,
    maximum: int,
    dtype: Any,
) -> None:
    near_uniform = keras.initializers.Orthogonal(0.01, seed=1)
    policy = make_policy(
        BoundedArraySpec((), dtype, minimum, maximum),
        network={
            "discrete_projection_net": lambda spec: CategoricalProjectionNetwork(spec, kernel_initializer=near_uniform)
        },
        emit_log_probability=True,
        weights_seed=None,
    )
    step = to_tensors(make_step(200))
    for seed in (tf.constant([1, 2]), tf.constant(row_seeds(200))):
        answer = policy.action(step, (), seed)
        assert answer.action.dtype == tf.as_dtype(dtype)
        values, counts = np.unique(answer.action, return_counts=True)
        np.testing.assert_array_equal(values, np.arange(minimum, maximum + 1))
        assert counts.min() > 0.5 * 200 / len(values)
        np.testing.assert_allclose(answer.info.log_probability, np.log(1 / len(values)), atol=0.1)


def test_initial_distribution_depends_little_on_the_observation() -> None:
    network = ActorDistributionNetwork(VECTOR, BoundedArraySpec((), np.int64, 0, 3), fc_layer_params=(16,), seed=1)
    logits = network(observations(64))[0].logits_parameter().numpy()
    assert 0 < np.abs(logits).max() < 1.0
    assert 0 < np.std(logits) < 0.3


@pytest.mark.parametrize("projection", [NormalProjectionNetwork, TanhNormalProjectionNetwork])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_boxes_of_any_shape_are_acted_in(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    row_seeds: Any,
    projection: Any,
    shape: tuple[int, ...],
) -> None:
    spec = BoundedArraySpec(shape, np.float32, -2.0, 5.0)
    policy = make_policy(spec, network={"continuous_projection_net": projection}, emit_log_probability=True)
    step = to_tensors(make_step(50))
    for seed in (tf.constant([1, 2]), tf.constant(row_seeds(50))):
        answer = policy.action(step, (), seed)
        assert answer.action.shape == (50, *shape)
        assert answer.info.log_probability.shape == (50,)
        assert np.all((answer.action >= -2.0) & (answer.action <= 5.0))
        assert np.ptp(answer.action) > 2.0
        assert np.all(np.isfinite(answer.info.log_probability))


def test_images_of_bytes_are_flattened() -> None:
    image = BoundedArraySpec((4, 4, 3), np.uint8)
    network = ActorDistributionNetwork(image, BoundedArraySpec((), np.int64, 0, 1), fc_layer_params=(8,))
    kernel = network.variables[0]
    assert kernel.shape == (48, 8)
    values = np.random.default_rng(0).integers(0, 256, size=(5, 4, 4, 3), dtype=np.uint8)
    logits = network(tf.constant(values))[0].logits_parameter()
    weights = [variable.numpy() for variable in network.variables]
    hidden = np.maximum(values.reshape(5, 48).astype(np.float32) @ weights[0] + weights[1], 0.0)
    np.testing.assert_allclose(logits, hidden @ weights[2] + weights[3], rtol=1e-3, atol=1e-3)


def test_scalar_observations_are_taken() -> None:
    spec = BoundedArraySpec((), np.int64, 0, 9)
    network = ActorDistributionNetwork(spec, BoundedArraySpec((), np.int64, 0, 1), fc_layer_params=(8,))
    logits = network(tf.constant([1, 2, 3], tf.int64))[0].logits_parameter()
    assert logits.shape == (3, 2)
    assert len(np.unique(logits, axis=0)) == 3


def test_seed_decides_the_initial_weights() -> None:
    def kernels(seed: int) -> list[np.ndarray]:
        network = ActorDistributionNetwork(
            VECTOR, BoundedArraySpec((), np.int64, 0, 1), fc_layer_params=(8, 8), seed=seed
        )
        return [variable.numpy() for variable in network.variables]

    for left, right in zip(kernels(1), kernels(1), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(kernels(1)[0], kernels(2)[0])


def test_policy_of_a_squashed_network_and_a_time_step_of_one() -> None:
    spec = BoundedArraySpec((), np.float32, 0.0, 1.0)
    network = ActorDistributionNetwork(
        VECTOR, spec, fc_layer_params=(4,), continuous_projection_net=TanhNormalProjectionNetwork
    )
    policy = ActorPolicy(ts.time_step_spec(VECTOR), spec, network)
    assert 0.0 <= float(policy.action(ts.restart(observations(1), 1), (), tf.constant([1, 2])).action[0]) <= 1.0


class Actions(NamedTuple):
    """A nest of actions of every kind."""

    push: Any
    walk: Any


NESTED = Actions(
    {"left": BoundedArraySpec((), np.int32, 2, 4), "right": [BoundedArraySpec((2,), np.int64, 0, [1, 3])]},
    (BoundedArraySpec((2,), np.float32, -1.0, 1.0), BoundedArraySpec((2,), np.float32, -1.0, 1.0)),
)


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_nested_actions_have_a_distribution_each_in_their_own_containers(
    outer: tuple[int, ...], jit_compile: bool
) -> None:
    network = ActorDistributionNetwork(VECTOR, NESTED, fc_layer_params=(8,), seed=1)
    values = tf.constant(np.random.default_rng(0).normal(size=(*outer, 3)).astype(np.float32))
    distributions, state = network(values)
    assert state == ()
    tf.nest.assert_same_structure(distributions, NESTED)
    assert type(distributions.push) is dict
    assert type(distributions.push["right"]) is list
    flat = tf.nest.flatten(distributions)
    assert [item.event_shape for item in flat] == [(), (2,), (2,), (2,)]
    assert all(item.batch_shape == outer for item in flat)
    assert [spec.sample_spec.shape for spec in tf.nest.flatten(network.output_spec)] == [(), (2,), (2,), (2,)]
    compiled = tf.function(
        lambda inputs: [item.mode() for item in tf.nest.flatten(network(inputs)[0])], jit_compile=jit_compile
    )
    for found, item in zip(compiled(values), flat, strict=True):
        np.testing.assert_allclose(found, item.mode(), rtol=1e-4, atol=1e-5)
    # Two actions of one spec have weights of their own.
    assert not np.allclose(flat[2].mean(), flat[3].mean(), atol=1e-4)
    paths = [item.path for item in network.named_variables()]
    assert "projection/0/left/logits/kernel" in paths
    assert len(set(paths)) == len(paths) == 2 + 2 + 2 + 3 + 3


def test_default_deviation_is_the_customary_one_and_the_mean_is_within_the_bounds() -> None:
    spec = BoundedArraySpec((2,), np.float32, -1.0, 3.0)
    normal = ActorDistributionNetwork(VECTOR, spec, fc_layer_params=(8,))(observations(100))[0]
    np.testing.assert_allclose(normal.stddev(), np.full((100, 2), 0.35), rtol=1e-5)
    assert np.all(np.abs(normal.mean() - 1.0) < 2.0)


def test_mask_reaches_discrete_projections_and_no_others() -> None:
    mask = tf.constant([[False, True, False, False]] * 4)
    discrete = ActorDistributionNetwork(VECTOR, BoundedArraySpec((), np.int64, 0, 3), fc_layer_params=(8,))
    np.testing.assert_array_equal(discrete(observations(4), mask=mask)[0].mode(), np.ones(4))
    continuous = ActorDistributionNetwork(VECTOR, BoundedArraySpec((2,), np.float32, 0.0, 1.0), fc_layer_params=(8,))
    with pytest.raises(NotImplementedError, match="mask"):
        continuous(observations(4), mask=mask)


def test_makers_of_projections_get_the_spec_and_a_seed_if_they_take_one() -> None:
    seen: list[Any] = []

    def with_seed(spec: Any, seed: int) -> CategoricalProjectionNetwork:
        seen.append((spec.shape, seed))
        return CategoricalProjectionNetwork(spec)

    def without(spec: Any) -> TanhNormalProjectionNetwork:
        seen.append(spec.shape)
        return TanhNormalProjectionNetwork(spec)

    ActorDistributionNetwork(
        VECTOR,
        [BoundedArraySpec((), np.int64, 0, 3), BoundedArraySpec((2,), np.float32, 0.0, 1.0)],
        fc_layer_params=(8, 8),
        seed=10,
        discrete_projection_net=with_seed,
        continuous_projection_net=without,
    )
    assert seen == [((), 12), (2,)]


def test_copy_has_weights_of_its_own_and_a_seeded_one_the_same_values() -> None:
    network = ActorDistributionNetwork(VECTOR, NESTED, fc_layer_params=(8,), seed=1)
    copied = network.copy(name="Copy")
    assert not {id(item) for item in copied.variables} & {id(item) for item in network.variables}
    for ours, theirs in zip(copied.named_variables(), network.named_variables(), strict=True):
        assert ours.path == theirs.path
        np.testing.assert_array_equal(ours.variable, theirs.variable)


def test_function_of_a_network_is_traced_once() -> None:
    network = ActorDistributionNetwork(VECTOR, BoundedArraySpec((), np.int64, 0, 3), fc_layer_params=(8,))
    network.create_variables()
    function = tf.function(lambda values, step_type: network(values, step_type=step_type)[0].logits)
    for seed in range(3):
        function(observations(4) * seed, tf.fill([4], seed))
    assert function.experimental_get_tracing_count() == 1
