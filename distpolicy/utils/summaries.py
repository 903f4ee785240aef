"""Summaries for TensorBoard, written without having it installed, which ``tf.summary.scalar`` needs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def write_scalar(name: str, value: Any, step: Any) -> Any:
    """Writes a number to the summary writer that is the default one.

    Args:
        name: The summary's tag.
        value: A scalar.
        step: The step, an integer scalar.

    Returns:
        Whether it was written; False if there is no writer.
    """
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    return tf.summary.write(name, tf.cast(value, tf.float32), step=tf.cast(step, tf.int64), metadata=metadata)
