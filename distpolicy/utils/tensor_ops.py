"""Small operations on batches of tensors. As in TF-Agents, ``utils.common`` exports them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.trajectories.time_step import StepType, TimeStep


def replicate(tensor: Any, outer_shape: Any) -> tf.Tensor:
    """Repeats a tensor along new outer dimensions.

    Args:
        tensor: ``[*shape]``, a tensor or an array.
        outer_shape: The new dimensions: a list, an array or an integer tensor ``[num_outer_dims]``.

    Returns:
        ``[*outer_shape, *shape]``.

    Raises:
        ValueError: If ``outer_shape`` is not 1-D.
    """
    if not tf.is_tensor(outer_shape):
        outer_shape = np.asarray(outer_shape, np.int32) if np.size(outer_shape) == 0 else np.asarray(outer_shape)
    if len(outer_shape.shape) != 1:
        raise ValueError(f"outer_shape must be 1-D, such as [batch_size], but has shape {outer_shape.shape}")
    tensor = tf.convert_to_tensor(tensor)
    shape = tf.concat([tf.cast(outer_shape, tf.int32), tf.shape(tensor)], axis=0)
    return tf.broadcast_to(tensor, shape)


def index_with_actions(q_values: Any, actions: Any, multi_dim_actions: bool = False) -> tf.Tensor:
    """Returns the Q-values of the given actions.

    Args:
        q_values: ``[..., num_actions]``; with ``multi_dim_actions`` ``[..., num_1, ..., num_J]``.
        actions: Integers ``[...]``; with ``multi_dim_actions`` ``[..., J]``.
        multi_dim_actions: Whether an action has several elements.

    Returns:
        The values, ``[...]``.

    Raises:
        ValueError: If the actions' rank is unknown.
    """
    q_values, actions = tf.convert_to_tensor(q_values), tf.convert_to_tensor(actions)
    if actions.shape.rank is None:
        raise ValueError("index_with_actions: the rank of the actions must be known; call tf.ensure_shape on them")
    if not multi_dim_actions:
        actions = actions[..., tf.newaxis]
    return tf.gather_nd(q_values, actions, batch_dims=actions.shape.rank - 1)


def get_episode_mask(time_steps: TimeStep) -> tf.Tensor:
    """Returns float32 ``[...]``: 0 where a time step is LAST, 1 elsewhere."""
    return tf.cast(tf.not_equal(time_steps.step_type, StepType.LAST), tf.float32)


def transpose_batch_time(x: Any) -> tf.Tensor:
    """Transposes ``[B, T, ...]`` to ``[T, B, ...]``. Tensors with fewer than two dimensions stay unchanged."""
    x = tf.convert_to_tensor(x)
    if x.shape.rank is not None and x.shape.rank < 2:
        return x
    return tf.transpose(x, tf.concat([[1, 0], tf.range(2, tf.rank(x))], axis=0))


def element_wise_squared_loss(x: Any, y: Any) -> tf.Tensor:
    """Returns ``(x - y) ** 2``, element by element."""
    return tf.math.squared_difference(x, y)


def element_wise_huber_loss(x: Any, y: Any) -> tf.Tensor:
    """Returns Huber's loss with delta 1, element by element: half the square up to a difference of 1, then linear."""
    difference = tf.abs(tf.subtract(x, y))
    inner = tf.minimum(difference, 1.0)
    return 0.5 * tf.square(inner) + (difference - inner)
