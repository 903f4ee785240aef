"""Functions that clip or scale tensors to the bounds of a spec."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError


def clip_to_spec(value: Any, spec: Any) -> tf.Tensor:
    """Clips a value to the bounds of a bounded spec.

    Args:
        value: Tensor or array ``[..., *shape]``.
        spec: Bounded tensor or array spec.
    """
    value = tf.convert_to_tensor(value)
    return tf.clip_by_value(value, tf.cast(spec.minimum, value.dtype), tf.cast(spec.maximum, value.dtype))


def spec_means_and_magnitudes(action_spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the centre and half the width of the bounds of a bounded spec.

    Returns:
        Two arrays of the bounds' shape, with the spec's dtype if it is a float, otherwise float32.

    Raises:
        ConfigError: If a bound is not finite.
    """
    minimum = np.asarray(action_spec.minimum).astype(np.float64)
    maximum = np.asarray(action_spec.maximum).astype(np.float64)
    if not np.all(np.isfinite(minimum) & np.isfinite(maximum)):
        raise ConfigError(f"spec {action_spec.name!r} needs finite bounds, but has {minimum} to {maximum}")
    dtype = tf.as_dtype(action_spec.dtype)
    kind = dtype.as_numpy_dtype if dtype.is_floating else np.float32
    return np.asarray(minimum / 2 + maximum / 2, kind), np.asarray(maximum / 2 - minimum / 2, kind)


def scale_to_spec(tensor: Any, spec: Any) -> tf.Tensor:
    """Scales numbers in [-1, 1] to the bounds of a spec.

    Args:
        tensor: Floats ``[B, num]``, where num is the number of elements of the spec's shape.
        spec: Bounded tensor or array spec of any shape.

    Returns:
        ``[B, *shape]`` with the spec's dtype.

    Raises:
        ConfigError: If a bound is not finite.
    """
    tensor = tf.convert_to_tensor(tensor)
    mean, magnitude = spec_means_and_magnitudes(spec)
    shaped = tf.reshape(tensor, [-1, *tf.TensorShape(spec.shape).as_list()])
    return tf.cast(tf.cast(mean, tensor.dtype) + shaped * tf.cast(magnitude, tensor.dtype), spec.dtype)
