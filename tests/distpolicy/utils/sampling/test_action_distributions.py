from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.utils import common

SPEC = {"a": tf.TensorSpec((), tf.float32), "b": (tf.TensorSpec((2, 3), tf.float32), tf.TensorSpec((), tf.int32))}


@pytest.mark.parametrize("outer", [(), (4,), (4, 5)])
def test_parts_of_an_action_are_independent(outer: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    tfd = tfp.distributions
    loc, matrix = generator.normal(size=outer), generator.normal(size=(*outer, 2, 3))
    logits = generator.normal(size=(*outer, 4))
    parts = {"a": tfd.Normal(loc, 2.0), "b": (tfd.Independent(tfd.Normal(matrix, 1.0), 2), tfd.Categorical(logits))}
    actions = tf.nest.map_structure(lambda part: part.sample(seed=1), parts)
    expected = sum(part.log_prob(action) for part, action in zip(*map(tf.nest.flatten, (parts, actions)), strict=True))
    result = common.log_probability(parts, actions, SPEC)
    assert result.shape == outer
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    entropy = parts["a"].entropy() + parts["b"][0].entropy() + parts["b"][1].entropy()
    np.testing.assert_allclose(common.entropy(parts, SPEC), entropy, rtol=1e-6)
    # The same with every element as a batch dimension of its own.
    loose = {**parts, "b": (tfd.Normal(matrix, 1.0), parts["b"][1])}
    np.testing.assert_allclose(common.log_probability(loose, actions, SPEC), expected, rtol=1e-6)
    np.testing.assert_allclose(common.entropy(loose, SPEC), entropy, rtol=1e-6)
    np.testing.assert_allclose(common.entropy(loose, SPEC, outer_rank=len(outer)), entropy, rtol=1e-6)
