"""FunctionGraph: the parts of a function's graph that variables, NumPy and LiteRT compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.compilation.flat_call import FlatCall, flat_call
from distpolicy.utils.compilation.litert_program import LiteRTError, Source
from distpolicy.utils.compilation.numpy_operations import NumpyOperations, numpy_part


class FunctionGraph:
    """The dependencies in a concrete function's graph.

    Args:
        concrete: A concrete function of flat tensors.
        num_inputs: Number of its inputs; the others are what it captures.

    Raises:
        LiteRTError: If the function draws random numbers or changes a state, or passes a variable to another operation.

    Attributes:
        inputs: The inputs.
        frontier: The parameters: tensors that depend only on variables and constants, where others take them.
        fed: Places of the parameters that the flatbuffer takes.
        embedded: Places of the parameters that are constants of the flatbuffer: weights of layers.
        fed_prelude: Places of NumPy's results that the flatbuffer takes.
        used: Places of the inputs that the flatbuffer takes.
        computed: The outputs that the flatbuffer computes.
        plan: Where each output comes from.
        prelude: What NumPy computes before, out of inputs; None if nothing.
        coda: What NumPy computes after; None if nothing.
    """

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
        self._in_numpy = NumpyOperations(graph.get_operations(), self._dependent, input_ops)
        self._has_convolutions = any(op.type in _CONVOLUTIONS for op in graph.get_operations())
        self._prelude: list[tf.Tensor] = []
        self._coda: list[tf.Tensor] = []
        self.frontier: list[tf.Tensor] = []
        self.fed: set[int] = set()
        self.fed_prelude: set[int] = set()
        self._nodes: set[str] = set()
        self.plan: list[Source] = []
        self.computed: list[tf.Tensor] = []
        for output in concrete.outputs:
            self.plan.append(self._source(output))
        # What the last part takes, the parts before it have to compute.
        self.coda = numpy_part(self._coda, self._taken_by_coda) if self._coda else None
        for output in self.computed:
            self._walk(output.op)
        self.used = [place for place, tensor in enumerate(self.inputs) if tensor.op.name in self._nodes]
        self.embedded = self._constant_weights()
        self.fed -= self.embedded
        self.prelude = numpy_part(self._prelude, self._taken_by_prelude) if self._prelude else None

    def _source(self, output: tf.Tensor) -> Source:
        """Returns the operation and index that an output comes from."""
        while output.op.type == "Identity":  # which tf.function puts after each output
            output = output.op.inputs[0]
        if output.op.name in self._input_ops:
            return "input", [tensor.op.name for tensor in self.inputs].index(output.op.name)
        if output.op.name not in self._dependent:
            return "parameter", self._parameter(output)
        if output.op.name in self._in_numpy.before:
            return "prelude", _place_of(output, self._prelude)
        if output.op.name in self._in_numpy.after:
            return "coda", _place_of(output, self._coda)
        return "computed", _place_of(output, self.computed)

    def _taken_by_prelude(self, tensor: tf.Tensor) -> Source | None:
        if tensor.op.name in self._input_ops or tensor.op.name not in self._dependent:
            return self._source(tensor)
        return None

    def _taken_by_coda(self, tensor: tf.Tensor) -> Source | None:
        return None if tensor.op.name in self._in_numpy.after else self._source(tensor)

    def _parameter(self, tensor: tf.Tensor) -> int:
        if tensor.dtype in (tf.resource, tf.variant):
            raise LiteRTError(f"a variable is passed to {tensor.op.type}, such as a loop or a branch")
        return _place_of(tensor, self.frontier)

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
                if tensor.op.name in self._in_numpy.before:
                    self.fed_prelude.add(_place_of(tensor, self._prelude))
                elif tensor.op.name in self._dependent:
                    stack.append(tensor.op)
                elif tensor.op.type == "Const" and not (self._has_convolutions and op.type in _MERGED):
                    self._nodes.add(tensor.op.name)
                else:
                    self.fed.add(self._parameter(tensor))

    def _constant_weights(self) -> set[int]:
        """Returns the places of parameters that must be constants, so that LiteRT is as fast as it can be.

        It arranges constant weights once, and others in every call. For convolutions and the large dense layers after
        them this takes longer than the arithmetic.
        """
        if not self._has_convolutions:
            return set()
        operations = [self._concrete.graph.get_operation_by_name(name) for name in self._nodes]
        weights = [op.inputs[1] for op in operations if op.type in _CONVOLUTIONS | {"MatMul"}]
        return {self._parameter(item) for item in weights if item.op.name not in self._dependent} & self.fed

    @property
    def needed_inputs(self) -> set[int]:
        """Places of the inputs that the outputs depend on."""
        passed = {place for kind, place in self.plan if kind == "input"}
        taken = [place for part in (self.prelude, self.coda) if part is not None for place in part.inputs]
        return {*self.used, *passed, *taken}

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

    def program(self, constants: Mapping[int, np.ndarray]) -> Any:
        """Returns a concrete function that takes the used inputs ``x<i>``, ``n<i>`` and ``p<i>``, and returns ``y<i>``.

        ``n<i>`` are what NumPy has computed, and ``p<i>`` the parameters.

        Args:
            constants: The values of the embedded parameters by place.
        """
        graph_def = self._concrete.graph.as_graph_def()
        kept = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
        for node in graph_def.node:
            if node.name in self._nodes and node.name not in self._input_ops:
                _add(kept, node)
        specs = {f"x{i}": tf.TensorSpec(self.inputs[i].shape, self.inputs[i].dtype, f"x{i}") for i in self.used}
        made = {i: self._prelude[i] for i in sorted(self.fed_prelude)}
        specs |= {f"n{i}": tf.TensorSpec(tensor.shape, tensor.dtype, f"n{i}") for i, tensor in made.items()}
        fed = {i: self.frontier[i] for i in sorted(self.fed)}
        specs |= {f"p{i}": tf.TensorSpec(tensor.shape, tensor.dtype, f"p{i}") for i, tensor in fed.items()}

        def program(**given: tf.Tensor) -> dict[str, tf.Tensor]:
            mapped = {self.inputs[i].name: given[f"x{i}"] for i in self.used}
            mapped |= {tensor.name: given[f"n{i}"] for i, tensor in made.items()}
            mapped |= {tensor.name: given[f"p{i}"] for i, tensor in fed.items()}
            mapped |= {self.frontier[i].name: tf.constant(value) for i, value in constants.items()}
            names = [tensor.name for tensor in self.computed]
            found = tf.graph_util.import_graph_def(kept, input_map=mapped, return_elements=names, name="")
            return {f"y{i}": tensor for i, tensor in enumerate(found)}

        return tf.function(program, autograph=False).get_concrete_function(**specs)


def _place_of(tensor: tf.Tensor, known: list[tf.Tensor]) -> int:
    """Returns a tensor's place among the known ones, and adds it if it is not there."""
    for place, item in enumerate(known):
        if item is tensor:
            return place
    known.append(tensor)
    return len(known) - 1


_CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
# The converter would merge constants of these with the constant weights of a layer before or after. So they are
# parameters.
_MERGED = frozenset({"Add", "AddV2", "BiasAdd", "Div", "Mul", "RealDiv", "Sub"})
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
