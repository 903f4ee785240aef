from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.distributions.utils import SquashToSpecNormal
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork, scale_to_spec, tanh_squash_to_spec
from distpolicy.specs.tensor_spec import BoundedTensorSpec

BOX = BoundedTensorSpec((2,), tf.float32, [-1.0, 10.0], [1.0, 30.0])


def encodings(*outer: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(*outer, 5)).astype(np.float32))


@pytest.mark.parametrize("projection", [NormalProjectionNetwork, TanhNormalProjectionNetwork])
@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 3)])
def test_batch_and_event_shapes(projection: Any, outer: tuple[int, ...], shape: tuple[int, ...]) -> None:
    spec = BoundedTensorSpec(shape, tf.float32, -2.0, 5.0)
    distribution, state = projection(spec)(encodings(*outer), len(outer))
    assert state == ()
    assert distribution.batch_shape == outer
    assert distribution.event_shape == shape
    drawn = distribution.sample(seed=[1, 2])
    assert drawn.shape == (*outer, *shape)
    assert distribution.log_prob(drawn).shape == outer
    assert distribution.mode().shape == (*outer, *shape)


def test_means_are_squashed_into_the_bounds_and_deviations_are_softplus_of_a_bias() -> None:
    network = NormalProjectionNetwork(BOX, std_bias_initializer_value=0.5)
    distribution, _ = network(encodings(4), 1)
    assert isinstance(distribution, tfp.distributions.MultivariateNormalDiag)
    kernel, bias = (weight.numpy() for weight in network.layers[0].weights)
    raw = encodings(4).numpy() @ kernel + bias
    np.testing.assert_allclose(distribution.mean(), [0.0, 20.0] + [1.0, 10.0] * np.tanh(raw), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(distribution.stddev(), np.full((4, 2), np.log1p(np.exp(0.5))), rtol=1e-6)


def test_deviation_may_depend_on_the_encoding() -> None:
    network = NormalProjectionNetwork(BOX, state_dependent_std=True, std_transform=tf.exp, seed=3)
    stddev = network(encodings(4), 1)[0].stddev().numpy()
    assert len(np.unique(stddev[:, 0])) == 4
    means, deviations = (layer.kernel.numpy() for layer in network.layers)
    assert not np.array_equal(means, deviations)


def test_scaled_distribution_is_squashed() -> None:
    network = NormalProjectionNetwork(BOX, scale_distribution=True)
    distribution, _ = network(encodings(4), 1)
    kernel, bias = (weight.numpy() for weight in network.layers[0].weights)
    # Once, by the distribution, and not by the means' transform before.
    raw = encodings(4).numpy() @ kernel + bias
    np.testing.assert_allclose(distribution.mode(), [0.0, 20.0] + [1.0, 10.0] * np.tanh(raw), rtol=1e-5, atol=1e-7)
    assert isinstance(distribution, SquashToSpecNormal)
    assert isinstance(distribution.input_distribution, tfp.distributions.MultivariateNormalDiag)


def test_transforms_that_are_none_leave_what_is_learned() -> None:
    network = NormalProjectionNetwork(
        BOX, mean_transform=None, std_transform=None, std_bias_initializer_value=2.0, init_means_output_factor=1e-12
    )
    distribution, _ = network(encodings(3), 1)
    np.testing.assert_allclose(distribution.mean(), np.zeros((3, 2)), atol=1e-4)
    np.testing.assert_allclose(distribution.stddev(), np.full((3, 2), 2.0))


def test_tanh_normal_takes_means_and_deviations_from_one_layer() -> None:
    network = TanhNormalProjectionNetwork(BOX)
    distribution, _ = network(encodings(4), 1)
    kernel, bias = (weight.numpy() for weight in network.layers[0].weights)
    raw = encodings(4).numpy() @ kernel + bias
    np.testing.assert_allclose(distribution.mode(), [0.0, 20.0] + [1.0, 10.0] * np.tanh(raw[:, :2]), rtol=1e-5)
    np.testing.assert_allclose(distribution.input_distribution.stddev(), np.exp(raw[:, 2:]), rtol=1e-5)


@pytest.mark.parametrize("projection", [NormalProjectionNetwork, TanhNormalProjectionNetwork])
def test_mask_is_not_implemented(projection: Any) -> None:
    with pytest.raises(NotImplementedError, match="mask"):
        projection(BOX)(encodings(4), 1, mask=tf.ones([4, 2], tf.bool))


def test_specs_that_cannot_be_acted_in_are_refused() -> None:
    open_box = BoundedTensorSpec((2,), tf.float32, -np.inf, np.inf)
    with pytest.raises(ValueError, match="finite bounds"):
        TanhNormalProjectionNetwork(open_box)
    with pytest.raises(ValueError, match="finite bounds"):
        NormalProjectionNetwork(open_box, scale_distribution=True)
    with pytest.raises(ValueError, match="floats"):
        NormalProjectionNetwork(BoundedTensorSpec((), tf.int32, 0, 1))


def test_transforms_leave_elements_without_finite_bounds_as_they_are() -> None:
    spec = BoundedTensorSpec((2,), tf.float32, [-np.inf, -1.0], [np.inf, 3.0])
    values = tf.constant([[4.0, 0.5], [-7.0, 0.0]])
    np.testing.assert_allclose(tanh_squash_to_spec(values, spec), [[4.0, 1.0 + 2.0 * np.tanh(0.5)], [-7.0, 1.0]])
    np.testing.assert_allclose(scale_to_spec(values, spec), [[4.0, 2.0], [-7.0, 1.0]])


@pytest.mark.parametrize("projection", [NormalProjectionNetwork, TanhNormalProjectionNetwork])
def test_seed_decides_the_initial_weights(projection: Any) -> None:
    def mode(seed: int) -> np.ndarray:
        return projection(BOX, seed=seed)(encodings(4), 1)[0].mode().numpy()

    np.testing.assert_array_equal(mode(1), mode(1))
    assert not np.array_equal(mode(1), mode(2))


def test_output_spec_builds_the_distribution_again() -> None:
    network = NormalProjectionNetwork(BOX)
    distribution, _ = network(encodings(4), 1)
    spec = network.output_spec
    assert spec.sample_spec == BOX
    assert set(spec.input_params_spec) == {"loc", "scale"}
    again = spec.build_distribution(loc=distribution.mean(), scale=distribution.stddev())
    np.testing.assert_array_equal(again.log_prob(BOX.maximum), distribution.log_prob(BOX.maximum))


def test_float64_actions_have_float64_draws() -> None:
    spec = BoundedTensorSpec((2,), tf.float64, -1.0, 1.0)
    assert NormalProjectionNetwork(spec)(encodings(4), 1)[0].dtype == tf.float64
    assert TanhNormalProjectionNetwork(spec)(encodings(4), 1)[0].dtype == tf.float64
