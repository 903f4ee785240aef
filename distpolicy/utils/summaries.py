"""Summaries for TensorBoard, written without having it installed, which TensorFlow's own functions need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def write_scalar(name: str, value: Any, step: Any) -> Any:
    """Writes a number to the summary writer that is the default one.

    Args:
        name: The summary's tag, after the names of the scopes around the call.
        value: A scalar.
        step: The step, an integer scalar.

    Returns:
        Whether it was written; False if there is no writer.
    """
    return _write(name, "scalars", tf.cast(value, tf.float32), step)


def write_histogram(name: str, values: Any, step: Any, buckets: int = 30) -> Any:
    """Writes a histogram to the summary writer that is the default one.

    Args:
        name: The summary's tag, after the names of the scopes around the call.
        values: Numbers of any shape.
        step: The step, an integer scalar.
        buckets: Number of buckets of the same width, from the smallest to the largest number.

    Returns:
        Whether it was written; False if there is no writer.
    """
    numbers = tf.cast(tf.reshape(values, [-1]), tf.float64)
    if numbers.shape[0] == 0:
        return _write(name, "histograms", tf.zeros([0, 3], tf.float64), step)
    low, high = tf.reduce_min(numbers), tf.reduce_max(numbers)
    # Numbers that are all the same are in the middle of a bucket.
    low, high = tf.where(high > low, low, low - 0.5), tf.where(high > low, high, high + 0.5)
    counts = tf.histogram_fixed_width(numbers, [low, high], buckets)
    edges = tf.linspace(low, high, buckets + 1)
    rows = tf.stack([edges[:-1], edges[1:], tf.cast(counts, tf.float64)], axis=1)
    return _write(name, "histograms", rows, step)


def generate_tensor_summaries(tag: str, tensor: Any, step: Any) -> None:
    """Writes a tensor's histogram, mean, mean magnitude, largest and smallest element, and standard deviation.

    Args:
        tag: What the summaries' names begin with.
        tensor: Floats of any shape.
        step: The step, an integer scalar.
    """
    tensor = tf.convert_to_tensor(tensor)
    write_histogram(f"{tag}/histogram", tensor, step)
    for name, value in (
        ("mean", tf.reduce_mean(tensor)),
        ("mean_abs", tf.reduce_mean(tf.abs(tensor))),
        ("max", tf.reduce_max(tensor)),
        ("min", tf.reduce_min(tensor)),
        ("std", tf.math.reduce_std(tensor)),
    ):
        write_scalar(f"{tag}/{name}", value, step)


def summarize_tensor_dict(tensor_dict: Mapping[str, Any], step: Any) -> None:
    """Writes the summaries of :func:`generate_tensor_summaries` for each tensor by its name."""
    for tag, tensor in tensor_dict.items():
        generate_tensor_summaries(tag, tensor, step)


def summarize_scalar_dict(name_data: Mapping[str, Any], step: Any, name_scope: str = "Losses/") -> None:
    """Writes numbers to the summary writer that is the default one.

    Args:
        name_data: Scalars by name; those that are None are left out.
        step: The step, an integer scalar.
        name_scope: What the names begin with.
    """
    for name, value in (name_data or {}).items():
        if value is not None:
            write_scalar(f"{name_scope.rstrip('/')}/{name}" if name_scope else name, value, step)


def are_recorded() -> bool:
    """Returns False if there is no summary writer, or recording is off; for functions that are traced, too."""
    recorded = tf.get_static_value(tf.convert_to_tensor(tf.summary.should_record_summaries()))
    return recorded is None or bool(recorded)


def _write(name: str, kind: str, value: tf.Tensor, step: Any) -> Any:
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=kind)
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    with tf.summary.experimental.summary_scope(name) as (tag, _):
        return tf.summary.write(tag, value, step=tf.cast(step, tf.int64), metadata=metadata)
