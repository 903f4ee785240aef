"""Functions that read variables of a SavedModel or checkpoint by their place in the saved object."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from distpolicy.errors import CheckpointError

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


def variables_prefix(folder: str | os.PathLike[str]) -> str:
    """Returns the prefix of the variables' files in a SavedModel's folder."""
    return os.path.join(os.fspath(folder), tf.saved_model.VARIABLES_DIRECTORY, tf.saved_model.VARIABLES_FILENAME)


def read_variables(folder: str | os.PathLike[str], paths: list[str]) -> list[np.ndarray]:
    """Reads the values of variables in ``folder/variables``.

    Args:
        folder: Folder that ``PolicySaver.save`` or ``PolicySaver.save_checkpoint`` wrote, here or in TF-Agents.
        paths: For each variable, the attributes that lead to it from the policy, such as ``model_variables/0``.

    Returns:
        One array for each path.

    Raises:
        CheckpointError: If the folder does not hold a checkpoint, the checkpoint is damaged, or it lacks a variable.
    """
    try:
        reader = tf.train.load_checkpoint(variables_prefix(folder))
        keys = _checkpoint_keys(reader)
        missing = [path for path in paths if path not in keys]
        if missing:
            raise CheckpointError(f"{folder} holds no {missing[0]}; give a checkpoint of the same policy")
        return [np.asarray(reader.get_tensor(keys[path])) for path in paths]
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
        # TensorFlow's readers raise any of these for files that are missing, truncated or changed.
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder} holds no checkpoint that can be read: {first_line}") from error


def tensor_shapes(folder: str | os.PathLike[str]) -> dict[str, tuple[list[int], tf.DType]]:
    """Returns the shape and dtype of each tensor in ``folder/variables`` by its key.

    Raises:
        CheckpointError: If the folder does not hold a checkpoint, or the checkpoint is damaged.
    """
    read_variables(folder, [])
    reader = tf.train.load_checkpoint(variables_prefix(folder))
    dtypes = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    return {key: (shape, dtypes[key]) for key, shape in shapes.items() if key != _GRAPH_KEY}


def _checkpoint_keys(reader: Any) -> dict[str, str]:
    """Returns the keys of all variables up to two attributes below the policy, by the attributes' names."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_GRAPH_KEY))
    # The policy is the root of a SavedModel, but a child of the root in a checkpoint.
    policy = _children(graph, 0).get("policy", 0)
    if "model_variables" not in _children(graph, policy):
        policy = 0
    keys = {}
    for name, node in _children(graph, policy).items():
        below = {f"{name}/{child}": place for child, place in _children(graph, node).items()}
        for path, place in {name: node, **below}.items():
            for attribute in graph.nodes[place].attributes:
                keys[path] = attribute.checkpoint_key
    return keys


def _children(graph: Any, node: int) -> dict[str, int]:
    return {child.local_name: child.node_id for child in graph.nodes[node].children}
