"""Nests: checking them against specs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.utils.array_nest import paths


def assert_matches_spec(value: Any, spec: Any, what: str, num_outer_dims: int | None = None) -> int:
    """Checks structure, dtype and shape of a nest.

    Args:
        value: Nest of tensors or arrays.
        spec: Nest of tensor specs.
        what: What the value is, for messages.
        num_outer_dims: Dimensions before each spec's shape, or None if the first leaf shall tell.

    Returns:
        The number of outer dimensions.

    Raises:
        ValueError: If the nest's structure or a leaf's shape differs; it names the leaf.
        TypeError: If a container's type or a leaf's dtype differs; it names the leaf.
    """
    try:
        tf.nest.assert_same_structure(value, spec)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{what}: its structure differs from the spec's: expected {_structure(spec)}, got {_structure(value)}"
        ) from None
    leaves = tf.nest.flatten(value)
    for path, leaf, leaf_spec in zip(paths(spec), leaves, tf.nest.flatten(spec), strict=True):
        where = f"{what}{path}"
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or tf.as_dtype(dtype) != leaf_spec.dtype:
            got = type(leaf).__name__ if dtype is None else tf.as_dtype(dtype).name
            raise TypeError(f"{where}: expected dtype {leaf_spec.dtype.name}, got {got}")
        shape = tf.TensorShape(leaf.shape)
        rank = leaf_spec.shape.rank
        if shape.rank is None or rank is None:
            continue
        outer = shape.rank - rank
        if num_outer_dims is None:
            num_outer_dims = outer
        if outer != num_outer_dims or outer < 0 or not shape[outer:].is_compatible_with(leaf_spec.shape):
            raise ValueError(
                f"{where}: expected {num_outer_dims} outer dimensions and then {leaf_spec.shape}, got {shape}"
            )
    return num_outer_dims or 0


def _structure(nest: Any) -> str:
    return str(tf.nest.map_structure(lambda _: ".", nest)).replace("'.'", ".")
