from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.utils.nests import array_batching

NEST = {"a": np.arange(4), "b": (np.arange(8).reshape(4, 2),)}


def test_batch_dimension_is_added_and_removed() -> None:
    batched = array_batching.batch_nested_array(NEST)
    assert batched["b"][0].shape == (1, 4, 2)
    assert array_batching.batch_nested_array(3.0).shape == (1,)
    unbatched = array_batching.unbatch_nested_array(batched)
    np.testing.assert_array_equal(unbatched["b"][0], NEST["b"][0])
    for wrong in (NEST, {"a": np.float32(3)}):
        with pytest.raises(ValueError, match="/a: expected a first dimension of 1"):
            array_batching.unbatch_nested_array(wrong)


def test_stacking_undoes_unstacking() -> None:
    rows = array_batching.unstack_nested_arrays(NEST)
    assert len(rows) == 4
    np.testing.assert_array_equal(rows[1]["b"][0], [2, 3])
    stacked = array_batching.stack_nested_arrays(rows)
    np.testing.assert_array_equal(stacked["a"], NEST["a"])
    np.testing.assert_array_equal(stacked["b"][0], NEST["b"][0])
    flat = array_batching.unstack_nested_arrays_into_flat_items(NEST)
    assert len(flat) == 4
    assert flat[2][0] == 2
    np.testing.assert_array_equal(flat[2][1], [4, 5])
    assert array_batching.unstack_nested_arrays(()) == []
    with pytest.raises(ValueError, match="empty"):
        array_batching.stack_nested_arrays([])


def test_arrays_of_several_lengths_are_not_unstacked() -> None:
    with pytest.raises(ValueError, match="'/a': 4, '/b': 3"):
        array_batching.unstack_nested_arrays({"a": np.zeros(4), "b": np.zeros(3)})


def test_outer_shape_is_told_from_the_first_leaf() -> None:
    spec = {"a": ArraySpec((2,), np.float32), "b": ArraySpec((), np.float32)}
    for outer in ((), (4,), (4, 3)):
        arrays = {"a": np.zeros((*outer, 2)), "b": np.zeros(outer)}
        assert array_batching.get_outer_array_shape(arrays, spec) == outer
    assert array_batching.get_outer_array_shape((), ()) == ()


def test_tensorflow_is_not_imported() -> None:
    modules = "distpolicy.utils.nests.array_batching, distpolicy.specs, distpolicy.trajectories"
    code = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
