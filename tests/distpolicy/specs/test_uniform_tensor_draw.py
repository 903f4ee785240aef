from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.specs import tensor_spec
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.specs.uniform_tensor_draw import multiply_high

DTYPES = [tf.int8, tf.uint8, tf.int32, tf.int64, tf.uint64, tf.float16, tf.bfloat16, tf.float32, tf.float64]
ROWS = tf.constant(np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (3000, 2)), tf.int32)
SEEDS = pytest.mark.parametrize(
    "seed", [None, 3, np.array([1, 2], np.int32), ROWS], ids=["none", "int", "pair", "rows"]
)


@SEEDS
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_draws_fill_the_bounds_of_each_element_and_no_more(seed: Any, dtype: tf.DType) -> None:
    drawn = tensor_spec.sample_bounded_spec(BoundedTensorSpec((2,), dtype, [0, 2], [9, 3]), seed, [3000])
    assert drawn.dtype == dtype
    values = drawn.numpy().astype(np.float64)
    assert values.shape == (3000, 2)
    assert np.all((values >= [0, 2]) & (values <= [9, 3]))
    np.testing.assert_allclose(values.min(axis=0), [0, 2], atol=0.05)
    np.testing.assert_allclose(values.max(axis=0), [9, 3], atol=0.05)
    np.testing.assert_allclose(values.mean(axis=0), [4.5, 2.5], atol=0.25)


@SEEDS
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_unbounded_specs_are_drawn_from_both_halves_of_their_range(seed: Any, dtype: tf.DType) -> None:
    values = tensor_spec.sample_spec_nest(TensorSpec((), dtype), seed, [3000]).numpy().astype(np.float64)
    assert np.all(np.isfinite(values))
    middle = float(dtype.max) / 2 + float(dtype.min) / 2
    assert 1300 < np.sum(values > middle) < 1700
    # Hardly any number comes twice, but for dtypes that have few.
    assert len(np.unique(values)) > {1: 200, 2: 900}.get(dtype.size, 2990)


@pytest.mark.parametrize("count", [3 * 2**62, 2**63 + 1, 2**64 - 1])
def test_ranges_of_nearly_64_bits_are_drawn_evenly(count: int) -> None:
    spec = BoundedTensorSpec((), tf.uint64, 0, np.uint64(count - 1))
    values = tensor_spec.sample_bounded_spec(spec, 5, [4000]).numpy()
    assert np.all(values <= count - 1)
    quarters = np.histogram(values.astype(np.float64), 4, (0.0, float(count)))[0]
    np.testing.assert_allclose(quarters, 1000, atol=150)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1, max_size=5))
def test_upper_half_of_a_product_is_exact(pairs: list[tuple[int, int]]) -> None:
    left, right = np.array(pairs, np.uint64).T
    product = multiply_high(tf.constant(left), tf.constant(right)).numpy()
    assert [int(number) for number in product] == [one * other >> 64 for one, other in pairs]


def test_same_seed_gives_the_same_draw_and_leaves_differ() -> None:
    nest = {"a": TensorSpec((4,), tf.int64), "b": (TensorSpec((4,), tf.int64), TensorSpec((9,), tf.bool))}
    for seed, other in ((3, 4), (np.array([1, 2], np.int32), np.array([2, 1], np.int32)), (ROWS[:5], ROWS[5:10])):
        one, same, different = (tensor_spec.sample_spec_nest(nest, item, (5,)) for item in (seed, seed, other))
        tf.nest.map_structure(np.testing.assert_array_equal, one, same)
        assert not np.any(one["a"] == one["b"][0])
        assert not np.any(one["a"] == different["a"])
        assert one["b"][1].shape == (5, 9)
        assert 5 < np.sum(one["b"][1]) < 40


def test_draws_without_a_seed_follow_the_global_one_and_differ() -> None:
    spec = TensorSpec((4,), tf.int64)
    tf.random.set_seed(0)
    one, two = tensor_spec.sample_spec_nest(spec), tensor_spec.sample_spec_nest(spec)
    tf.random.set_seed(0)
    np.testing.assert_array_equal(tensor_spec.sample_spec_nest(spec), one)
    assert not np.any(one == two)


