from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import CheckpointError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.utils.numpy_storage import NumpyState, NumpyStorage

SPEC = {"foo": ArraySpec((4,), np.uint8), "bar": (ArraySpec((3, 7), np.float32), ArraySpec((), np.int64))}


def test_arrays_are_saved_and_made_again(tmp_path: Path) -> None:
    state = NumpyState()
    state.x = np.ones([3, 4])
    state.file = np.int64(3)
    path = tf.train.Checkpoint(arrays=state).save(str(tmp_path / "ckpt"))
    state.x[:] = 0.0
    state.y = np.zeros(2)
    tf.train.Checkpoint(arrays=state).restore(path)
    np.testing.assert_array_equal(state.x, np.ones([3, 4]))
    with pytest.raises(AttributeError, match="'y'"):
        _ = state.y
    other = NumpyState()
    tf.train.Checkpoint(arrays=other).restore(path)
    np.testing.assert_array_equal(other.x, np.ones([3, 4]))
    assert other.file == 3


def test_only_arrays_without_objects_are_taken() -> None:
    state = NumpyState()
    with pytest.raises(NotImplementedError, match="x is a list"):
        state.x = [1, 2]
    with pytest.raises(ValueError, match="objects"):
        state.x = np.array([{}])
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}]), allow_pickle=True)
    with pytest.raises(CheckpointError):
        state.deserialize(pickled.getvalue())


def test_a_table_keeps_items_and_is_saved(tmp_path: Path) -> None:
    table = NumpyStorage(SPEC, 5)
    items = [{"foo": np.full(4, i, np.uint8), "bar": (np.full((3, 7), i, np.float32), np.int64(i))} for i in range(5)]
    for index in (0, 3):
        table.set(index, items[index])
    batch = tf.nest.map_structure(lambda *leaves: np.stack(leaves), *items[1:3])
    table.set(np.array([1, 2]), batch)
    found = table.get(3)
    assert isinstance(found["bar"], tuple)
    assert found["bar"][1] == 3
    assert found["bar"][0].dtype == np.float32
    np.testing.assert_array_equal(table.get(np.array([2, 0, 4]))["foo"][:, 0], [2, 0, 0])
    path = tf.train.Checkpoint(table=table).save(str(tmp_path / "ckpt"))
    other = NumpyStorage(SPEC, 5)
    tf.train.Checkpoint(table=other).restore(path)
    np.testing.assert_array_equal(other.get(np.arange(5))["bar"][1], [0, 1, 2, 3, 0])
    with pytest.raises(ValueError, match="array specs"):
        NumpyStorage(TensorSpec((), tf.float32), 2)
