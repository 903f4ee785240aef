from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils import nest_utils
from distpolicy.utils.nest_utils import assert_matches_spec

SPEC = tensor_spec.from_spec({"b": (ArraySpec((2,), np.float32),), "a": ArraySpec((), np.int32)})


def value(*outer: int, **changes: Any) -> dict[str, Any]:
    return {"b": (np.zeros((*outer, 2), np.float32),), "a": np.zeros(outer, np.int32), **changes}


@pytest.mark.parametrize("outer", [(), (4,), (4, 5)])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_number_of_outer_dimensions_is_told(outer: tuple[int, ...], kind: Any) -> None:
    nest = tf.nest.map_structure(kind, value(*outer))
    assert assert_matches_spec(nest, SPEC, "state") == len(outer)
    assert assert_matches_spec(nest, SPEC, "state", len(outer)) == len(outer)
    with pytest.raises(ValueError, match=r"^state/a: expected 3 outer dimensions"):
        assert_matches_spec(nest, SPEC, "state", 3)


@pytest.mark.parametrize(
    ("nest", "error", "match"),
    [
        (value(4, b=(np.zeros((4, 3), np.float32),)), ValueError, r"^state/b/0: .*\(2,\), got \(4, 3\)"),
        (value(4, b=(np.zeros(2, np.float32),)), ValueError, "^state/b/0: expected 1 outer"),
        (value(4, a=np.zeros(4)), TypeError, "^state/a: expected dtype int32, got float64"),
        (value(4, a=3), TypeError, "^state/a: expected dtype int32, got int"),
        (value(4, b=[np.zeros((4, 2), np.float32)]), TypeError, "^state: .*structure"),
        (value(4, b=()), ValueError, "^state: .*structure"),
        (value(4, c=np.zeros(4)), ValueError, "^state: .*structure"),
        ((), TypeError, "^state: .*structure"),
    ],
    ids=["shape", "outer", "dtype", "no array", "container", "empty", "extra", "nothing"],
)
def test_leaf_that_differs_is_named(nest: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        assert_matches_spec(nest, SPEC, "state")


def test_open_dimensions_match_any_size() -> None:
    spec = tf.TensorSpec((None, 2), tf.float32)
    for size in (1, 5):
        assert assert_matches_spec(tf.zeros([3, size, 2]), spec, "action") == 1
    with pytest.raises(ValueError, match=r"^action:"):
        assert_matches_spec(tf.zeros([3, 5, 3]), spec, "action")


def test_empty_nest_matches_an_empty_spec() -> None:
    assert assert_matches_spec((), (), "state") == 0
    with pytest.raises(TypeError, match=r"^step: .*structure"):
        assert_matches_spec(PolicyStep(1, 2, 3), (1, 2, 3), "step")


def test_structure_that_differs_is_named_with_its_place() -> None:
    with pytest.raises(
        TypeError, match=r"^state: its structure differs from the spec's: at /b: got a list of length 1"
    ):
        assert_matches_spec(value(4, b=[np.zeros((4, 2), np.float32)]), SPEC, "state")


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_rows_are_chosen_from_two_nests(kind: Any) -> None:
    true = {"a": kind(np.arange(3)), "b": (kind(np.arange(12).reshape(3, 2, 2)),)}
    false = tf.nest.map_structure(lambda leaf: -leaf - 1, true)
    chosen = nest_utils.where(kind(np.array([True, False, True])), true, false)
    np.testing.assert_array_equal(chosen["a"], [0, -2, 2])
    np.testing.assert_array_equal(chosen["b"][0][:, 1, 1], [3, -8, 11])
    np.testing.assert_array_equal(nest_utils.where(kind(np.asarray(False)), true, false)["a"], [-1, -2, -3])
    mask = np.array([[True, False], [True, True], [False, False]])
    np.testing.assert_array_equal(
        nest_utils.where(kind(mask), true["b"], false["b"])[0][:, :, 0], [[0, -3], [4, 6], [-9, -11]]
    )


def test_choice_between_nests_that_do_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="true_outputs and false_outputs differ"):
        nest_utils.where(tf.constant([True]), (tf.zeros([1]),), [tf.zeros([1])])
    with pytest.raises(ValueError, match="true_outputs/a: expected a shape that begins with"):
        nest_utils.where(tf.constant([True, False, True]), {"a": tf.zeros([2, 3])}, {"a": tf.zeros([2, 3])})
    with pytest.raises(ValueError, match="true_outputs: expected a shape that begins with"):
        nest_utils.where(tf.constant([[True]]), tf.zeros([1]), tf.zeros([1]))


def test_tensors_are_found_among_arrays() -> None:
    assert nest_utils.has_tensors({"a": np.zeros(2), "b": [tf.zeros([2])]})
    assert nest_utils.has_tensors((), tf.zeros([2]))
    assert not nest_utils.has_tensors({"a": np.zeros(2)}, ())


def test_leaves_come_with_their_paths() -> None:
    nest = {"b": PolicyStep(1, 2, {"k": 3}), "a": [4]}
    assert nest_utils.flatten_with_joined_paths(nest) == [
        ("a/0", 4),
        ("b/action", 1),
        ("b/state", 2),
        ("b/info/k", 3),
    ]
    assert nest_utils.flatten_with_tuple_paths(nest)[3] == (("b", "info", "k"), 3)


def test_fast_maps_give_a_nest_like_the_first() -> None:
    one, other = {"a": [1, 2]}, {"a": [10, 20]}
    assert nest_utils.fast_map_structure(lambda left, right: left + right, one, other) == {"a": [11, 22]}
    assert nest_utils.fast_map_structure_flatten(lambda left, right: left + right, one, [1, 2], [10, 20]) == {
        "a": [11, 22]
    }


def test_every_public_function_of_tf_agents_is_there() -> None:
    # tf_agents.utils.nest_utils of TF-Agents 0.19.
    names = """assert_matching_dtypes_and_inner_shapes assert_same_structure assert_tensors_matching_dtypes_and_shapes
        assert_value_spec batch_nested_array batch_nested_tensors fast_map_structure fast_map_structure_flatten
        flatten_and_check_shape_nested_specs flatten_multi_batched_nested_tensors flatten_up_to
        flatten_with_joined_paths flatten_with_tuple_paths get_outer_array_shape get_outer_rank get_outer_shape
        has_tensors is_batched_nested_tensors map_structure_up_to map_structure_with_paths prune_extra_keys
        remove_singleton_batch_spec_dim spec_shape split_nested_tensors stack_nested_arrays stack_nested_tensors
        tile_batch unbatch_nested_array unbatch_nested_tensors unbatch_nested_tensors_to_arrays unstack_nested_arrays
        unstack_nested_arrays_into_flat_items unstack_nested_tensors where"""
    assert [name for name in names.split() if not callable(getattr(nest_utils, name, None))] == []
