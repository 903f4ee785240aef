"""expression_of: a part of a TensorFlow graph as an expression that NumPy computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.compilation.array_expressions import OPERATIONS, ArrayExpression, ArrayOperation
from distpolicy.utils.compilation.litert_program import LiteRTError


def expression_of(
    graph_def: Any, results: Sequence[str], captures: Mapping[str, Any], paths: Mapping[int, str]
) -> ArrayExpression:
    """Returns the expression that computes tensors of a graph.

    Args:
        graph_def: A GraphDef with all operations that the tensors need, in an order in which inputs come first.
        results: Names of the tensors.
        captures: The tensors that the graph takes from outside, by their operation's name.
        paths: The path of each variable by the ``id`` of its handle.

    Raises:
        LiteRTError: If the graph reads a variable without a path, or has an operation that is not known here.
    """
    nodes = _sorted(graph_def)
    changing = _changing(nodes, captures)
    constants = _constants(graph_def, nodes, changing, results, captures)
    operations: list[ArrayOperation] = []
    places: dict[str, int] = {}

    def place(name: str) -> tuple[int, int]:
        if name in constants:
            operations.append(ArrayOperation("Const", value=constants[name]))
            return len(operations) - 1, 0
        operation, _, output = name.partition(":")
        return places[operation], int(output or 0)

    for node in nodes:
        if node.name not in changing:
            continue
        if node.name in captures:
            operations.append(_variable(captures[node.name], paths))
        elif node.op == "ReadVariableOp" or node.op in OPERATIONS:
            inputs = tuple(place(name) for name in _inputs(node))
            kind = "Identity" if node.op == "ReadVariableOp" else node.op
            operations.append(ArrayOperation(kind, inputs, attributes=attributes_of(node)))
        else:
            raise LiteRTError(f"what it computes from its variables has the operation {node.op}")
        places[node.name] = len(operations) - 1
    found = tuple(place(_short(name)) for name in results)
    return ArrayExpression(tuple(operations), found)


def _variable(tensor: Any, paths: Mapping[int, str]) -> ArrayOperation:
    if id(tensor) not in paths:
        raise LiteRTError("it reads a variable that its named_variables() do not have")
    return ArrayOperation("Variable", value=paths[id(tensor)])


def _changing(nodes: Sequence[Any], captures: Mapping[str, Any]) -> set[str]:
    """Returns the names of the operations that depend on a variable."""
    found: set[str] = set()
    for node in nodes:
        is_variable = node.name in captures and captures[node.name].dtype == tf.resource
        if is_variable or any(name.split(":")[0] in found for name in _inputs(node)):
            found.add(node.name)
    return found


def _constants(
    graph_def: Any, nodes: Sequence[Any], changing: set[str], results: Sequence[str], captures: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Returns the values that do not depend on variables, and that results or operations take."""
    taken = [name for node in nodes if node.name in changing for name in _inputs(node)]
    wanted = {name for name in [*taken, *map(_short, results)] if name.split(":")[0] not in changing}
    given = {name: captures[name] for name in captures if name not in changing}
    found = {name: given[name].numpy() for name in wanted if name in given}
    names = sorted(wanted - set(found))
    kept = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    kept.node.extend(node for node in nodes if node.name not in changing and node.name not in given)
    used = {name for node in kept.node for name in _inputs(node) if name in given}

    def values() -> list[tf.Tensor]:
        inputs = {f"{name}:0": tf.identity(given[name]) for name in used}
        full = [name if ":" in name else f"{name}:0" for name in names]
        return tf.graph_util.import_graph_def(kept, input_map=inputs, return_elements=full, name="")

    if names:
        computed = tf.function(values, autograph=False)()
        found |= {name: value.numpy() for name, value in zip(names, computed, strict=True)}
    return found


def _inputs(node: Any) -> list[str]:
    """Returns the names of the tensors that an operation takes; the first output of an operation has its name."""
    return [_short(name) for name in node.input if not name.startswith("^")]


def _short(name: str) -> str:
    return name.removesuffix(":0")


def _sorted(graph_def: Any) -> list[Any]:
    """Returns the nodes so that each one's inputs come before it."""
    nodes = {node.name: node for node in graph_def.node}
    ordered: list[Any] = []
    done: set[str] = set()
    stack = [(name, False) for name in nodes]
    while stack:
        name, is_expanded = stack.pop()
        if name in done:
            continue
        if is_expanded:
            done.add(name)
            ordered.append(nodes[name])
            continue
        stack.append((name, True))
        inputs = [item.split(":")[0] for item in _inputs(nodes[name])]
        stack.extend((item, False) for item in inputs if item in nodes and item not in done)
    return ordered


def attributes_of(node: Any) -> dict[str, Any]:
    """Returns the settings of an operation that :class:`ArrayOperation` needs, from its NodeDef."""
    found: dict[str, Any] = {}
    for name, attribute in node.attr.items():
        kind = attribute.WhichOneof("value")
        if kind in ("i", "b"):
            found[name] = getattr(attribute, kind)
        elif kind == "type" and name in ("DstT", "out_type"):
            found[name] = tf.as_dtype(attribute.type).as_numpy_dtype
        elif kind == "list" and name == "squeeze_dims":
            found[name] = tuple(attribute.list.i)
    return found