@pytest.mark.parametrize("dtype", [tf.int64, tf.float32], ids=lambda dtype: dtype.name)
def test_what_a_row_draws_depends_on_its_own_seed_alone(dtype: tf.DType) -> None:
    spec = TensorSpec((2, 3), dtype)
    all_rows = tensor_spec.sample_spec_nest(spec, ROWS[:6], (6,)).numpy()
    order = [4, 1, 5]
    np.testing.assert_array_equal(tensor_spec.sample_spec_nest(spec, tf.gather(ROWS, order), (3,)), all_rows[order])
    assert len(np.unique(all_rows)) == all_rows.size
    # Several outer dimensions: rows are those of the first.
    deep = tensor_spec.sample_spec_nest(spec, ROWS[:6], (6, 2)).numpy()
    assert deep.shape == (6, 2, 2, 3)
    np.testing.assert_array_equal(tensor_spec.sample_spec_nest(spec, ROWS[3:4], (1, 2))[0], deep[3])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_functions_draw_the_same_and_are_traced_once(jit_compile: bool) -> None:
    nest = (TensorSpec((2,), tf.int64), BoundedTensorSpec((), tf.float32, 0, 1))
    draw = tf.function(lambda seed: tensor_spec.sample_spec_nest(nest, seed, (3,)), jit_compile=jit_compile)
    for start in (0, 3, 6):
        seed = ROWS[start : start + 3]
        tf.nest.map_structure(np.testing.assert_array_equal, draw(seed), tensor_spec.sample_spec_nest(nest, seed, (3,)))
    assert draw.experimental_get_tracing_count() == 1


def test_outer_dimensions_may_be_a_tensor() -> None:
    draw = tf.function(
        lambda seed, size: tensor_spec.sample_spec_nest(
            TensorSpec((2,), tf.int32), seed, tf.reshape(size, [size.shape.num_elements()])
        )
    )
    concrete = draw.get_concrete_function(tf.TensorSpec((None, 2), tf.int32), tf.TensorSpec((), tf.int32))
    np.testing.assert_array_equal(
        concrete(ROWS[:7], tf.constant(7)), tensor_spec.sample_spec_nest(TensorSpec((2,), tf.int32), ROWS[:7], [7])
    )
    assert tensor_spec.sample_spec_nest(TensorSpec((2,), tf.int32), 0, tf.constant([4, 3])).shape == (4, 3, 2)
    with pytest.raises(ValueError, match="outer_dims after the first must be known"):
        draw.get_concrete_function(tf.TensorSpec((None, 2), tf.int32), tf.TensorSpec((2,), tf.int32))
    assert tensor_spec.sample_bounded_spec(BoundedTensorSpec((2,), tf.int32, 0, 1)).shape == (2,)


def test_draws_are_restricted_to_a_minimum_and_a_maximum() -> None:
    nest = {"a": TensorSpec((50,), tf.float32), "b": BoundedTensorSpec((50,), tf.int32, 6, 100)}
    drawn = tensor_spec.sample_spec_nest(nest, 0, minimum=5, maximum=7)
    assert np.all((drawn["a"] >= 5) & (drawn["a"] <= 7))
    assert set(drawn["b"].numpy()) == {6, 7}
    with pytest.raises(ValueError, match=r"'far'.*exceeds the maximum"):
        tensor_spec.sample_spec_nest(BoundedTensorSpec((), tf.int32, 8, 9, "far"), 0, maximum=7)


def test_what_cannot_be_drawn_is_refused() -> None:
    for wrong in (3, tf.SparseTensorSpec((2,), tf.float32)):
        with pytest.raises(TypeError, match="takes tensor specs"):
            tensor_spec.sample_spec_nest([wrong])
    with pytest.raises(TypeError, match="'text': dtype string"):
        tensor_spec.sample_spec_nest(TensorSpec((), tf.string, "text"))
    with pytest.raises(ValueError, match=r"'open'.*give all its dimensions"):
        tensor_spec.sample_spec_nest(TensorSpec((None,), tf.float32, "open"))
