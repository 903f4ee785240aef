from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.errors import SpecMismatchError
from distpolicy.specs import array_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec, is_bounded, is_continuous, is_discrete


def test_array_is_checked_for_shape_and_dtype() -> None:
    spec = ArraySpec((2, None), np.float32, "pixels")
    assert spec.check_array(np.zeros((2, 5), np.float32))
    assert not spec.check_array(np.zeros((3, 5), np.float32))
    assert not spec.check_array(np.zeros((2, 5), np.float64))
    assert not spec.check_array(np.zeros(2, np.float32))
    assert not spec.check_array([[0.0], [0.0]])
    assert ArraySpec((), np.int32).check_array(np.int32(3))
    assert not ArraySpec((), np.int32).check_array(3)


def test_array_is_checked_for_bounds_that_are_included() -> None:
    spec = BoundedArraySpec((2,), np.float32, [0.0, -1.0], 1.0)
    assert spec.check_array(np.array([0.0, -1.0], np.float32))
    assert spec.check_array(np.array([1.0, 1.0], np.float32))
    assert not spec.check_array(np.array([-0.1, 0.0], np.float32))
    assert not spec.check_array(np.array([0.0, 1.1], np.float32))
    assert not spec.check_array(np.array([0.0, np.nan], np.float32))
    assert not spec.check_array(np.array([0.0, 0.0]))


def test_infinite_and_missing_bounds_become_the_dtype_s_own() -> None:
    largest = np.finfo(np.float32).max
    for spec in (
        BoundedArraySpec((2,), np.float32),
        BoundedArraySpec((2,), np.float32, -np.inf, np.inf),
        BoundedArraySpec((2,), np.float32, np.full(2, -np.inf), np.full(2, 1e300)),
    ):
        assert np.all(spec.minimum == -largest)
        assert np.all(spec.maximum == largest)
        assert spec.minimum.dtype == np.float32
    mixed = BoundedArraySpec((2,), np.float32, [-np.inf, 0.0], [np.inf, 1.0])
    np.testing.assert_array_equal(mixed.maximum, np.array([largest, 1.0], np.float32))
    assert BoundedArraySpec((), np.uint8).maximum == 255
    assert BoundedArraySpec((), np.int64).minimum == np.iinfo(np.int64).min


@pytest.mark.parametrize(
    ("shape", "dtype", "minimum", "maximum", "match"),
    [
        ((2,), np.float32, 1.0, 0.0, "exceeds"),
        ((2,), np.float32, [0.0, 2.0], [1.0, 1.0], "exceeds"),
        ((2,), np.float32, [0.0, 0.0, 0.0], 1.0, "broadcast"),
        ((), np.float32, 0.0, [1.0, 1.0], "broadcast"),
        ((), np.uint8, -1, 5, "does not fit"),
        ((), np.int8, 0, 200, "does not fit"),
        ((), np.int32, 0, np.inf, "does not fit"),
        ((), np.float32, np.nan, 1.0, "nan"),
        ((), np.int32, 0, np.nan, "nan"),
    ],
)
def test_bounds_that_cannot_be_are_refused_and_the_spec_is_named(
    shape: tuple[int, ...], dtype: Any, minimum: Any, maximum: Any, match: str
) -> None:
    with pytest.raises(SpecMismatchError, match=rf"(?i)'camera'.*{match}"):
        BoundedArraySpec(shape, dtype, minimum, maximum, "camera")


