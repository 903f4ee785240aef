"""Adding, removing, splitting and stacking batch dimensions of nests of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.nests.array_nest import paths
from distpolicy.utils.nests.checks import get_outer_rank, is_batched_nested_tensors


def batch_nested_tensors(tensors: Any, specs: Any = None) -> Any:
    """The nest with a batch dimension of 1 where there is none.

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
    """The nest without the first dimension, which has to be 1, where there is one.

    Args:
        tensors: Nest of tensors or arrays.
        specs: Nest of specs without the batch dimension, or None to remove the first of every tensor.

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
    """:func:`unbatch_nested_tensors` as arrays; of eager tensors only."""
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), unbatch_nested_tensors(nested_tensors))


def stack_nested_tensors(tensors: Sequence[Any], axis: int = 0) -> Any:
    """One nest of a list of nests that are alike, stacked along a new dimension.

    Raises:
        ValueError: If the list is empty.
    """
    if not tensors:
        raise ValueError("stack_nested_tensors needs at least one nest, but the list is empty")
    return tf.nest.map_structure(lambda *leaves: tf.stack(leaves, axis), *tensors)


def unstack_nested_tensors(tensors: Any, specs: Any) -> list[Any]:
    """A nest for each entry of the batch dimension.

    Args:
        tensors: Nest of tensors ``[B, *shape]``, B known.
        specs: Nest of specs without the batch dimension.

    Raises:
        ValueError: If there is no batch dimension, or shapes do not fit the specs.
        TypeError: If dtypes do not fit the specs.
    """
    if not is_batched_nested_tensors(tensors, specs):
        raise ValueError("tensors without a batch dimension cannot be unstacked")
    columns = zip(*(tf.unstack(leaf) for leaf in tf.nest.flatten(tensors)), strict=True)
    return [tf.nest.pack_sequence_as(tensors, column) for column in columns]


def split_nested_tensors(tensors: Any, specs: Any, num_or_size_splits: Any) -> list[Any]:
    """Nests of parts of the batch.

    Args:
        tensors: Nest of tensors ``[B, *shape]``.
        specs: Nest of specs without the batch dimension.
        num_or_size_splits: The number of equal parts, or a list of the parts' sizes.

    Raises:
        ValueError: If there is no batch dimension, or shapes do not fit the specs.
        TypeError: If dtypes do not fit the specs.
    """
    if not is_batched_nested_tensors(tensors, specs):
        raise ValueError("tensors without a batch dimension cannot be split")
    columns = zip(*(tf.split(leaf, num_or_size_splits) for leaf in tf.nest.flatten(tensors)), strict=True)
    return [tf.nest.pack_sequence_as(tensors, column) for column in columns]


def tile_batch(tensors: Any, multiplier: Any) -> Any:
    """The nest with each row repeated ``multiplier`` times: rows a, b become a, a, b, b.

    Args:
        tensors: Nest of tensors ``[B, ...]``.
        multiplier: An int or an integer scalar tensor.

    Raises:
        ValueError: If a tensor has no batch dimension.
    """
    for path, tensor in zip(paths(tensors), tf.nest.flatten(tensors), strict=True):
        if not tf.convert_to_tensor(tensor).shape.rank:
            raise ValueError(f"{path or 'the tensor'}: expected at least one dimension")
    return tf.nest.map_structure(lambda tensor: tf.repeat(tensor, multiplier, axis=0), tensors)


def flatten_multi_batched_nested_tensors(tensors: Any, specs: Any) -> tuple[Any, tf.Tensor]:
    """The nest with all outer dimensions made into one.

    Args:
        tensors: Nest of tensors ``[..., *shape]``; the outer dimensions have to be the same.
        specs: Nest of specs without outer dimensions.

    Returns:
        The nest of ``[num, *shape]``, and the outer dimensions, int64 ``[num_outer_dims]``.

    Raises:
        ValueError: If structures, ranks or inner shapes differ, or known outer dimensions are not the same.
        TypeError: If the structures differ in a container's type.
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
    """The spec without up to ``outer_ndim`` first dimensions of 1; it stops at the first that is not 1.

    Raises:
        ValueError: If the spec's rank is unknown, or less than ``outer_ndim``.
    """
    if getattr(spec, "shape", None) is None or spec.shape.rank is None or spec.shape.rank < outer_ndim:
        raise ValueError(f"a spec of at least {outer_ndim} dimensions is needed, but it is {spec}")
    ones = int(np.argmin([*(size == 1 for size in spec.shape[:outer_ndim]), False]))
    return tf.TensorSpec(spec.shape[ones:], spec.dtype)
