"""LiteRTFunction: a TensorFlow function as a LiteRT program.

For small networks most of a TensorFlow call is overhead; LiteRT's interpreter has almost none. Variables are not part
of the program. Values that depend only on variables (a weight, a normaliser's scale) are the program's parameters.
TensorFlow computes them when the variables change, and the program takes them as inputs that persist between calls.
Arithmetic in float64, which LiteRT does not have, is done by NumPy before the program runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.compilation.array_expressions import ArrayExpression
from distpolicy.utils.compilation.function_graph import FunctionGraph
from distpolicy.utils.compilation.graph_expression import expression_of
from distpolicy.utils.compilation.litert_program import (
    SIGNATURE,
    EmbeddedParameter,
    LiteRTError,
    LiteRTProgram,
    LiteRTRunner,
    input_places,
    interpreter_class,
    new_interpreter,
)
from distpolicy.utils.quiet import without_stderr


class LiteRTFunction:
    """Converts a function once for the given shapes. Calls take and return NumPy arrays.

    Args:
        function: Takes flat tensors and returns a list of tensors. It may read variables but not change them.
        input_specs: Specs of the inputs, without open dimensions.
        unused: Places of inputs that the outputs must not depend on, each with the error's message if they do.

    Raises:
        LiteRTError: If LiteRT cannot be imported, or does not support the function, or it depends on such an input.

    Attributes:
        program: The program, which a process without TensorFlow can run.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[tf.Tensor]],
        input_specs: Sequence[tf.TensorSpec],
        unused: Mapping[int, str] | None = None,
    ) -> None:
        interpreter_class()
        concrete = tf.function(function, autograph=False).get_concrete_function(*input_specs)
        if any(op.type in _CALLS for op in concrete.graph.get_operations()):
            concrete = _inlined(concrete, input_specs)
        graph = FunctionGraph(concrete, len(input_specs))
        for place, message in (unused or {}).items():
            if place in graph.needed_inputs:
                raise LiteRTError(message)
        # The graph holds only the variables' handles, so this reference keeps the variables alive.
        self._concrete, self._graph = concrete, graph
        self._parameters = graph.parameter_function()
        self.program = _program(graph)
        self._runner = LiteRTRunner(self.program, self.parameter_values())

    @property
    def needed_inputs(self) -> list[int]:
        """Places of the inputs that the outputs depend on. Other inputs may be None."""
        return self.program.needed_inputs

    def parameter_values(self, places: Sequence[int] | None = None) -> list[np.ndarray]:
        """Returns the parameters' values for the present values of the variables.

        Args:
            places: Which parameters; None for all.
        """
        values = self._parameters([])
        return [value.numpy() for value in (values if places is None else [values[place] for place in places])]

    def parameter_expression(self, paths: Mapping[int, str]) -> ArrayExpression:
        """Returns how the parameters follow from the variables, for a process without TensorFlow.

        Args:
            paths: The path of each variable by the ``id`` of its handle.

        Raises:
            LiteRTError: If they read another variable, or NumPy cannot compute them.
        """
        return expression_of(self._graph.parameter_graph(), self._graph.parameter_names, self._graph.captures, paths)

    def refresh(self) -> None:
        """Copies the present values of the variables."""
        self._runner.set_parameters(self.parameter_values())

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs, in new memory unless an output is an input or depends only on variables.

        Raises:
            ValueError: If a needed input has another shape or dtype.
        """
        return self._runner(inputs)


# The operations that call another function, such as one from a SavedModel, and pass variables to it.
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def _inlined(concrete: Any, input_specs: Sequence[tf.TensorSpec]) -> Any:
    """Returns the function with the functions that it calls inlined.

    This takes a private entry point of TensorFlow. Without it the function is returned unchanged.
    """
    try:
        from tensorflow.python.framework.convert_to_constants import _run_inline_graph_optimization as inline

        graph_def = inline(concrete, lower_control_flow=False, aggressive_inlining=True)
    except Exception:  # Other TensorFlow versions may fail in any way, since the entry point is private.
        return concrete
    captures = [(outer, inner.name) for outer, inner in concrete.graph.captures]
    inputs = [tensor.name for tensor in concrete.inputs[: len(input_specs)]]
    outputs = [tensor.name for tensor in concrete.outputs]
    owner = concrete  # it keeps the variables alive

    def function(*leaves: tf.Tensor) -> list[tf.Tensor]:
        mapped = dict(zip(inputs, leaves, strict=True))
        mapped |= {name: tf.identity(outer) for outer, name in captures if name not in mapped}
        return tf.graph_util.import_graph_def(graph_def, input_map=mapped, return_elements=outputs, name="")

    found = tf.function(function, autograph=False).get_concrete_function(*input_specs)
    found.distpolicy_owner = owner
    return found


# The converter writes a SavedModel into the folder of temporary files. If that fails, it converts the graph without its
# signature, and says nothing.
_ATTEMPTS = 3


def _program(graph: FunctionGraph) -> LiteRTProgram:
    if not graph.computed:
        return LiteRTProgram(None, graph.prelude, graph.coda, (), (), (), (), 0, tuple(graph.plan))
    constants = {place: _marks(graph.frontier[place], place) for place in sorted(graph.embedded)}
    for _ in range(_ATTEMPTS):
        content, interpreter = _converted(graph, constants)
        if SIGNATURE in interpreter.get_signature_list():
            places = input_places(interpreter)
            return LiteRTProgram(
                content,
                graph.prelude,
                graph.coda,
                tuple((place, f"n{place}") for place in sorted(graph.fed_prelude) if f"n{place}" in places),
                tuple((place, f"x{place}") for place in graph.used if f"x{place}" in places),
                tuple((place, f"p{place}") for place in range(len(graph.frontier)) if f"p{place}" in places),
                tuple(_embedded(content, place, marks) for place, marks in constants.items()),
                len(graph.computed),
                tuple(graph.plan),
            )
    raise LiteRTError(
        "LiteRT's converter left out the names of inputs and outputs; it does so if it cannot write into the folder of "
        "temporary files"
    )


def _marks(tensor: tf.Tensor, seed: int) -> np.ndarray:
    """Returns values that stand for a parameter's in the flatbuffer, and that nothing else there equals."""
    return np.random.default_rng(seed).normal(size=tensor.shape).astype(tensor.dtype.as_numpy_dtype)


