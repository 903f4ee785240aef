"""LiteRTFunction: a TensorFlow function as a LiteRT program.

For small networks most of a TensorFlow call is overhead; LiteRT's interpreter has almost none. Variables are not part
of the program. Values that depend only on variables (a weight, a normaliser's scale) are the program's parameters.
TensorFlow computes them when the variables change, and the program takes them as inputs that persist between calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.compilation.array_expressions import ArrayExpression
from distpolicy.utils.compilation.flat_call import FlatCall, flat_call
from distpolicy.utils.compilation.graph_expression import expression_of
from distpolicy.utils.compilation.litert_program import (
    SIGNATURE,
    LiteRTError,
    LiteRTProgram,
    LiteRTRunner,
    Source,
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

    Raises:
        LiteRTError: If LiteRT cannot be imported, or does not support the function.

    Attributes:
        program: The program, which a process without TensorFlow can run.
    """

    def __init__(self, function: Callable[..., Sequence[tf.Tensor]], input_specs: Sequence[tf.TensorSpec]) -> None:
        interpreter_class()
        concrete = tf.function(function, autograph=False).get_concrete_function(*input_specs)
        if any(op.type in _CALLS for op in concrete.graph.get_operations()):
            concrete = _inlined(concrete, input_specs)
        graph = _Graph(concrete, len(input_specs))
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


class _Graph:
    """The dependencies in a concrete function's graph."""

    def __init__(self, concrete: Any, num_inputs: int) -> None:
        self._concrete = concrete
        graph = concrete.graph
        self.inputs = concrete.inputs[:num_inputs]
        input_ops = {tensor.op.name for tensor in self.inputs}
        self._input_ops = input_ops
        # Operations that depend on an input; the others depend only on variables and constants.
        self._dependent: set[str] = set()
        for op in graph.get_operations():
            if op.op_def.is_stateful and op.type not in _HARMLESS:
                raise LiteRTError(f"its operation {op.type} draws random numbers or changes a state")
            if op.name in input_ops or any(tensor.op.name in self._dependent for tensor in op.inputs):
                self._dependent.add(op.name)
        self.frontier: list[tf.Tensor] = []
        self.fed: set[int] = set()
        self._nodes: set[str] = set()
        self.plan: list[Source] = []
        self.computed: list[tf.Tensor] = []
        for output in concrete.outputs:
            self.plan.append(self._source(output))
        for output in self.computed:
            self._walk(output.op)
        self.used = [place for place, tensor in enumerate(self.inputs) if tensor.op.name in self._nodes]

    def _source(self, output: tf.Tensor) -> Source:
        """Returns the operation and index that an output comes from."""
        while output.op.type == "Identity":  # which tf.function puts after each output
            output = output.op.inputs[0]
        if output.op.name in self._input_ops:
            return "input", [tensor.op.name for tensor in self.inputs].index(output.op.name)
        if output.op.name not in self._dependent:
            return "parameter", self._parameter(output)
        for place, tensor in enumerate(self.computed):
            if tensor is output:
                return "computed", place
        self.computed.append(output)
        return "computed", len(self.computed) - 1

    def _parameter(self, tensor: tf.Tensor) -> int:
        for place, known in enumerate(self.frontier):
            if known is tensor:
                return place
        if tensor.dtype in (tf.resource, tf.variant):
            raise LiteRTError(f"a variable is passed to {tensor.op.type}, such as a loop or a branch")
        self.frontier.append(tensor)
        return len(self.frontier) - 1

    def _walk(self, op: tf.Operation) -> None:
        """Collects the operations that outputs need, up to the inputs and the frontier of parameters."""
        stack = [op]
        while stack:
            op = stack.pop()
            if op.name in self._nodes:
                continue
            self._nodes.add(op.name)
            if op.name in self._input_ops:
                continue
            for tensor in op.inputs:
                if tensor.op.name in self._dependent:
                    stack.append(tensor.op)
                elif tensor.op.type == "Const":
                    self._nodes.add(tensor.op.name)
                else:
                    self.fed.add(self._parameter(tensor))

    @property
    def captures(self) -> dict[str, Any]:
        """The tensors that the graph takes from outside, such as variables' handles, by their operation's name."""
        inner = {inner.op.name: outer for outer, inner in self._concrete.graph.captures}
        return {name: outer for name, outer in inner.items() if name not in self._input_ops}

    @property
    def parameter_names(self) -> list[str]:
        """The parameters' names in the graph."""
        return [tensor.name for tensor in self.frontier]

    def parameter_graph(self) -> Any:
        """Returns the part of the graph that makes the parameters, as a GraphDef."""
        graph_def = self._concrete.graph.as_graph_def()
        return _cut(graph_def, {tensor.op.name for tensor in self.frontier}, set(self.captures))

    def parameter_function(self) -> FlatCall:
        """Returns a function without inputs that computes the parameters' values."""
        names = self.parameter_names
        if not names:
            return lambda inputs: []
        kept = self.parameter_graph()
        present = {node.name for node in kept.node}
        used = {name: outer for name, outer in self.captures.items() if name in present}
        for node in [node for node in kept.node if node.name in used]:
            kept.node.remove(node)

        def parameters() -> list[tf.Tensor]:
            mapped = {f"{name}:0": tf.identity(outer) for name, outer in used.items()}
            return tf.graph_util.import_graph_def(kept, input_map=mapped, return_elements=names, name="")

        return flat_call(tf.function(parameters, autograph=False).get_concrete_function(), [])

    def program(self) -> Any:
        """Returns a concrete function from the used inputs ``x<i>`` and the parameters ``p<i>`` to outputs ``y<i>``."""
        graph_def = self._concrete.graph.as_graph_def()
        kept = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
        for node in graph_def.node:
            if node.name in self._nodes and node.name not in self._input_ops:
                _add(kept, node)
        specs = {f"x{i}": tf.TensorSpec(self.inputs[i].shape, self.inputs[i].dtype, f"x{i}") for i in self.used}
        fed = {i: self.frontier[i] for i in sorted(self.fed)}
        specs |= {f"p{i}": tf.TensorSpec(tensor.shape, tensor.dtype, f"p{i}") for i, tensor in fed.items()}

        def program(**given: tf.Tensor) -> dict[str, tf.Tensor]:
            mapped = {self.inputs[i].name: given[f"x{i}"] for i in self.used}
            mapped |= {tensor.name: given[f"p{i}"] for i, tensor in fed.items()}
            names = [tensor.name for tensor in self.computed]
            found = tf.graph_util.import_graph_def(kept, input_map=mapped, return_elements=names, name="")
            return {f"y{i}": tensor for i, tensor in enumerate(found)}

        return tf.function(program, autograph=False).get_concrete_function(**specs)


