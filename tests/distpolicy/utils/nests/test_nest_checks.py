from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils import nest_utils

SPEC = {"a": tf.TensorSpec((), tf.int32), "b": [tf.TensorSpec((2,), tf.float32)]}
KINDS = pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])


def nest(kind: Any, *outer: int, **changes: Any) -> dict[str, Any]:
    made = {"a": np.zeros(outer, np.int32), "b": [np.zeros((*outer, 2), np.float32)], **changes}
    return tf.nest.map_structure(kind, made)


@pytest.mark.parametrize(
    ("one", "other", "error", "match"),
    [
        ({"a": 1}, {"b": 1}, ValueError, r"at the top: got a dict with keys \['a'\], expected .* \['b'\]"),
        ({"a": (1, 2)}, {"a": [1, 2]}, TypeError, "at /a: got a tuple of length 2, expected a list of length 2"),
        ({"a": 1}, {"a": [1]}, ValueError, "at /a: got a leaf, expected a list"),
        ([(1, [2])], [(1, [2, 3])], ValueError, "at /0/1: got a list of length 1, expected a list of length 2"),
        (PolicyStep(1, 2, 3), (1, 2, 3), TypeError, "at the top: got a PolicyStep.*expected a tuple"),
        (PolicyStep(1, (), {"x": 1}), PolicyStep(1, (), {}), ValueError, "at /info"),
    ],
)
def test_first_difference_of_structures_is_named(one: Any, other: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^observation: {match}"):
        nest_utils.assert_same_structure(one, other, message="observation")


def test_alike_structures_pass() -> None:
    nest_utils.assert_same_structure({"a": [1, (2,)], "b": ()}, {"a": [3, (4,)], "b": ()})
    nest_utils.assert_same_structure({"a": (1, 2)}, {"a": [1, 2]}, check_types=False)
    module = tf.Module()
    module.nest = {"a": [1, {"b": 2}]}
    nest_utils.assert_same_structure(module.nest, {"a": [1, {"b": 2}]})


def test_shallow_nest_may_end_where_the_other_goes_on() -> None:
    nest_utils.assert_same_structure({"a": 1, "b": [2]}, {"a": {"c": 1}, "b": [2]}, allow_shallow_nest1=True)
    with pytest.raises(ValueError, match="/a"):
        nest_utils.assert_same_structure({"a": [1]}, {"a": [1, 2]}, allow_shallow_nest1=True)
    with pytest.raises(TypeError, match="/a"):
        nest_utils.assert_same_structure({"a": [1]}, {"a": (1,)}, allow_shallow_nest1=True)
    with pytest.raises((ValueError, TypeError), match="/a"):
        nest_utils.assert_same_structure({"a": [1]}, {"a": 1}, allow_shallow_nest1=True)


@KINDS
@pytest.mark.parametrize("outer", [(), (4,), (4, 5)])
def test_number_of_outer_dimensions_is_that_of_all_leaves(kind: Any, outer: tuple[int, ...]) -> None:
    assert nest_utils.get_outer_rank(nest(kind, *outer), SPEC) == len(outer)
    shape = nest_utils.get_outer_shape(nest(kind, *outer), SPEC)
    assert shape.dtype == tf.int32
    np.testing.assert_array_equal(shape, outer)


@KINDS
def test_leaf_with_other_outer_dimensions_is_named(kind: Any) -> None:
    for wrong in (np.zeros((5, 2)), np.zeros(2), np.zeros((4, 3)), np.zeros((4, 5, 2))):
        value = nest(kind, 4, b=[wrong.astype(np.float32)])
        if wrong.shape == (5, 2):
            # Its size may differ: only the number of dimensions is compared.
            assert nest_utils.get_outer_rank(value, SPEC) == 1
            continue
        with pytest.raises(ValueError, match=r"tensors/b/0: expected 1 outer dimensions and then \(2,\)"):
            nest_utils.get_outer_rank(value, SPEC)
    with pytest.raises(ValueError, match="tensors: expected 0 outer"):
        nest_utils.get_outer_rank(tf.zeros([3]), tf.TensorSpec((2, 3), tf.float32))


def test_empty_nests_have_no_outer_dimensions() -> None:
    assert nest_utils.get_outer_rank((), ()) == 0
    assert nest_utils.get_outer_shape((), ()).shape == (0,)
    assert not nest_utils.is_batched_nested_tensors((), ())


def test_outer_shape_that_is_only_known_when_run() -> None:
    spec = tf.TensorSpec((2,), tf.float32)
    shape = tf.function(lambda value: nest_utils.get_outer_shape(value, spec))
    concrete = shape.get_concrete_function(tf.TensorSpec((None, 3, 2), tf.float32))
    np.testing.assert_array_equal(concrete(tf.zeros([7, 3, 2])), [7, 3])


@KINDS
def test_batched_tensors_are_told_from_others(kind: Any) -> None:
    is_batched = nest_utils.is_batched_nested_tensors
    assert is_batched(nest(kind, 4), SPEC)
    assert not is_batched(nest(kind), SPEC)
    assert is_batched(nest(kind, 4, 5), SPEC, num_outer_dims=2)
    assert not is_batched(nest(kind, 4), SPEC, num_outer_dims=2)
    assert is_batched(nest(kind, 4, c=np.zeros(7)), SPEC, allow_extra_fields=True)
    assert is_batched(nest(kind, 4, a=np.zeros(4)), SPEC, check_dtypes=False)
    with pytest.raises(ValueError, match="2 outer dimensions; expected at most 1"):
        is_batched(nest(kind, 4, 5), SPEC)
    with pytest.raises(TypeError, match="tensors/a: expected dtype int32, got float64"):
        is_batched(nest(kind, 4, a=np.zeros(4)), SPEC)
    with pytest.raises(ValueError, match="'c'"):
        is_batched(nest(kind, 4, c=np.zeros(4)), SPEC)
    with pytest.raises(ValueError, match="tensors/b/0"):
        is_batched(nest(kind, 4, b=[np.zeros(2, np.float32)]), SPEC)


@KINDS
def test_inner_shapes_and_dtypes_are_compared(kind: Any) -> None:
    def check(value: Any, **arguments: Any) -> None:
        nest_utils.assert_matching_dtypes_and_inner_shapes(value, SPEC, "net", "inputs", "input_spec", **arguments)

    check(nest(kind))
    check(nest(kind, 4, 5))
    check(nest(kind, 4, a=np.zeros((), np.int32)))
    check(nest(kind, 4, c=np.zeros(4)), allow_extra_fields=True)
    check(SPEC)
    with pytest.raises(ValueError, match=r"^net: inputs/a: expected int32 .* as in input_spec, got float64 \(4,\)"):
        check(nest(kind, 4, a=np.zeros(4)))
    with pytest.raises(ValueError, match=r"^net: inputs/b/0: .*\(2,\).*got float32 \(4, 3\)"):
        check(nest(kind, 4, b=[np.zeros((4, 3), np.float32)]))
    with pytest.raises(ValueError, match=r"net: inputs and input_spec differ in structure.*'c'"):
        check(nest(kind, 4, c=np.zeros(4)))


def test_two_nests_of_tensors_are_compared() -> None:
    def check(one: Any, other: Any) -> None:
        nest_utils.assert_tensors_matching_dtypes_and_shapes({"a": one}, {"a": other}, "net", "old", "new")

    check(tf.zeros([4, 3]), tf.zeros([4, 3]))
    for other in (tf.zeros([4, 2]), tf.zeros([4]), tf.zeros([4, 3], tf.int32)):
        with pytest.raises(ValueError, match=r"^net: old/a: got float32 \(4, 3\), but new has"):
            check(tf.zeros([4, 3]), other)


def test_specs_are_flattened_with_the_shapes_that_they_must_have() -> None:
    flat, shapes = nest_utils.flatten_and_check_shape_nested_specs(SPEC, SPEC)
    assert flat == [SPEC["a"], SPEC["b"][0]]
    assert [shape.as_list() for shape in shapes] == [[], [2]]
    with pytest.raises(ValueError, match=r"/b/0: expected shape \(2,\), got \(3,\)"):
        nest_utils.flatten_and_check_shape_nested_specs({**SPEC, "b": [tf.TensorSpec((3,), tf.float32)]}, SPEC)


def test_values_are_floats_of_one_number() -> None:
    nest_utils.assert_value_spec([tf.TensorSpec((), tf.float32), tf.TensorSpec((1,), tf.float64)], "critic")
    for wrong in (tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.int32), tf.TensorSpec(None, tf.float32)):
        with pytest.raises(ValueError, match=r"^critic/0: a value must"):
            nest_utils.assert_value_spec([wrong], "critic")
