from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.errors import SpecMismatchError
from distpolicy.specs import array_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec

DTYPES = [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint32, np.uint64, np.float16, np.float32, np.float64]
SOURCES = pytest.mark.parametrize(
    "source", [np.random.RandomState, np.random.default_rng], ids=["RandomState", "Generator"]
)


@SOURCES
@pytest.mark.parametrize("dtype", DTYPES)
def test_draws_fill_the_bounds_of_each_element_and_no_more(source: Any, dtype: Any) -> None:
    spec = BoundedArraySpec((2,), dtype, [0, 2], [9, 3])
    drawn = array_spec.sample_spec_nest(spec, source(0), (5000,))
    assert drawn.dtype == dtype
    assert drawn.shape == (5000, 2)
    np.testing.assert_allclose(drawn.min(axis=0), [0, 2], atol=0.05)
    np.testing.assert_allclose(drawn.max(axis=0), [9, 3], atol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0, dtype=np.float64), [4.5, 2.5], atol=0.15)
    assert all(spec.check_array(row) for row in drawn[:50])


@SOURCES
@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_range_of_a_dtype_is_drawn_from(source: Any, dtype: Any) -> None:
    for spec in (ArraySpec((500,), dtype), BoundedArraySpec((500,), dtype)):
        drawn = array_spec.sample_spec_nest(spec, source(1))
        assert drawn.dtype == dtype
        assert np.all(np.isfinite(drawn.astype(np.float64)))
        info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
        middle = float(info.max) / 2 + float(info.min) / 2
        assert 150 < np.sum(drawn.astype(np.float64) > middle) < 350


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.uint8])
def test_random_states_draw_as_in_tf_agents(dtype: Any) -> None:
    # Recorded from tf_agents.specs.array_spec.sample_spec_nest of TF-Agents 0.19.
    expected = {"int32": [5, 8, 9], "int64": [5, 8, 9], "float32": [3.753198, 6.482921, 0.00102937], "uint8": [5, 4, 1]}
    drawn = array_spec.sample_bounded_spec(BoundedArraySpec((3,), dtype, 0, 9), np.random.RandomState(1))
    np.testing.assert_allclose(drawn, expected[np.dtype(dtype).name], rtol=1e-5)


@SOURCES
def test_same_seed_gives_the_same_nest(source: Any) -> None:
    nest = {
        "a": BoundedArraySpec((2,), np.int64, 0, 10**6),
        "b": (ArraySpec((), np.float32), ArraySpec((3,), np.bool_)),
    }
    one, same, other = (array_spec.sample_spec_nest(nest, source(seed), (4,)) for seed in (0, 0, 1))
    for left, right in ((one["a"], same["a"]), (one["b"][0], same["b"][0]), (one["b"][1], same["b"][1])):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one["a"], other["a"])
    assert array_spec.check_arrays_nest(one, array_spec.add_outer_dims_nest(nest, (4,)))


@settings(max_examples=60)
@given(st.data())
def test_draws_lie_within_any_integer_bounds(data: Any) -> None:
    dtype = data.draw(st.sampled_from([np.int8, np.int32, np.int64, np.uint64]))
    info = np.iinfo(dtype)
    ends = st.integers(int(info.min), int(info.max))
    low, high = np.sort(np.array(data.draw(st.lists(st.tuples(ends, ends), min_size=1, max_size=3)), dtype), axis=1).T
    source = data.draw(st.sampled_from([np.random.RandomState, np.random.default_rng]))
    spec = BoundedArraySpec(low.shape, dtype, low, high)
    assert array_spec.check_arrays_nest(
        array_spec.sample_spec_nest(spec, source(0), (3,)), array_spec.add_outer_dims_nest(spec, (3,))
    )


def test_scalars_are_arrays_too() -> None:
    for spec in (BoundedArraySpec((), np.float32, 0, 1), BoundedArraySpec((), np.int32, 0, 1)):
        assert isinstance(array_spec.sample_bounded_spec(spec, np.random.RandomState(0)), np.ndarray)


def test_what_cannot_be_drawn_is_refused() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(SpecMismatchError, match=r"'camera'.*\(None,\).*give all its dimensions"):
        array_spec.sample_spec_nest(ArraySpec((None,), np.float32, "camera"), generator)
    with pytest.raises(TypeError, match="takes array specs, not int"):
        array_spec.sample_spec_nest({"a": 3}, generator)
    with pytest.raises(TypeError, match="'text'"):
        array_spec.sample_spec_nest(ArraySpec((), np.str_, "text"), generator)
