"""Changes to TensorFlow's graphs for converters that lack an operation or a dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def to_single_precision(graph_def: Any) -> None:
    """Changes a graph's float64 to float32: LiteRT has no other, and policies do not need it."""
    double, single = tf.float64.as_datatype_enum, tf.float32.as_datatype_enum
    for node in graph_def.node:
        for attribute in node.attr.values():
            if attribute.type == double:
                attribute.type = single
            for index, kind in enumerate(attribute.list.type):
                if kind == double:
                    attribute.list.type[index] = single
        if node.op == "Const" and node.attr["value"].tensor.dtype == double:
            value = tf.make_ndarray(node.attr["value"].tensor).astype(np.float32)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def without_broadcast_args(graph_def: Any) -> Any:
    """Returns a graph in which the broadcast shape of two shapes is the shape of a sum, as tf2onnx lacks the first.

    TensorFlow Probability computes batch shapes so.
    """
    changed = tf.compat.v1.GraphDef()
    changed.CopyFrom(graph_def)
    for node in [node for node in changed.node if node.op == "BroadcastArgs"]:
        shapes, kind = list(node.input), node.attr["T"].type
        zero = changed.node.add(name=f"{node.name}/zero", op="Const")
        zero.attr["dtype"].type = tf.float32.as_datatype_enum
        zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(0)))
        for index, shape in enumerate(shapes):
            fill = changed.node.add(name=f"{node.name}/filled_{index}", op="Fill", input=[shape, zero.name])
            fill.attr["T"].type, fill.attr["index_type"].type = tf.float32.as_datatype_enum, kind
        total = changed.node.add(name=f"{node.name}/sum", op="AddV2")
        total.input.extend(f"{node.name}/filled_{index}" for index in range(2))
        total.attr["T"].type = tf.float32.as_datatype_enum
        name = node.name
        node.Clear()
        node.name, node.op = name, "Shape"
        node.input.append(total.name)
        node.attr["T"].type, node.attr["out_type"].type = tf.float32.as_datatype_enum, kind
    return changed
