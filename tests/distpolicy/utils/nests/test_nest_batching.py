from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.specs.tensor_spec import BoundedTensorSpec
from distpolicy.utils import nest_utils

SPEC = {"a": tf.TensorSpec((), tf.float32), "b": [tf.TensorSpec((2,), tf.float32)]}


def nest(*outer: int) -> dict[str, Any]:
    size = int(np.prod(outer))
    made = {"a": np.arange(size).reshape(outer), "b": [np.arange(2 * size).reshape(*outer, 2)]}
    return tf.nest.map_structure(lambda array: tf.constant(array, tf.float32), made)


def check(got: Any, expected: Any) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, got, expected)


def test_batch_dimension_is_added_where_there_is_none() -> None:
    check(nest_utils.batch_nested_tensors(nest(), SPEC), nest(1))
    check(nest_utils.batch_nested_tensors(nest(4), SPEC), nest(4))
    check(nest_utils.batch_nested_tensors(nest(4)), nest(1, 4))
    with pytest.raises(ValueError, match="2 outer dimensions"):
        nest_utils.batch_nested_tensors(nest(3, 4), SPEC)


def test_batch_dimension_of_1_is_removed_where_there_is_one() -> None:
    check(nest_utils.unbatch_nested_tensors(nest(1), SPEC), nest())
    check(nest_utils.unbatch_nested_tensors(nest(), SPEC), nest())
    check(nest_utils.unbatch_nested_tensors(nest(1, 4)), nest(4))
    for wrong in (nest(3), nest()):
        with pytest.raises(ValueError, match="/a: expected a first dimension of 1"):
            nest_utils.unbatch_nested_tensors(wrong)
    arrays = nest_utils.unbatch_nested_tensors_to_arrays(nest(1))
    assert isinstance(arrays["b"][0], np.ndarray)
    check(arrays, nest())


def test_stacking_undoes_unstacking() -> None:
    rows = nest_utils.unstack_nested_tensors(nest(4), SPEC)
    assert len(rows) == 4
    np.testing.assert_array_equal(rows[1]["b"][0], [2, 3])
    check(nest_utils.stack_nested_tensors(rows), nest(4))
    columns = nest_utils.stack_nested_tensors([nest(4), nest(4)], axis=1)
    assert columns["b"][0].shape == (4, 2, 2)
    with pytest.raises(ValueError, match="batch dimension"):
        nest_utils.unstack_nested_tensors(nest(), SPEC)
    with pytest.raises(ValueError, match="empty"):
        nest_utils.stack_nested_tensors([])


def test_batch_is_split() -> None:
    for sizes, expected in ((2, [2, 2]), ([1, 3], [1, 3])):
        parts = nest_utils.split_nested_tensors(nest(4), SPEC, sizes)
        assert [part["a"].shape[0] for part in parts] == expected
        check(tf.nest.map_structure(lambda *leaves: tf.concat(leaves, axis=0), *parts), nest(4))
    with pytest.raises(ValueError, match="batch dimension"):
        nest_utils.split_nested_tensors(nest(), SPEC, 2)


def test_rows_are_repeated_one_after_the_other() -> None:
    tiled = nest_utils.tile_batch(nest(2), 3)
    np.testing.assert_array_equal(tiled["a"], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(tiled["b"][0][:, 0], [0, 0, 0, 2, 2, 2])
    check(nest_utils.tile_batch(nest(2), tf.constant(3)), tiled)
    with pytest.raises(ValueError, match="/a: expected a batch dimension"):
        nest_utils.tile_batch(nest(), 2)


@pytest.mark.parametrize("outer", [(), (4,), (4, 3), (2, 1, 3)])
def test_outer_dimensions_are_made_into_one(outer: tuple[int, ...]) -> None:
    flat, dims = nest_utils.flatten_multi_batched_nested_tensors(nest(*outer), SPEC)
    check(flat, nest(int(np.prod(outer))))
    np.testing.assert_array_equal(dims, outer)
    assert dims.dtype == tf.int64


def test_outer_dimensions_that_differ_are_not_made_into_one() -> None:
    with pytest.raises(ValueError, match=r"/b/0: expected outer dimensions \(4, 3\)"):
        nest_utils.flatten_multi_batched_nested_tensors({**nest(4, 3), "b": nest(3, 4)["b"]}, SPEC)
    assert nest_utils.flatten_multi_batched_nested_tensors((), ())[0] == ()


def test_open_outer_dimensions_are_made_into_one() -> None:
    spec = tf.TensorSpec((2,), tf.float32)
    flatten = tf.function(lambda value: nest_utils.flatten_multi_batched_nested_tensors(value, spec)[0])
    concrete = flatten.get_concrete_function(tf.TensorSpec((None, 3, 2), tf.float32))
    assert concrete.output_shapes.as_list() == [None, 2]
    assert concrete(tf.zeros([5, 3, 2])).shape == (15, 2)


def test_singleton_dimensions_are_removed_up_to_the_first_other() -> None:
    remove = nest_utils.remove_singleton_batch_spec_dim
    assert remove(tf.TensorSpec((1, 1, 2), tf.float32), 2).shape.as_list() == [2]
    assert remove(tf.TensorSpec((1, 3, 1), tf.float32), 3).shape.as_list() == [3, 1]
    assert remove(BoundedTensorSpec((1, 2), tf.float32, 0, 1), 1).shape.as_list() == [2]
    assert remove(tf.TensorSpec((3, 2), tf.float32), 1).shape.as_list() == [3, 2]
    for wrong in (tf.TensorSpec(None, tf.float32), tf.TensorSpec((1,), tf.float32)):
        with pytest.raises(ValueError, match="at least 2 dimensions"):
            remove(wrong, 2)
