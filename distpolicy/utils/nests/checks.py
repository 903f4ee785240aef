"""Checks of nests against each other and against specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from distpolicy.utils.nests.array_nest import paths
from distpolicy.utils.nests.pruning import prune_extra_keys


def assert_same_structure(
    nest1: Any,
    nest2: Any,
    check_types: bool = True,
    expand_composites: bool = False,
    allow_shallow_nest1: bool = False,
    message: str | None = None,
) -> None:
    """Checks that two nests have the same structure. The error message says where they differ.

    Args:
        nest1: A nest.
        nest2: Another nest.
        check_types: Whether containers must also have the same type.
        expand_composites: Whether composite tensors count as nests of their parts.
        allow_shallow_nest1: Whether a leaf of ``nest1`` may stand for a whole nest in ``nest2``.
        message: Beginning of the error message.

    Raises:
        ValueError: If lengths, keys or depths differ.
        TypeError: If ``check_types`` and the type of a container differs.
    """
    try:
        if allow_shallow_nest1:
            _assert_shallow(nest1, nest2, check_types, expand_composites)
        else:
            tf.nest.assert_same_structure(nest1, nest2, check_types, expand_composites)
    except (TypeError, ValueError) as error:
        # A subclass of these errors might not take a message as its only argument.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{message or 'the structures do not match'}: {describe_difference(nest1, nest2)}") from None


def _assert_shallow(nest1: Any, nest2: Any, check_types: bool, expand_composites: bool) -> None:
    if not tf.nest.is_nested(nest1):
        return
    if not tf.nest.is_nested(nest2):
        raise TypeError
    children1, children2 = _children(nest1), _children(nest2)
    # Only one level is compared at a time, with leaves in place of the levels below.
    tf.nest.assert_same_structure(_level(nest1, children1), _level(nest2, children2), check_types, expand_composites)
    for child1, child2 in zip(children1.values(), children2.values(), strict=True):
        _assert_shallow(child1, child2, check_types, expand_composites)


def _children(nest: Any) -> dict[Any, Any]:
    if isinstance(nest, Mapping):
        return {key: nest[key] for key in sorted(nest)}
    return dict(zip(getattr(nest, "_fields", range(len(nest))), nest, strict=True))


def _level(nest: Any, children: dict[Any, Any]) -> Any:
    if isinstance(nest, Mapping):
        return dict.fromkeys(children, 0)
    return type(nest)(*[0] * len(children)) if hasattr(nest, "_fields") else type(nest)([0] * len(children))


def describe_difference(nest: Any, expected: Any, path: str = "") -> str:
    """Returns a text that says where two nests first differ, and what each has there."""
    at = f"at {path}" if path else "at the top"
    if tf.nest.is_nested(nest) and tf.nest.is_nested(expected):
        children, wanted = _children(nest), _children(expected)
        if _kind(nest) == _kind(expected) and list(children) == list(wanted):
            for key in wanted:
                below = describe_difference(children[key], wanted[key], f"{path}/{key}")
                if below:
                    return below
            return ""
    elif not tf.nest.is_nested(nest) and not tf.nest.is_nested(expected):
        return ""
    return f"{at}: got {_describe(nest)}, expected {_describe(expected)}"


def _kind(nest: Any) -> Any:
    if isinstance(nest, Mapping):
        return dict
    if hasattr(nest, "_fields"):
        return type(nest).__name__, nest._fields
    return list if isinstance(nest, list) else tuple


def _describe(nest: Any) -> str:
    if not tf.nest.is_nested(nest):
        return "a leaf"
    kind, children = _kind(nest), _children(nest)
    if kind is dict:
        return f"a dict with keys {list(children)}"
    if isinstance(kind, tuple):
        return f"a {kind[0]}{tuple(children)}"
    return f"a {kind.__name__} of length {len(children)}"


def assert_matches_spec(value: Any, spec: Any, what: str, num_outer_dims: int | None = None) -> int:
    """Checks the structure, dtypes and shapes of a nest.

    Args:
        value: Nest of tensors or arrays.
        spec: Nest of tensor specs.
        what: Name of the value in messages.
        num_outer_dims: Number of dimensions before each spec's shape; None to take it from the first leaf.

    Returns:
        The number of outer dimensions.

    Raises:
        ValueError: If the structure or a leaf's shape differs. The message names the leaf.
        TypeError: If a container's type or a leaf's dtype differs. The message names the leaf.
    """
    assert_same_structure(value, spec, message=f"{what}: its structure differs from the spec's")
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
            # The number is negative if the first leaf has too few dimensions.
            raise ValueError(
                f"{where}: expected {max(num_outer_dims, 0)} outer dimensions and then {leaf_spec.shape}, got {shape}"
            )
    return num_outer_dims or 0


def spec_shape(t: Any) -> tf.TensorShape:
    """Returns the shape of a tensor spec or tensor."""
    return tf.TensorShape(t.shape)


def get_outer_rank(tensors: Any, specs: Any) -> int:
    """Returns the number of dimensions before the specs' shapes; 0 for an empty nest.

    Args:
        tensors: Nest of tensors, arrays or specs ``[..., *shape]``.
        specs: Nest of tensor specs.

    Raises:
        ValueError: If structures, inner shapes or the leaves' numbers of outer dimensions differ. The message names the
            leaf.
        TypeError: If the type of a container differs.
    """
    assert_same_structure(tensors, specs, message="tensors and specs differ in structure")
    num_outer_dims: int | None = None
    for where, tensor, spec in _leaf_pairs(tensors, specs):
        shape, inner = tf.TensorShape(tensor.shape), spec_shape(spec)
        if shape.rank is None or inner.rank is None:
            raise ValueError(f"{where}: the rank must be known, but its shape is {shape} and its spec's is {inner}")
        outer = shape.rank - inner.rank
        if num_outer_dims is None:
            num_outer_dims = outer
        if outer < 0 or outer != num_outer_dims or not shape[outer:].is_compatible_with(inner):
            # The number is negative if the first leaf has too few dimensions.
            expected = max(num_outer_dims, 0)
            raise ValueError(f"{where}: expected {expected} outer dimensions and then {inner}, got {shape}")
    return num_outer_dims or 0


def is_batched_nested_tensors(
    tensors: Any, specs: Any, num_outer_dims: int = 1, allow_extra_fields: bool = False, check_dtypes: bool = True
) -> bool:
    """Returns True if the leaves have ``num_outer_dims`` dimensions before their specs' shapes, False if fewer.

    Args:
        tensors: Nest of tensors or arrays.
        specs: Nest of tensor specs.
        num_outer_dims: Number of batch dimensions.
        allow_extra_fields: Whether dicts may have keys that the specs lack.
        check_dtypes: Whether dtypes are compared, too.

    Returns:
        Whether the nest is batched; False for an empty nest.

    Raises:
        ValueError: If structures or shapes do not match, there are more outer dimensions, or the leaves' numbers of
            outer dimensions differ.
        TypeError: If dtypes differ.
    """
    if allow_extra_fields:
        tensors = prune_extra_keys(specs, tensors)
    assert_same_structure(tensors, specs, message="tensors and specs differ in structure")
    if check_dtypes:
        for where, tensor, spec in _leaf_pairs(tensors, specs):
            if tf.as_dtype(tensor.dtype) != tf.as_dtype(spec.dtype):
                raise TypeError(f"{where}: expected dtype {_dtype_name(spec)}, got {_dtype_name(tensor)}")
    outer = get_outer_rank(tensors, specs)
    if outer > num_outer_dims:
        raise ValueError(f"the tensors have {outer} outer dimensions; expected at most {num_outer_dims}")
    return bool(tf.nest.flatten(specs)) and outer == num_outer_dims


def assert_matching_dtypes_and_inner_shapes(
    tensors_or_specs: Any,
    specs: Any,
    caller: Any,
    tensors_name: str,
    specs_name: str,
    allow_extra_fields: bool = False,
) -> None:
    """Checks that leaves have their specs' dtypes, and shapes that end with their specs' shapes.

    Args:
        tensors_or_specs: Nest of tensors, arrays or specs.
        specs: Nest of tensor specs.
        caller: Name of the caller in messages.
        tensors_name: Name of ``tensors_or_specs`` in messages.
        specs_name: Name of ``specs`` in messages.
        allow_extra_fields: Whether dicts may have keys that the specs lack.

    Raises:
        ValueError: If structures, dtypes or shapes differ. The message names the leaf.
        TypeError: If the type of a container differs.
    """
    if allow_extra_fields:
        tensors_or_specs = prune_extra_keys(specs, tensors_or_specs)
    assert_same_structure(
        tensors_or_specs, specs, message=f"{caller}: {tensors_name} and {specs_name} differ in structure"
    )
    for where, tensor, spec in _leaf_pairs(tensors_or_specs, specs, tensors_name):
        shape, inner = tf.TensorShape(tensor.shape), spec_shape(spec)
        fits = shape.rank is None or inner.rank is None
        if not fits:
            fits = shape.rank >= inner.rank and shape[shape.rank - inner.rank :].is_compatible_with(inner)
        if not fits or tf.as_dtype(tensor.dtype) != tf.as_dtype(spec.dtype):
            raise ValueError(
                f"{caller}: {where}: expected {_dtype_name(spec)} [..., *{inner}] as in {specs_name}, "
                f"got {_dtype_name(tensor)} {shape}"
            )


def assert_tensors_matching_dtypes_and_shapes(
    tensors_1: Any, tensors_2: Any, caller: Any, tensors_1_name: str, tensors_2_name: str
) -> None:
    """Checks that two nests of tensors have the same dtypes and compatible shapes.

    Raises:
        ValueError: If structures, dtypes or shapes differ. The message names the leaf.
        TypeError: If the type of a container differs.
    """
    assert_same_structure(
        tensors_1, tensors_2, message=f"{caller}: {tensors_1_name} and {tensors_2_name} differ in structure"
    )
    for where, one, other in _leaf_pairs(tensors_1, tensors_2, tensors_1_name):
        if tf.as_dtype(one.dtype) != tf.as_dtype(other.dtype) or not spec_shape(one).is_compatible_with(other.shape):
            raise ValueError(
                f"{caller}: {where}: got {_dtype_name(one)} {spec_shape(one)}, "
                f"but {tensors_2_name} has {_dtype_name(other)} {spec_shape(other)}"
            )


def flatten_and_check_shape_nested_specs(
    specs: Any, reference_specs: Any
) -> tuple[list[tf.TypeSpec], list[tf.TensorShape]]:
    """Returns the flat specs and the flat shapes of the reference specs, after checking that the shapes are equal.

    Raises:
        ValueError: If structures or shapes differ. The message names the leaf.
        TypeError: If the type of a container differs.
    """
    assert_same_structure(specs, reference_specs, message="specs and reference_specs differ in structure")
    for where, spec, reference in _leaf_pairs(specs, reference_specs):
        if not spec_shape(spec).is_compatible_with(spec_shape(reference)):
            raise ValueError(f"{where}: expected shape {spec_shape(reference)}, got {spec_shape(spec)}")
    return tf.nest.flatten(specs), [spec_shape(spec) for spec in tf.nest.flatten(reference_specs)]


def assert_value_spec(output_spec: Any, network_name: str) -> None:
    """Checks that a network's outputs are values, which are floats of shape ``()`` or ``(1,)``.

    Raises:
        ValueError: If an output is anything else.
    """
    for where, spec, _ in _leaf_pairs(output_spec, output_spec, network_name):
        if not spec.dtype.is_floating:
            raise ValueError(f"{where}: a value must be a float, but its spec is {spec}")
        if spec.shape.rank is None or spec.shape.as_list() not in ([], [1]):
            raise ValueError(f"{where}: a value must have shape () or (1,), but its spec is {spec}")


def _leaf_pairs(nest: Any, other: Any, what: str = "tensors") -> list[tuple[str, Any, Any]]:
    """Returns each leaf's path, the leaf and the other nest's leaf, for two nests with the same structure."""
    pairs = zip(paths(other), tf.nest.flatten(nest), tf.nest.flatten(other), strict=True)
    return [(f"{what}{path}", one, two) for path, one, two in pairs]


def _dtype_name(tensor_or_spec: Any) -> str:
    return tf.as_dtype(tensor_or_spec.dtype).name
