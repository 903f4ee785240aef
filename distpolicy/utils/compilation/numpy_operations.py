"""The part of a graph that NumPy computes, because LiteRT does not have its operations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import tensorflow as tf

from distpolicy.utils.compilation.array_expressions import ROW_OPERATIONS, ArrayExpression, ArrayOperation
from distpolicy.utils.compilation.graph_expression import attributes_of
from distpolicy.utils.compilation.litert_program import Prelude

# What LiteRT can do with float64.
_MOVES = frozenset({"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "StopGradient"})


def numpy_operations(
    operations: Sequence[tf.Operation], dependent: Collection[str], inputs: Collection[str]
) -> set[str]:
    """Returns the names of the operations that NumPy computes: arithmetic in float64, and what that takes.

    Operations that NumPy cannot compute are not among them, nor those that take their results.

    Args:
        operations: All operations of the graph; each one's inputs come before it.
        dependent: Names of the operations that depend on an input.
        inputs: Names of the inputs' operations.
    """
    possible: set[str] = set()
    found: set[str] = set()
    for operation in operations:
        sources = {tensor.op.name for tensor in operation.inputs} & set(dependent)
        name = operation.name
        if name not in dependent or name in inputs or operation.type not in ROW_OPERATIONS:
            continue
        if not sources <= possible | set(inputs):
            continue
        possible.add(name)
        if not _is_float64(operation):
            continue
        # A move after arithmetic stays in NumPy, so that what LiteRT gets is float32.
        if operation.type not in _MOVES or sources <= found:
            found.add(name)
    by_name = {operation.name: operation for operation in operations}
    stack = list(found)
    while stack:
        for tensor in by_name[stack.pop()].inputs:
            source = tensor.op.name
            if source in dependent and source not in inputs and source not in found:
                found.add(source)
                stack.append(source)
    return found


def _is_float64(operation: tf.Operation) -> bool:
    return any(tensor.dtype == tf.float64 for tensor in (*operation.inputs, *operation.outputs))


def prelude_of(
    results: Sequence[tf.Tensor],
    inputs: Sequence[tf.Tensor],
    dependent: Collection[str],
    parameter: Callable[[tf.Tensor], int],
) -> Prelude:
    """Returns what NumPy computes.

    Args:
        results: The tensors to compute.
        inputs: The function's inputs.
        dependent: Names of the operations that depend on an input.
        parameter: Returns the place of a tensor among the parameters.
    """
    input_places = {tensor.op.name: place for place, tensor in enumerate(inputs)}
    operations: list[ArrayOperation] = []
    places: dict[str, int] = {}
    taken_inputs: list[int] = []
    taken_parameters: list[int] = []

    def place_of(tensor: tf.Tensor) -> int:
        if tensor.name not in places:
            made = operation_of(tensor)
            places[tensor.name] = len(operations)
            operations.append(made)
        return places[tensor.name]

    def operation_of(tensor: tf.Tensor) -> ArrayOperation:
        operation = tensor.op
        if operation.name in input_places:
            taken_inputs.append(input_places[operation.name])
            return ArrayOperation("Variable", value=f"x{taken_inputs[-1]}")
        if operation.type == "Const":
            return ArrayOperation("Const", value=tf.make_ndarray(operation.get_attr("value")))
        if operation.name not in dependent:
            taken_parameters.append(parameter(tensor))
            return ArrayOperation("Variable", value=f"p{taken_parameters[-1]}")
        sources = tuple((place_of(item), 0) for item in operation.inputs)
        return ArrayOperation(operation.type, sources, attributes=attributes_of(operation.node_def))

    found = tuple((place_of(tensor), 0) for tensor in results)
    kinds = [(tuple(inputs[place].shape), np.dtype(inputs[place].dtype.as_numpy_dtype)) for place in taken_inputs]
    return Prelude(
        ArrayExpression(tuple(operations), found),
        tuple((place, *kind) for place, kind in zip(taken_inputs, kinds, strict=True)),
        tuple(taken_parameters),
    )