_HARMLESS = frozenset({"Assert", "Placeholder", "ReadVariableOp"})


def _cut(graph_def: Any, targets: set[str], stops: set[str]) -> Any:
    """Returns the part of a graph that the named nodes need, without control inputs."""
    nodes = {node.name: node for node in graph_def.node}
    kept: set[str] = set()
    stack = list(targets)
    while stack:
        name = stack.pop()
        if name not in kept:
            kept.add(name)
            if name not in stops:
                stack.extend(_node_name(item) for item in nodes[name].input if not item.startswith("^"))
    part = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name in kept:
            _add(part, node)
    return part


def _add(graph_def: Any, node: Any) -> None:
    """Adds a copy of a node, without its control inputs."""
    copy = graph_def.node.add()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(item for item in node.input if not item.startswith("^"))


def _node_name(name: str) -> str:
    return name.split(":")[0]


# The converter writes a SavedModel into the folder of temporary files. If that fails, it converts the graph without its
# signature, and says nothing.
_ATTEMPTS = 3


def _program(graph: _Graph) -> LiteRTProgram:
    if not graph.computed:
        return LiteRTProgram(None, (), (), 0, tuple(graph.plan))
    for _ in range(_ATTEMPTS):
        content, interpreter = _converted(graph)
        if SIGNATURE in interpreter.get_signature_list():
            places = input_places(interpreter)
            return LiteRTProgram(
                content,
                tuple((place, f"x{place}") for place in graph.used if f"x{place}" in places),
                tuple((place, f"p{place}") for place in range(len(graph.frontier)) if f"p{place}" in places),
                len(graph.computed),
                tuple(graph.plan),
            )
    raise LiteRTError(
        "LiteRT's converter left out the names of inputs and outputs; it does so if it cannot write into the folder of "
        "temporary files"
    )


def _converted(graph: _Graph) -> tuple[bytes, Any]:
    """Returns the flatbuffer, and an interpreter of it."""
    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.program()], tf.Module())
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
