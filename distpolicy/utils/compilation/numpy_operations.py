"""The parts of a graph that NumPy computes, because LiteRT does not have their operations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import tensorflow as tf

from distpolicy.utils.compilation.array_expressions import ROW_OPERATIONS, ArrayExpression, ArrayOperation
from distpolicy.utils.compilation.graph_expression import attributes_of
from distpolicy.utils.compilation.litert_program import NumpyPart, Source, TakenArray

# What LiteRT can do with float64.
_MOVES = frozenset({"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "StopGradient"})
# What NumPy does not compute before LiteRT: it takes longer, or adds in another order than TensorFlow.
_NOT_BEFORE = frozenset({"Max", "Mean", "Min", "Prod", "Sum"})


class NumpyOperations:
    """Finds the operations that NumPy computes: arithmetic in float64.

    Args:
        operations: All operations of the graph; each one's inputs come before it.
        dependent: Names of the operations that depend on an input.
        inputs: Names of the inputs' operations.

    Attributes:
        before: Names of the operations that NumPy computes out of inputs alone, before LiteRT runs.
        after: Names of the operations that NumPy computes of what LiteRT has computed. Empty if NumPy cannot compute
            one of them.
    """

    def __init__(self, operations: Sequence[tf.Operation], dependent: Collection[str], inputs: Collection[str]) -> None:
        self._inputs = set(inputs)
        self._operations = [item for item in operations if item.name in dependent and item.name not in self._inputs]
        self._sources = {
            item.name: {tensor.op.name for tensor in item.inputs} & set(dependent) for item in self._operations
        }
        # What NumPy can compute out of inputs.
        self._possible: set[str] = set()
        self.before = self._found_before()
        self.after = self._found_after()

    def _found_before(self) -> set[str]:
        found: set[str] = set()
        for operation in self._operations:
            sources, kind = self._sources[operation.name], operation.type
            if kind not in ROW_OPERATIONS - _NOT_BEFORE or not sources <= self._possible | self._inputs:
                continue
            self._possible.add(operation.name)
            # A move after arithmetic stays in NumPy, so that what LiteRT gets is float32.
            if _is_float64(operation) and (kind not in _MOVES or sources <= found):
                found.add(operation.name)
        # With all that they take.
        stack = list(found)
        while stack:
            more = self._sources[stack.pop()] - self._inputs - found
            found |= more
            stack += more
        return found

    def _found_after(self) -> set[str]:
        found: set[str] = set()
        for operation in self._operations:
            sources = self._sources[operation.name]
            if operation.name in self.before:
                continue
            after_litert = bool(sources - self._possible - self._inputs)
            if not sources & found and not (_is_float64(operation) and after_litert):
                continue
            if operation.type not in ROW_OPERATIONS:
                return set()
            found.add(operation.name)
        return found


def _is_float64(operation: tf.Operation) -> bool:
    return any(tensor.dtype == tf.float64 for tensor in (*operation.inputs, *operation.outputs))


def numpy_part(results: Sequence[tf.Tensor], source_of: Callable[[tf.Tensor], Source | None]) -> NumpyPart:
    """Returns what NumPy computes.

    Args:
        results: The tensors to compute.
        source_of: Returns where a tensor comes from; None if it is computed here. Constants are not asked for.
    """
    operations: list[ArrayOperation] = []
    places: dict[str, int] = {}
    arrays: list[TakenArray] = []
    parameters: list[int] = []

    def place_of(tensor: tf.Tensor) -> int:
        if tensor.name not in places:
            made = operation_of(tensor)
            places[tensor.name] = len(operations)
            operations.append(made)
        return places[tensor.name]

    def operation_of(tensor: tf.Tensor) -> ArrayOperation:
        operation = tensor.op
        if operation.type == "Const":
            return ArrayOperation("Const", value=tf.make_ndarray(operation.get_attr("value")))
        source = source_of(tensor)
        if source is None:
            taken = tuple((place_of(item), 0) for item in operation.inputs)
            return ArrayOperation(operation.type, taken, attributes=attributes_of(operation.node_def))
        kind, place = source
        if kind == "parameter":
            parameters.append(place)
            return ArrayOperation("Variable", value=f"p{place}")
        name = f"{kind}{place}"
        arrays.append(TakenArray(name, source, tuple(tensor.shape), np.dtype(tensor.dtype.as_numpy_dtype)))
        return ArrayOperation("Variable", value=name)

    found = tuple((place_of(tensor), 0) for tensor in results)
    return NumpyPart(ArrayExpression(tuple(operations), found), tuple(arrays), tuple(parameters))
