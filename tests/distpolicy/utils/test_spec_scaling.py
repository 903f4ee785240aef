from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import BoundedTensorSpec
from distpolicy.utils import common

SPEC = BoundedTensorSpec((2,), tf.float32, [0, 1], [2, 5], "gas")


def test_value_is_clipped_to_the_bounds_of_each_element() -> None:
    value = [[-1.0, 9.0], [1.5, 3.0]]
    for spec in (SPEC, BoundedArraySpec((2,), np.float32, [0, 1], [2, 5])):
        np.testing.assert_array_equal(common.clip_to_spec(np.array(value, np.float32), spec), [[0, 5], [1.5, 3]])
    clipped = common.clip_to_spec(tf.constant([-1, 9]), BoundedTensorSpec((), tf.int32, 0, 3))
    np.testing.assert_array_equal(clipped, [0, 3])
    assert clipped.dtype == tf.int32


def test_centre_and_half_width_of_the_bounds() -> None:
    means, magnitudes = common.spec_means_and_magnitudes(SPEC)
    np.testing.assert_array_equal(means, [1, 3])
    np.testing.assert_array_equal(magnitudes, [1, 2])
    assert means.dtype == magnitudes.dtype == np.float32
    integers = common.spec_means_and_magnitudes(BoundedTensorSpec((), tf.int32, 0, 3))
    assert [(part.shape, part.dtype, float(part)) for part in integers] == [((), np.float32, 1.5)] * 2
    # The width of the whole range would be no finite number.
    means, magnitudes = common.spec_means_and_magnitudes(BoundedArraySpec((), np.float64))
    assert means == 0
    assert magnitudes == np.finfo(np.float64).max


def test_units_are_scaled_and_shaped_to_the_bounds() -> None:
    np.testing.assert_allclose(common.scale_to_spec(tf.constant([[-1.0, 1.0], [0.0, 0.5]]), SPEC), [[0, 5], [1, 4]])
    square = common.scale_to_spec(tf.constant([[-1.0, 1.0, 0.0, 0.5]]), BoundedTensorSpec((2, 2), tf.float64, 0, 4))
    np.testing.assert_allclose(square, [[[0, 4], [2, 3]]])
    assert square.dtype == tf.float64
    scalar = BoundedTensorSpec((), tf.float32, 0, 4)
    np.testing.assert_allclose(common.scale_to_spec(tf.constant([[-1.0], [1.0]]), scalar), [0, 4])


def test_bounds_that_are_not_finite_are_refused() -> None:
    spec = BoundedTensorSpec((), tf.float32, -np.inf, np.inf, "gas")
    for call in (common.spec_means_and_magnitudes, lambda item: common.scale_to_spec(tf.zeros([1, 1]), item)):
        with pytest.raises(ConfigError, match="'gas' needs finite bounds"):
            call(spec)
