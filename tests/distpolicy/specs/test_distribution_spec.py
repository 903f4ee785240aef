from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.specs.distribution_spec import (
    DistributionSpec,
    deterministic_distribution_from_spec,
    nested_distributions_from_specs,
)

SCALAR = tf.TensorSpec((), tf.float32)


def test_distribution_is_built_of_parameters_and_of_those_set_before() -> None:
    spec = DistributionSpec(tfp.distributions.Normal, {"loc": SCALAR}, sample_spec=SCALAR, scale=2.0)
    normal = spec.build_distribution(loc=[1.0, 3.0])
    np.testing.assert_array_equal(normal.mean(), [1.0, 3.0])
    np.testing.assert_array_equal(normal.stddev(), [2.0, 2.0])
    assert spec.build_distribution(loc=1.0, scale=5.0).stddev() == 5.0
    assert spec.builder is tfp.distributions.Normal
    assert (spec.input_params_spec, spec.sample_spec) == ({"loc": SCALAR}, SCALAR)
    assert "Normal" in repr(spec)


def test_deterministic_distribution_always_gives_its_tensor() -> None:
    built = deterministic_distribution_from_spec(SCALAR).build_distribution(loc=[4.0, 5.0])
    np.testing.assert_array_equal(built.sample(), [4.0, 5.0])


def test_nest_of_specs_takes_a_nest_of_parameters() -> None:
    specs = {"a": deterministic_distribution_from_spec(SCALAR), "b": [deterministic_distribution_from_spec(SCALAR)]}
    built = nested_distributions_from_specs(specs, {"a": {"loc": 1.0}, "b": [{"loc": 2.0}]})
    assert built["a"].sample() == 1.0
    assert built["b"][0].sample() == 2.0
