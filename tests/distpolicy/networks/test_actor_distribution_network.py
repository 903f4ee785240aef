from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.projection import NormalProjection, TanhNormalProjection
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
    policy = make_policy(BoundedArraySpec((), dtype, minimum, maximum), emit_log_probability=True, weights_seed=None)
    step = to_tensors(make_step(200))
    for seed in (tf.constant([1, 2]), tf.constant(row_seeds(200))):
        answer = policy.action(step, (), seed)
        assert answer.action.dtype == tf.as_dtype(dtype)
        values, counts = np.unique(answer.action, return_counts=True)
        np.testing.assert_array_equal(values, np.arange(minimum, maximum + 1))
        # The initial policy is near uniform.
        assert counts.min() > 0.5 * 200 / len(values)
        np.testing.assert_allclose(answer.info.log_probability, np.log(1 / len(values)), atol=0.1)


def test_initial_distribution_depends_little_on_the_observation() -> None:
    network = ActorDistributionNetwork(VECTOR, BoundedArraySpec((), np.int64, 0, 3), fc_layer_params=(16,))
    logits = network(observations(64))[0].logits_parameter().numpy()
    assert 0 < np.abs(logits).max() < 0.2


def test_normal_is_in_units_of_the_bounds() -> None:
    spec = BoundedArraySpec((2,), np.float32, [-1.0, 10.0], [1.0, 30.0])
    network = ActorDistributionNetwork(VECTOR, spec, fc_layer_params=(4,))
    for variable in network.variables:
        variable.assign(tf.zeros_like(variable))
    normal = network(observations(5))[0]
    np.testing.assert_allclose(normal.mean(), np.tile([0.0, 20.0], (5, 1)))
    np.testing.assert_allclose(normal.stddev(), np.tile([1.0, 10.0], (5, 1)))
    assert normal.batch_shape == (5,)
    assert normal.event_shape == (2,)
    entropy = np.sum(0.5 * np.log(2 * np.pi * np.e * np.array([1.0, 10.0]) ** 2))
    np.testing.assert_allclose(normal.entropy(), np.full(5, entropy), rtol=1e-5)


def test_initial_deviation_is_the_one_that_is_set() -> None:
    spec = BoundedArraySpec((1,), np.float32, -2.0, 2.0)
    network = ActorDistributionNetwork(
        VECTOR, spec, (4,), continuous_projection_net=lambda spec, seed: NormalProjection(spec, seed, -1.0)
    )
    np.testing.assert_allclose(network(observations(2))[0].stddev(), np.full((2, 1), 2.0 * np.exp(-1.0)), rtol=1e-5)


def test_action_without_finite_bounds_is_taken_as_it_is() -> None:
    spec = BoundedArraySpec((2,), np.float32, [-np.inf, -1.0], [np.inf, 3.0])
    network = ActorDistributionNetwork(VECTOR, spec, fc_layer_params=(4,))
    for variable in network.variables:
        variable.assign(tf.zeros_like(variable))
    normal = network(observations(1))[0]
    np.testing.assert_allclose(normal.mean(), [[0.0, 1.0]])
    np.testing.assert_allclose(normal.stddev(), [[1.0, 2.0]])


@pytest.mark.parametrize("projection", [NormalProjection, TanhNormalProjection])
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


def test_squashed_draws_lie_within_the_bounds_unclipped() -> None:
    spec = BoundedArraySpec((2,), np.float32, [-1.0, 10.0], [1.0, 30.0])
    network = ActorDistributionNetwork(VECTOR, spec, (4,), continuous_projection_net=TanhNormalProjection)
    for variable in network.variables:
        # A deviation so large that most draws lie at an end.
        variable.assign(tf.fill(variable.shape, 2.0))
    squashed = network(observations(500))[0]
    drawn = squashed.sample(seed=[1, 2]).numpy()
    assert np.all((drawn >= [-1.0, 10.0]) & (drawn <= [1.0, 30.0]))
    assert np.any(drawn[:, 1] > 29.9)
    assert squashed.mode().shape == (500, 2)
    assert np.all(np.isfinite(squashed.entropy()))


def test_entropy_of_a_squashed_normal_grows_with_its_deviation() -> None:
    spec = BoundedArraySpec((2,), np.float32, -1.0, 1.0)
    network = ActorDistributionNetwork(VECTOR, spec, (4,), continuous_projection_net=TanhNormalProjection)
    stddev = {item.path: item.variable for item in network.named_variables()}["projection/log_stddev"]
    entropies = []
    for log_stddev in (-2.0, -1.0, 0.0):
        stddev.assign([log_stddev, log_stddev])
        entropies.append(network(observations(1))[0].entropy().numpy()[0])
    assert entropies[0] < entropies[1] < entropies[2]


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
        network = ActorDistributionNetwork(VECTOR, BoundedArraySpec((), np.int64, 0, 1), (8, 8), seed=seed)
        return [variable.numpy() for variable in network.variables]

    for left, right in zip(kernels(1), kernels(1), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(kernels(1)[0], kernels(2)[0])


def test_discrete_action_of_a_shape_is_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"\(2,\)"):
        ActorDistributionNetwork(VECTOR, BoundedArraySpec((2,), np.int64, 0, 1))


def test_policy_of_a_squashed_network_and_a_time_step_of_one() -> None:
    spec = BoundedArraySpec((), np.float32, 0.0, 1.0)
    network = ActorDistributionNetwork(VECTOR, spec, (4,), continuous_projection_net=TanhNormalProjection)
    policy = ActorPolicy(ts.time_step_spec(VECTOR), spec, network)
    assert 0.0 <= float(policy.action(ts.restart(observations(1), 1), (), tf.constant([1, 2])).action[0]) <= 1.0
