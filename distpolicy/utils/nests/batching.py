"""Functions that add, remove, split and stack batch dimensions of nests of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.nests.array_nest import paths
from distpolicy.utils.nests.checks import get_outer_rank, is_batched_nested_tensors


def batch_nested_tensors(tensors: Any, specs: Any = None) -> Any:
    """Adds a batch dimension of 1 if there is none.

    Args:
        tensors: Nest of tensors or arrays.
        specs: Nest of specs without the batch dimension, or None to add one to every tensor.

    Raises:
        ValueError: If shapes do not fit the specs, or the tensors have more than one outer dimension.
        TypeError: If dtypes do not fit the specs.
    """
    if specs is not None and is_batched_nested_tensors(tensors, specs):
        return tf.nest.map_structure(tf.convert_to_tensor, tensors)
    return tf.nest.map_structure(lambda tensor: tf.expand_dims(tensor, 0), tensors)


def unbatch_nested_tensors(tensors: Any, specs: Any = None) -> Any:
    """Removes the batch dimension, which must be 1, if there is one.

    Args:
        tensors: Nest of tensors or arrays.
        specs: Nest of specs without the batch dimension, or None to remove the first dimension of every tensor.

    Raises:
        ValueError: If a batch dimension is known not to be 1, or shapes do not fit the specs.
        TypeError: If dtypes do not fit the specs.
    """
    if specs is not None and not is_batched_nested_tensors(tensors, specs):
        return tf.nest.map_structure(tf.convert_to_tensor, tensors)
    for path, tensor in zip(paths(tensors), tf.nest.flatten(tensors), strict=True):
        shape = tf.TensorShape(tensor.shape)
        if shape.rank == 0 or (shape.rank is not None and shape[0] not in (None, 1)):
            raise ValueError(f"{path or 'the tensor'}: expected a first dimension of 1, got shape {shape}")
    return tf.nest.map_structure(lambda tensor: tf.squeeze(tensor, 0), tensors)


def unbatch_nested_tensors_to_arrays(nested_tensors: Any) -> Any:
    """Does the same as :func:`unbatch_nested_tensors` for eager tensors, and returns arrays."""
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), unbatch_nested_tensors(nested_tensors))


def stack_nested_tensors(tensors: Sequence[Any], axis: int = 0) -> Any:
    """Stacks a list of nests with the same structure along a new dimension.

    Raises:
        ValueError: If the list is empty.
    """
    if not tensors:
        raise ValueError("stack_nested_tensors needs at least one nest, but the list is empty")
    return tf.nest.map_structure(lambda *leaves: tf.stack(leaves, axis), *tensors)


def unstack_nested_tensors(tensors: Any, specs: Any) -> list[Any]:
    """Returns a nest for each entry of the batch dimension.

    Args:
        tensors: Nest of tensors ``[B, *shape]``, B known.
        specs: Nest of specs without the batch dimension.

    Raises:
        ValueError: If there is no batch dimension, or shapes do not fit the specs.
        TypeError: If dtypes do not fit the specs.
    """
    if not is_batched_nested_tensors(tensors, specs):
        raise ValueError("cannot unstack tensors without a batch dimension; add one")
    columns = zip(*(tf.unstack(leaf) for leaf in tf.nest.flatten(tensors)), strict=True)
    return [tf.nest.pack_sequence_as(tensors, column) for column in columns]


def split_nested_tensors(tensors: Any, specs: Any, num_or_size_splits: Any) -> list[Any]:
    """Splits the batch into parts, one nest each.

    Args:
        tensors: Nest of tensors ``[B, *shape]``.
        specs: Nest of specs without the batch dimension.
        num_or_size_splits: The number of equal parts, or a list of the parts' sizes.

    Raises:
        ValueError: If there is no batch dimension, or shapes do not fit the specs.
        TypeError: If dtypes do not fit the specs.
    """
    if not is_batched_nested_tensors(tensors, specs):
        raise ValueError("cannot split tensors without a batch dimension; add one")
    columns = zip(*(tf.split(leaf, num_or_size_splits) for leaf in tf.nest.flatten(tensors)), strict=True)
    return [tf.nest.pack_sequence_as(tensors, column) for column in columns]


def tile_batch(tensors: Any, multiplier: Any) -> Any:
    """Repeats each row ``multiplier`` times: rows a, b become a, a, b, b.

    Args:
        tensors: Nest of tensors ``[B, ...]``.
        multiplier: An int or an integer scalar tensor.

    Raises:
        ValueError: If a tensor has no batch dimension.
    """
    for path, tensor in zip(paths(tensors), tf.nest.flatten(tensors), strict=True):
        if not tf.convert_to_tensor(tensor).shape.rank:
            raise ValueError(f"{path or 'the tensor'}: expected a batch dimension, got a scalar")
    return tf.nest.map_structure(lambda tensor: tf.repeat(tensor, multiplier, axis=0), tensors)


def flatten_multi_batched_nested_tensors(tensors: Any, specs: Any) -> tuple[Any, tf.Tensor]:
    """Flattens all outer dimensions into one.

    Args:
        tensors: Nest of tensors ``[..., *shape]``, all with the same outer dimensions.
        specs: Nest of specs without outer dimensions.

    Returns:
        A nest of ``[num, *shape]``, and the outer dimensions, int64 ``[num_outer_dims]``.

    Raises:
        ValueError: If structures, ranks or inner shapes differ, or known outer dimensions are not the same.
        TypeError: If the type of a container differs.
    """
    outer = get_outer_rank(tensors, specs)
    leaves = tf.nest.flatten(tensors)
    if not leaves:
        return tensors, tf.zeros([0], tf.int64)
    static = tf.TensorShape(leaves[0].shape)[:outer]
    for path, leaf in zip(paths(tensors), leaves, strict=True):
        if not tf.TensorShape(leaf.shape)[:outer].is_compatible_with(static):
            raise ValueError(f"{path}: expected outer dimensions {static}, got shape {leaf.shape}")
    dims = tf.shape(leaves[0], tf.int64)[:outer]

    def flatten(leaf: Any) -> tf.Tensor:
        inner = tf.shape(leaf, tf.int64)[outer:]
        flat = tf.reshape(leaf, tf.concat([tf.reduce_prod(dims)[tf.newaxis], inner], axis=0))
        known = tf.TensorShape([static.num_elements()]).concatenate(tf.TensorShape(leaf.shape)[outer:])
        return tf.ensure_shape(flat, known)

    return tf.nest.map_structure(flatten, tensors), dims


def remove_singleton_batch_spec_dim(spec: tf.TypeSpec, outer_ndim: int) -> tf.TypeSpec:
    """Removes up to ``outer_ndim`` leading dimensions of 1, and stops at the first other one.

    Raises:
        ValueError: If the spec's rank is unknown, or less than ``outer_ndim``.
    """
    if getattr(spec, "shape", None) is None or spec.shape.rank is None or spec.shape.rank < outer_ndim:
        raise ValueError(f"expected a spec with at least {outer_ndim} dimensions, got {spec}")
    ones = int(np.argmin([*(size == 1 for size in spec.shape[:outer_ndim]), False]))
    return tf.TensorSpec(spec.shape[ones:], spec.dtype)
