from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.utils import composite

DENSE = np.array([[[0, 1, 0], [2, 0, 3]], [[0, 0, 0], [4, 5, 0]]], np.int64)


def dense(value: Any) -> np.ndarray:
    return (tf.sparse.to_dense(tf.sparse.reorder(value)) if isinstance(value, tf.SparseTensor) else value).numpy()


@pytest.fixture(params=["dense", "sparse"])
def tensor(request: pytest.FixtureRequest) -> Any:
    return tf.constant(DENSE) if request.param == "dense" else tf.sparse.from_dense(DENSE)


def test_shapes_of_both_kinds(tensor: Any) -> None:
    assert composite.shape(tensor).dtype == tf.int64
    assert composite.shape(tensor).numpy().tolist() == [2, 2, 3]
    np.testing.assert_array_equal(dense(composite.reshape(tensor, [4, 3])), DENSE.reshape(4, 3))
    for axis in (0, 1, -1):
        expanded = composite.expand_dims(tensor, axis)
        np.testing.assert_array_equal(dense(expanded), np.expand_dims(DENSE, axis))
        np.testing.assert_array_equal(dense(composite.squeeze(expanded, axis)), DENSE)
    with pytest.raises(tf.errors.InvalidArgumentError):
        composite.squeeze(tensor, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 1, -1, tf.constant(1)])
def test_slices_of_both_kinds(tensor: Any, axis: int, place: Any) -> None:
    index = [slice(None)] * axis
    np.testing.assert_array_equal(
        dense(composite.slice_from(tensor, axis, place)), DENSE[(*index, slice(int(place), None))]
    )
    np.testing.assert_array_equal(
        dense(composite.slice_to(tensor, axis, place)), DENSE[(*index, slice(None, int(place)))]
    )


def test_slices_are_a_part_of_graphs() -> None:
    compiled = tf.function(lambda value: composite.slice_from(value, 2, 1))
    np.testing.assert_array_equal(dense(compiled(tf.sparse.from_dense(DENSE))), DENSE[:, :, 1:])
