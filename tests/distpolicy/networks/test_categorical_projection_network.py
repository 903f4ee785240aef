from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.draws import sample
from distpolicy.networks.categorical_projection_network import CategoricalProjectionNetwork
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec


def encodings(*outer: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(*outer, 5)).astype(np.float32))


def spread(network: CategoricalProjectionNetwork) -> CategoricalProjectionNetwork:
    """Weights under which the actions' probabilities differ."""
    network(encodings(1), 1)
    generator = np.random.default_rng(1)
    for weight in network.layers[0].weights:
        weight.assign(generator.normal(size=weight.shape).astype(np.float32))
    return network


def test_scalar_action_is_a_plain_categorical_over_the_layer_s_logits() -> None:
    network = CategoricalProjectionNetwork(BoundedTensorSpec((), tf.int32, 0, 3))
    distribution, state = network(encodings(4), 1)
    assert state == ()
    assert type(distribution) is tfp.distributions.Categorical
    assert distribution.dtype == tf.int32
    kernel, bias = (weight.numpy() for weight in network.layers[0].weights)
    np.testing.assert_allclose(distribution.logits, encodings(4).numpy() @ kernel + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
@pytest.mark.parametrize("minimum", [0, 5])
def test_batch_and_event_shapes(outer: tuple[int, ...], shape: tuple[int, ...], minimum: int) -> None:
    network = CategoricalProjectionNetwork(BoundedTensorSpec(shape, tf.int64, minimum, minimum + 2))
    distribution, _ = network(encodings(*outer), len(outer))
    assert distribution.batch_shape == outer
    assert distribution.event_shape == shape
    for drawn in (distribution.sample(seed=[1, 2]), distribution.mode()):
        assert drawn.shape == (*outer, *shape)
        assert drawn.dtype == tf.int64
        assert np.all((drawn >= minimum) & (drawn <= minimum + 2))
    assert distribution.log_prob(distribution.mode()).shape == outer
    assert distribution.entropy().shape == outer


def test_elements_may_have_unequal_bounds(row_seeds: Any) -> None:
    minimum, maximum = np.array([0, -2, 3]), np.array([3, -1, 3])
    network = spread(CategoricalProjectionNetwork(BoundedTensorSpec((3,), tf.int32, minimum, maximum)))
    num = 400
    distribution, _ = network(tf.zeros([num, 5]), 1)
    drawn = sample(distribution, tf.constant(row_seeds(num))).numpy()
    for element in range(3):
        values = np.unique(drawn[:, element])
        np.testing.assert_array_equal(values, np.arange(minimum[element], maximum[element] + 1))
    # By hand: the elements' own logits, without what pads them.
    logits = network.layers[0].bias.numpy().reshape(3, 4).astype(np.float64)
    shares = [np.exp(row[:count]) / np.exp(row[:count]).sum() for row, count in zip(logits, [4, 2, 1], strict=True)]
    expected = [np.log(np.prod([share[k] for share, k in zip(shares, row - minimum, strict=True)])) for row in drawn]
    np.testing.assert_allclose(distribution.log_prob(drawn), expected, rtol=1e-4, atol=1e-5)
    entropy = -sum(np.sum(share * np.log(share)) for share in shares)
    np.testing.assert_allclose(distribution.entropy(), np.full(num, entropy), rtol=1e-4)
    np.testing.assert_array_equal(distribution.mode()[0], minimum + [np.argmax(share) for share in shares])
    gradient_free = distribution.log_prob(np.tile([0, -2, 3], (num, 1)).astype(np.int32))
    assert np.all(np.isfinite(gradient_free))


@pytest.mark.parametrize("minimum", [0, 7])
@pytest.mark.parametrize("kind", [tf.bool, tf.int32, tf.float32])
def test_masked_actions_are_never_drawn(minimum: int, kind: tf.DType, row_seeds: Any) -> None:
    network = spread(CategoricalProjectionNetwork(BoundedTensorSpec((), tf.int32, minimum, minimum + 2)))
    mask = np.tile([[1, 0, 1], [0, 1, 0]], (100, 1))
    distribution, _ = network(encodings(200), 1, mask=tf.cast(mask, kind))
    for drawn in (distribution.sample(seed=[1, 2]), sample(distribution, tf.constant(row_seeds(200)))):
        assert np.all(np.take_along_axis(mask, drawn.numpy()[:, np.newaxis] - minimum, axis=1))
        assert set(drawn.numpy()[::2]) == {minimum, minimum + 2}
    assert np.all(np.take_along_axis(mask, distribution.mode().numpy()[:, np.newaxis] - minimum, axis=1))
    kernel, bias = (weight.numpy() for weight in network.layers[0].weights)
    logits = np.where(mask, encodings(200).numpy() @ kernel + bias, -np.inf)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    first_allowed = np.argmax(mask, axis=1)
    np.testing.assert_allclose(
        distribution.log_prob(first_allowed.astype(np.int32) + minimum),
        np.log(np.take_along_axis(shares, first_allowed[:, np.newaxis], axis=1))[:, 0],
        rtol=1e-4,
        atol=1e-5,
    )


def test_mask_is_for_every_element_or_for_each() -> None:
    spec = BoundedTensorSpec((2,), tf.int32, 0, 2)
    network = spread(CategoricalProjectionNetwork(spec))
    same, _ = network(encodings(4), 1, mask=tf.constant([[False, True, False]] * 4))
    np.testing.assert_array_equal(same.mode(), np.ones((4, 2)))
    each, _ = network(encodings(4), 1, mask=tf.constant([[[True, False, False], [False, False, True]]] * 4))
    np.testing.assert_array_equal(each.mode(), np.tile([0, 2], (4, 1)))


def test_mask_and_unequal_bounds_hold_both() -> None:
    spec = BoundedTensorSpec((2,), tf.int32, 0, [2, 1])
    network = spread(CategoricalProjectionNetwork(spec))
    distribution, _ = network(encodings(4), 1, mask=tf.constant([[False, True, True]] * 4))
    drawn = distribution.sample(300, seed=[1, 2]).numpy()
    assert set(drawn[..., 0].ravel()) == {1, 2}
    assert set(drawn[..., 1].ravel()) == {1}


def test_seed_and_scale_decide_the_initial_weights() -> None:
    spec = BoundedTensorSpec((), tf.int32, 0, 3)

    def logits(**arguments: Any) -> np.ndarray:
        return CategoricalProjectionNetwork(spec, **arguments)(encodings(50), 1)[0].logits.numpy()

    np.testing.assert_array_equal(logits(seed=1), logits(seed=1))
    assert not np.array_equal(logits(seed=1), logits(seed=2))
    np.testing.assert_allclose(logits(seed=1, logits_init_output_factor=10.0), 10.0 * logits(seed=1), rtol=1e-4)


@pytest.mark.parametrize("spec", [BoundedTensorSpec((), tf.float32, 0, 1), TensorSpec((), tf.int32)])
def test_specs_without_a_number_of_actions_are_refused(spec: Any) -> None:
    with pytest.raises(ValueError, match="bounded spec of integers"):
        CategoricalProjectionNetwork(spec)


def test_output_spec_builds_the_distribution_again() -> None:
    network = spread(CategoricalProjectionNetwork(BoundedTensorSpec((2,), tf.int32, 1, 3)))
    distribution, _ = network(encodings(4), 1)
    assert network.output_spec.input_params_spec["logits"].shape == (2, 3)
    again = network.output_spec.build_distribution(logits=distribution.distribution.logits)
    np.testing.assert_array_equal(again.mode(), distribution.mode())


def test_masks_work_in_compiled_functions() -> None:
    network = spread(CategoricalProjectionNetwork(BoundedTensorSpec((), tf.int32, 2, 4)))
    mask = tf.constant([[True, False, False]] * 4)
    for jit_compile in (False, True):
        compiled = tf.function(lambda x, m: network(x, 1, mask=m)[0].mode(), jit_compile=jit_compile)
        np.testing.assert_array_equal(compiled(encodings(4), mask), np.full(4, 2))