def _embedded(content: bytes, place: int, marks: np.ndarray) -> EmbeddedParameter:
    """Returns where a parameter's values lie in the flatbuffer."""
    # As they are, or with the filters first.
    for axes in (tuple(range(marks.ndim)), (marks.ndim - 1, *range(marks.ndim - 1))):
        stored = marks.transpose(axes).tobytes()
        if content.count(stored) == 1:
            return EmbeddedParameter(place, content.index(stored), axes)
    raise LiteRTError("LiteRT's converter changes the weights of its layers")


def _converted(graph: FunctionGraph, constants: Mapping[int, np.ndarray]) -> tuple[bytes, Any]:
    """Returns the flatbuffer, and an interpreter of it."""
    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.program(constants)], tf.Module())
        # The converter's C++ code prints a line for each operation and call site; its error has all that matters.
        with without_stderr():
            content = bytes(converter.convert())
            return content, new_interpreter(content)
    except Exception as error:  # The converter raises many classes, among them one of its own.
        raise LiteRTError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Returns the line of the converter's error that says what is wrong."""
    missing = re.search(r"^TF Select ops: (.+)$", str(error), re.MULTILINE)
    if missing:
        return f"LiteRT does not have these operations for these dtypes: {missing.group(1)}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"LiteRT's converter failed: {lines[0][:300] if lines else type(error).__name__}"
