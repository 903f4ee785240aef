"""Functions on nests: everything that TF-Agents has in this module.

Most of them are defined in ``utils/nests``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# TF-Agents' module of this name exports these, too.
from tensorflow.python.util.nest import (
    flatten_up_to,
    flatten_with_tuple_paths,
    map_structure_up_to,
    map_structure_with_paths,
)

from distpolicy.utils.nests.array_batching import (
    batch_nested_array,
    get_outer_array_shape,
    stack_nested_arrays,
    unbatch_nested_array,
    unstack_nested_arrays,
    unstack_nested_arrays_into_flat_items,
)
from distpolicy.utils.nests.array_nest import paths
from distpolicy.utils.nests.batching import (
    batch_nested_tensors,
    flatten_multi_batched_nested_tensors,
    remove_singleton_batch_spec_dim,
    split_nested_tensors,
    stack_nested_tensors,
    tile_batch,
    unbatch_nested_tensors,
    unbatch_nested_tensors_to_arrays,
    unstack_nested_tensors,
)
from distpolicy.utils.nests.checks import (
    assert_matches_spec,
    assert_matching_dtypes_and_inner_shapes,
    assert_same_structure,
    assert_tensors_matching_dtypes_and_shapes,
    assert_value_spec,
    flatten_and_check_shape_nested_specs,
    get_outer_rank,
    is_batched_nested_tensors,
    spec_shape,
)
from distpolicy.utils.nests.pruning import prune_extra_keys

__all__ = [
    "assert_matches_spec",
    "assert_matching_dtypes_and_inner_shapes",
    "assert_same_structure",
    "assert_tensors_matching_dtypes_and_shapes",
    "assert_value_spec",
    "batch_nested_array",
    "batch_nested_tensors",
    "fast_map_structure",
    "fast_map_structure_flatten",
    "flatten_and_check_shape_nested_specs",
    "flatten_multi_batched_nested_tensors",
    "flatten_up_to",
    "flatten_with_joined_paths",
    "flatten_with_tuple_paths",
    "get_outer_array_shape",
    "get_outer_rank",
    "get_outer_shape",
    "has_tensors",
    "is_batched_nested_tensors",
    "map_structure_up_to",
    "map_structure_with_paths",
    "prune_extra_keys",
    "remove_singleton_batch_spec_dim",
    "spec_shape",
    "split_nested_tensors",
    "stack_nested_arrays",
    "stack_nested_tensors",
    "tile_batch",
    "unbatch_nested_array",
    "unbatch_nested_tensors",
    "unbatch_nested_tensors_to_arrays",
    "unstack_nested_arrays",
    "unstack_nested_arrays_into_flat_items",
    "unstack_nested_tensors",
    "where",
]


def has_tensors(*nests: Any) -> bool:
    """Returns True if any leaf of the nests is a tensor."""
    return any(tf.is_tensor(leaf) for leaf in tf.nest.flatten(nests))


def flatten_with_joined_paths(structure: Any, expand_composites: bool = False) -> list[tuple[str, Any]]:
    """Returns pairs of a leaf's path, such as ``observation/camera``, and the leaf."""
    pairs = flatten_with_tuple_paths(structure, expand_composites=expand_composites)
    return [("/".join(str(part) for part in path), leaf) for path, leaf in pairs]


def fast_map_structure(func: Callable[..., Any], *structure: Any, **kwargs: Any) -> Any:
    """Applies ``func`` to the leaves of nests with the same structure, which is not checked."""
    columns = zip(*(tf.nest.flatten(nest, **kwargs) for nest in structure), strict=False)
    return tf.nest.pack_sequence_as(structure[0], [func(*column) for column in columns], **kwargs)


def fast_map_structure_flatten(func: Callable[..., Any], structure: Any, *flat_structure: Any, **kwargs: Any) -> Any:
    """Does the same as :func:`fast_map_structure` for nests that are already flat lists."""
    leaves = [func(*column) for column in zip(*flat_structure, strict=False)]
    return tf.nest.pack_sequence_as(structure, leaves, **kwargs)


def where(condition: Any, true_outputs: Any, false_outputs: Any) -> Any:
    """Selects rows from one nest where a condition holds and from another elsewhere.

    Args:
        condition: bool ``[B]``, or of another shape that all leaves' shapes begin with.
        true_outputs: Nest of tensors ``[B, ...]``.
        false_outputs: Nest like ``true_outputs``.

    Returns:
        A nest like ``true_outputs``.

    Raises:
        ValueError: If the nests differ, or a leaf's shape does not begin with the condition's. The message names the
            leaf.
        TypeError: If the type of a container differs.
    """
    assert_same_structure(true_outputs, false_outputs, message="true_outputs and false_outputs differ")
    condition = tf.convert_to_tensor(condition)
    for path, leaf in zip(paths(true_outputs), tf.nest.flatten(true_outputs), strict=True):
        shape = tf.convert_to_tensor(leaf).shape
        if shape.rank is None:
            continue
        outer = shape[: condition.shape.rank]
        if not condition.shape.is_compatible_with(outer):
            raise ValueError(
                f"true_outputs{path}: expected a shape that begins with the condition's {condition.shape}, got {shape}"
            )

    def select(true: Any, false: Any) -> tf.Tensor:
        true = tf.convert_to_tensor(true)
        inner = tf.ones([tf.rank(true) - condition.shape.rank], tf.int32)
        return tf.where(tf.reshape(condition, tf.concat([tf.shape(condition), inner], axis=0)), true, false)

    return tf.nest.map_structure(select, true_outputs, false_outputs)


def get_outer_shape(nested_tensor: Any, spec: Any) -> tf.Tensor:
    """Returns the dimensions before the specs' shapes. All leaves must have the same number of them.

    Args:
        nested_tensor: Nest of tensors or arrays ``[..., *shape]``.
        spec: Nest of tensor specs.

    Returns:
        The outer shape of the first leaf, int32 ``[num_outer_dims]``; empty for an empty nest.

    Raises:
        ValueError: If structures, ranks or inner shapes differ. The message names the leaf.
        TypeError: If the type of a container differs.
    """
    num_outer_dims = get_outer_rank(nested_tensor, spec)
    leaves = tf.nest.flatten(nested_tensor)
    if not leaves or num_outer_dims == 0:
        return tf.zeros([0], tf.int32)
    static = tf.TensorShape(leaves[0].shape)[:num_outer_dims]
    if static.is_fully_defined():
        return tf.constant(static.as_list(), tf.int32)
    return tf.shape(leaves[0])[:num_outer_dims]
