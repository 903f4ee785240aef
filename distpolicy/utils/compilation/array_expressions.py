"""ArrayExpression: a value that follows from variables or inputs, computed by NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ArrayOperation:
    """One step of an expression.

    Attributes:
        kind: TensorFlow's name of the operation, or ``Variable``.
        inputs: For each input, the operation's index and which of its outputs is meant.
        value: The array of a ``Const``, or the path of a ``Variable``.
        attributes: Settings of the operation.
    """

    kind: str
    inputs: tuple[tuple[int, int], ...] = ()
    value: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArrayExpression:
    """Values that follow from variables: what a program's parameters are made of, or what it takes of its inputs.

    Results equal TensorFlow's except for rounding.

    Attributes:
        operations: The steps; each one's inputs come before it.
        results: The parameters: each one's operation and which of its outputs is meant.
    """

    operations: tuple[ArrayOperation, ...]
    results: tuple[tuple[int, int], ...]

    def __call__(self, variables: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns the results.

        Args:
            variables: The variables' values by path.
        """
        found: list[tuple[np.ndarray, ...]] = []
        # As in TensorFlow: a variance of 0 may give infinity, which a later step leaves out.
        with np.errstate(all="ignore"):
            for operation in self.operations:
                inputs = [found[index][output] for index, output in operation.inputs]
                if operation.kind == "Variable":
                    found.append((variables[operation.value],))
                elif operation.kind == "Const":
                    found.append((operation.value,))
                else:
                    result = OPERATIONS[operation.kind](operation.attributes, *inputs)
                    found.append(result if isinstance(result, tuple) else (np.asarray(result),))
        return [found[index][output] for index, output in self.results]


class BoundExpression:
    """An expression for calls at every step. The values of all variables but a few are fixed.

    Args:
        expression: The expression, in which every operation has one output.
        fixed: The values of the fixed variables by path.
        inputs: Paths of the others.
    """

    def __init__(self, expression: ArrayExpression, fixed: Mapping[str, np.ndarray], inputs: Sequence[str]) -> None:
        self._values: list[Any] = []
        self._inputs = [-1] * len(inputs)
        self._steps: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        for place, operation in enumerate(expression.operations):
            value = None
            if operation.kind == "Const":
                value = operation.value
            elif operation.kind == "Variable" and operation.value in fixed:
                value = fixed[operation.value]
            elif operation.kind == "Variable":
                self._inputs[inputs.index(operation.value)] = place
            else:
                sources = tuple(index for index, _ in operation.inputs)
                function = OPERATIONS[operation.kind]
                # Called without the settings that it ignores, since a call costs as much as the arithmetic.
                bound = function.function if isinstance(function, _Plain) else partial(function, operation.attributes)
                self._steps.append((place, bound, sources))
            self._values.append(value)
        self._results = [index for index, _ in expression.results]

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the results.

        Args:
            values: The values of the variables that are not fixed.
        """
        found = self._values
        for place, value in zip(self._inputs, values, strict=True):
            found[place] = value
        with np.errstate(all="ignore"):
            for place, function, sources in self._steps:
                found[place] = function(*[found[index] for index in sources])
        return [found[index] for index in self._results]


_Operation = Callable[..., Any]


class _Plain:
    """An operation without settings."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, attributes: Mapping[str, Any], *inputs: np.ndarray) -> Any:
        return self.function(*inputs)


def _rounded(function: Callable[..., Any]) -> _Operation:
    """Computes in float64 and rounds, so that the result is the nearest number of the input's dtype."""
    return lambda attributes, x: np.asarray(function(x.astype(np.float64))).astype(x.dtype)


def _reduction(function: Callable[..., Any]) -> _Operation:
    def reduced(attributes: Mapping[str, Any], x: np.ndarray, axes: np.ndarray) -> np.ndarray:
        keepdims = bool(attributes.get("keep_dims", False))
        return np.asarray(function(x, axis=tuple(int(axis) for axis in axes.reshape(-1)), keepdims=keepdims))

    return reduced