def test_bounds_are_read_only_and_the_caller_s_stay_as_they_are() -> None:
    low = np.zeros(2, np.float32)
    spec = BoundedArraySpec((2,), np.float32, low, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        spec.minimum[0] = 5.0
    low[0] = -3.0
    assert spec.minimum[0] == 0.0


def test_specs_are_equal_whatever_their_names() -> None:
    assert ArraySpec((2,), np.float32, "a") == ArraySpec([2], "float32", "b")
    assert ArraySpec((2,), np.float32) != ArraySpec((3,), np.float32)
    assert ArraySpec((2,), np.float32) != ArraySpec((2,), np.float64)
    assert ArraySpec((2,), np.float32) != "spec"
    assert BoundedArraySpec((2,), np.float32, 0, 1) == BoundedArraySpec((2,), np.float32, [0, 0], 1.0, "b")
    assert BoundedArraySpec((2,), np.float32, 0, 1) != BoundedArraySpec((2,), np.float32, 0, [1, 2])
    assert BoundedArraySpec((2,), np.float32) != ArraySpec((2,), np.float32)
    assert ArraySpec((2,), np.float32) != BoundedArraySpec((2,), np.float32)
    with pytest.raises(TypeError, match="unhashable"):
        hash(ArraySpec((), np.int32))


def test_num_values_counts_both_ends() -> None:
    np.testing.assert_array_equal(BoundedArraySpec((), np.int64, -1, 2).num_values, 4)
    np.testing.assert_array_equal(BoundedArraySpec((2,), np.int32, 0, [1, 4]).num_values, [2, 5])
    np.testing.assert_array_equal(BoundedArraySpec((2,), np.int32, [0, 1], 4).num_values, [5, 4])
    assert BoundedArraySpec((), np.float32).num_values is None
    assert BoundedArraySpec((), np.int64, 0, 2**62).num_values == 2**62 + 1
    with pytest.raises(SpecMismatchError, match=r"'speed' has 18446744073709551616 values"):
        _ = BoundedArraySpec((), np.int64, name="speed").num_values


def test_num_values_of_a_whole_small_dtype_does_not_overflow() -> None:
    assert BoundedArraySpec((), np.uint8).num_values == 256
    assert BoundedArraySpec((), np.int8, -100, 100).num_values == 201


def test_kinds_of_specs_are_told_apart() -> None:
    assert is_bounded(BoundedArraySpec((), np.int32))
    assert not is_bounded(ArraySpec((), np.int32))
    assert is_discrete(ArraySpec((), np.uint8))
    assert not is_discrete(ArraySpec((), np.float32))
    assert is_continuous(ArraySpec((), np.float16))
    assert not is_continuous(ArraySpec((), np.int32))


def test_messages_show_shape_dtype_name_and_bounds() -> None:
    text = repr(BoundedArraySpec((2,), np.float32, 0, 1, "camera"))
    assert all(part in text for part in ("BoundedArraySpec", "(2,)", "float32", "'camera'", "minimum=0", "maximum=1"))


def test_numbers_fit_a_spec_of_their_dtype_and_lists_none() -> None:
    assert ArraySpec((), np.float64).check_array(1.0)
    assert ArraySpec((), np.bool_).check_array(True)
    assert not ArraySpec((), np.float32).check_array(1.0)
    assert not ArraySpec((1,), np.float64).check_array([1.0])


def test_spec_is_told_from_an_array() -> None:
    assert ArraySpec.from_array(np.zeros((2, 3), np.float32), "a") == ArraySpec((2, 3), np.float32)
    assert ArraySpec.from_array(np.zeros(2), "a").name == "a"
    assert ArraySpec.from_array(1.0) == ArraySpec((), np.float64)
    assert ArraySpec.from_array(np.float32(1.0)) == ArraySpec((), np.float32)
    with pytest.raises(ValueError, match="not list"):
        ArraySpec.from_array([1.0])


def test_spec_is_made_of_another() -> None:
    bounded = BoundedArraySpec((2,), np.float32, [0, 1], 5, "n")
    plain = ArraySpec.from_spec(bounded)
    assert type(plain) is ArraySpec
    assert (plain.shape, plain.dtype, plain.name) == ((2,), np.float32, "n")
    assert BoundedArraySpec.from_spec(bounded, "m") == bounded
    assert BoundedArraySpec.from_spec(bounded, "m").name == "m"
    assert BoundedArraySpec.from_spec(plain) == BoundedArraySpec((2,), np.float32)


def test_spec_is_replaced_by_a_copy() -> None:
    plain = ArraySpec((2,), np.float32, "n")
    assert plain.replace(shape=(3,)) == ArraySpec((3,), np.float32)
    assert plain.replace(dtype=np.int8).dtype == np.int8
    assert plain.replace(name="m").name == "m"
    bounded = BoundedArraySpec((2,), np.float32, [0, 1], 5, "n")
    assert bounded.replace(maximum=7) == BoundedArraySpec((2,), np.float32, [0, 1], 7)
    assert bounded.replace(shape=(4, 2)) == BoundedArraySpec((4, 2), np.float32, [0, 1], 5)
    assert bounded.replace(minimum=-1, name="m").name == "m"
    assert bounded.maximum == 5


def test_dtypes_without_bounds_are_refused() -> None:
    for dtype in (np.bool_, np.str_, np.complex64):
        with pytest.raises(TypeError, match=r"'flag': dtype .* has no bounds"):
            BoundedArraySpec((), dtype, 0, 1, "flag")


def test_outer_dimensions_are_put_before_each_shape_of_arrays() -> None:
    nest = {"a": BoundedArraySpec((2,), np.float32, [0, 1], 2, "n"), "b": [ArraySpec((), np.int32)]}
    outer = array_spec.add_outer_dims_nest(nest, (None, 3))
    assert outer == {"a": BoundedArraySpec((None, 3, 2), np.float32, [0, 1], 2), "b": [ArraySpec((None, 3), np.int32)]}
    assert outer["a"].name == "n"


SPEC = {"a": ArraySpec((2,), np.float64), "b": (BoundedArraySpec((), np.int32, 0, 3),)}


def test_nest_of_arrays_fits_its_specs() -> None:
    arrays = {"a": np.zeros(2), "b": (np.int32(3),)}
    assert array_spec.check_arrays_nest(arrays, SPEC)
    array_spec.assert_arrays_spec_nest(arrays, SPEC)


@pytest.mark.parametrize(
    ("arrays", "error", "match"),
    [
        ({"a": np.zeros(3), "b": (np.int32(3),)}, ValueError, r"array/a: expected ArraySpec.*got float64 \(3,\)"),
        ({"a": np.zeros(2), "b": (np.int32(4),)}, ValueError, "array/b/0: .*got int32"),
        ({"a": np.zeros(2), "b": (3,)}, ValueError, "array/b/0: .*got int"),
        ({"a": np.zeros(2), "b": [np.int32(3)]}, TypeError, "array/b: expected tuple, got list"),
        ({"a": np.zeros(2)}, ValueError, r"array: expected entries \['a', 'b'\], got \['a'\]"),
        ({"a": np.zeros(2), "b": ()}, ValueError, "array/b: expected entries"),
        (np.zeros(2), TypeError, "array: expected dict, got ndarray"),
    ],
)
def test_array_that_does_not_fit_is_named(arrays: Any, error: type[Exception], match: str) -> None:
    assert not array_spec.check_arrays_nest(arrays, SPEC)
    with pytest.raises(error, match=match):
        array_spec.assert_arrays_spec_nest(arrays, SPEC)
