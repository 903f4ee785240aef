"""FloatLeavesNormalizer normalises floats by their statistics and leaves everything else alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.utils.float_leaves_normalizer import FloatLeavesNormalizer
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer
from distpolicy.utils.variables.module_variables import named_variables

SPEC = {
    "camera": BoundedArraySpec((2, 2, 1), np.uint8, 0, 255),
    "pose": (ArraySpec((3,), np.float32), ArraySpec((), np.bool_)),
    "room": BoundedArraySpec((), np.int64, 0, 4),
    "speed": ArraySpec((), np.float64),
}


def observations(*outer: int, seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {
        "camera": tf.constant(draw.integers(0, 256, (*outer, 2, 2, 1), np.uint8)),
        "pose": (tf.constant(draw.normal(4.0, 3.0, (*outer, 3)), tf.float32), tf.constant(draw.random(outer) < 0.5)),
        "room": tf.constant(draw.integers(0, 5, outer)),
        "speed": tf.constant(draw.normal(-9.0, 0.5, outer)),
    }


def test_floats_are_normalised_and_the_rest_stays_as_it_is() -> None:
    normalizer = FloatLeavesNormalizer(SPEC, clip_value=10.0, variance_epsilon=1e-8)
    given = observations(40, 5)
    normalizer.update(given)
    found = normalizer.normalize(given)
    for leaf in (found["pose"][0], found["speed"]):
        np.testing.assert_allclose(np.mean(leaf, axis=(0, 1)), 0.0, atol=1e-5)
        np.testing.assert_allclose(np.std(leaf, axis=(0, 1)), 1.0, rtol=1e-5)
    assert found["camera"] is given["camera"]
    assert found["pose"][1] is given["pose"][1]
    assert found["room"] is given["room"]
    assert [leaf.dtype for leaf in tf.nest.flatten(found)] == [leaf.dtype for leaf in tf.nest.flatten(given)]


def test_statistics_are_those_of_a_normalizer_of_the_floats_alone() -> None:
    normalizer = FloatLeavesNormalizer(SPEC)
    plain = StreamingTensorNormalizer([SPEC["pose"][0], SPEC["speed"]])
    for seed in range(2):
        given, weights = observations(6, 2, seed=seed), tf.constant([[1.0, 0.0]] * 6)
        normalizer.update(given, weights=weights)
        plain.update([given["pose"][0], given["speed"]], weights=weights)
    assert len(normalizer.variables) == 6
    for mine, its in zip(normalizer.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_one_leaf_of_floats_has_the_variables_that_it_has_alone() -> None:
    alone = ArraySpec((3,), np.float32)
    expected = [item.path for item in named_variables(StreamingTensorNormalizer(alone))]
    for spec in (alone, {"camera": SPEC["camera"], "pose": alone}):
        assert [item.path for item in named_variables(FloatLeavesNormalizer(spec))] == expected


@pytest.mark.parametrize("spec", [SPEC["camera"], (SPEC["camera"], SPEC["room"])])
def test_without_floats_nothing_changes(spec: Any) -> None:
    normalizer = FloatLeavesNormalizer(spec)
    given = tf.nest.map_structure(lambda leaf: tf.ones((4, *leaf.shape), leaf.dtype), spec)
    normalizer.update(given)
    assert all(
        mine is its for mine, its in zip(*map(tf.nest.flatten, (normalizer.normalize(given), given)), strict=True)
    )
    assert not normalizer.variables


def test_another_nest_is_an_error() -> None:
    normalizer = FloatLeavesNormalizer(SPEC)
    wrong = {**observations(2), "extra": tf.zeros(2)}
    for call in (normalizer.update, normalizer.normalize):
        with pytest.raises(ValueError, match=r"differs from the normaliser's spec"):
            call(wrong)


def test_a_copy_has_its_own_statistics() -> None:
    normalizer = FloatLeavesNormalizer(SPEC, clip_value=0.5)
    normalizer.update(observations(9))
    copy = normalizer.copy()
    assert tf.nest.map_structure(lambda spec: spec.shape, copy.tensor_spec) == tf.nest.map_structure(
        lambda spec: spec.shape, normalizer.tensor_spec
    )
    given = observations(4, seed=1)
    expected = normalizer.normalize(given)
    normalizer.update(observations(9, seed=2))
    for mine, its in zip(tf.nest.flatten(copy.normalize(given)), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_updates_and_results_inside_a_function_are_the_eager_ones(jit_compile: bool) -> None:
    eager, compiled = FloatLeavesNormalizer(SPEC), FloatLeavesNormalizer(SPEC)

    @tf.function(jit_compile=jit_compile)
    def run(observation: Any) -> Any:
        compiled.update(observation)
        return compiled.normalize(observation)

    given = observations(5)
    eager.update(given)
    for left, right in zip(tf.nest.flatten(run(given)), tf.nest.flatten(eager.normalize(given)), strict=True):
        np.testing.assert_allclose(np.float64(left), np.float64(right), rtol=1e-5, atol=1e-6)