def _strided_slice(
    attributes: Mapping[str, Any], x: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray
) -> np.ndarray:
    index: list[Any] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):

        def has(name: str, bit: int = 1 << axis) -> bool:
            return bool(int(attributes.get(name, 0)) & bit)

        if has("ellipsis_mask"):
            index.append(Ellipsis)
        elif has("new_axis_mask"):
            index.append(np.newaxis)
        elif has("shrink_axis_mask"):
            index.append(int(first))
        else:
            index.append(
                slice(None if has("begin_mask") else int(first), None if has("end_mask") else int(last), int(step))
            )
    return np.asarray(x[tuple(index)])


def _squeeze(attributes: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    axes = tuple(attributes.get("squeeze_dims", ()))
    return np.squeeze(x, axis=axes or None)


OPERATIONS: dict[str, _Operation] = {
    "Identity": _Plain(lambda x: x),
    "StopGradient": _Plain(lambda x: x),
    "Cast": lambda attributes, x: x.astype(attributes["DstT"]),
    "Add": _Plain(np.add),
    "AddV2": _Plain(np.add),
    "Sub": _Plain(np.subtract),
    "Mul": _Plain(np.multiply),
    "RealDiv": _Plain(np.true_divide),
    "Maximum": _Plain(np.maximum),
    "Minimum": _Plain(np.minimum),
    "Neg": _Plain(np.negative),
    "Abs": _Plain(np.abs),
    "Square": _Plain(np.square),
    "SquaredDifference": _Plain(lambda x, y: np.square(x - y)),
    "Sqrt": _Plain(np.sqrt),
    "Rsqrt": _Plain(lambda x: 1 / np.sqrt(x)),
    "Reciprocal": _Plain(lambda x: 1 / x),
    "Exp": _rounded(np.exp),
    "Log": _rounded(np.log),
    "Log1p": _rounded(np.log1p),
    "Expm1": _rounded(np.expm1),
    "Tanh": _rounded(np.tanh),
    "Sigmoid": _rounded(lambda x: 1 / (1 + np.exp(-x))),
    "Softplus": _rounded(lambda x: np.logaddexp(x, 0.0)),
    "Pow": _Plain(np.power),
    "Greater": _Plain(np.greater),
    "GreaterEqual": _Plain(np.greater_equal),
    "Less": _Plain(np.less),
    "LessEqual": _Plain(np.less_equal),
    "Equal": _Plain(np.equal),
    "NotEqual": _Plain(np.not_equal),
    "LogicalAnd": _Plain(np.logical_and),
    "LogicalOr": _Plain(np.logical_or),
    "LogicalNot": _Plain(np.logical_not),
    "SelectV2": _Plain(np.where),
    "Sum": _reduction(np.sum),
    "Mean": _reduction(np.mean),
    "Max": _reduction(np.max),
    "Min": _reduction(np.min),
    "Prod": _reduction(np.prod),
    "MatMul": lambda attributes, x, y: (
        (x.T if attributes.get("transpose_a") else x) @ (y.T if attributes.get("transpose_b") else y)
    ),
    "Shape": lambda attributes, x: np.asarray(x.shape, attributes.get("out_type", np.int32)),
    "Reshape": _Plain(lambda x, shape: np.reshape(x, tuple(shape))),
    "Squeeze": _squeeze,
    "ExpandDims": _Plain(lambda x, axis: np.expand_dims(x, int(np.reshape(axis, ())))),
    "Fill": _Plain(lambda dims, value: np.full(tuple(dims), value)),
    "ZerosLike": _Plain(np.zeros_like),
    "OnesLike": _Plain(np.ones_like),
    "BroadcastTo": _Plain(lambda x, shape: np.broadcast_to(x, tuple(shape)).copy()),
    "Tile": _Plain(np.tile),
    "Transpose": _Plain(lambda x, order: np.ascontiguousarray(np.transpose(x, tuple(order)))),
    "Pack": lambda attributes, *parts: np.stack(parts, int(attributes.get("axis", 0))),
    "ConcatV2": lambda attributes, *parts: np.concatenate(parts[:-1], int(parts[-1])),
    "Split": lambda attributes, axis, x: tuple(np.split(x, int(attributes["num_split"]), int(axis))),
    "StridedSlice": _strided_slice,
}

# The operations with one output that give each row of a batch the same bytes, whatever the batch is. Sums and the like
# do so along other axes than the rows'.
ROW_OPERATIONS = frozenset(OPERATIONS) - {"MatMul", "Split"}
