"""Summaries for TensorBoard, written without having it installed, which ``tf.summary.scalar`` needs."""

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
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    with tf.summary.experimental.summary_scope(name) as (tag, _):
        return tf.summary.write(tag, tf.cast(value, tf.float32), step=tf.cast(step, tf.int64), metadata=metadata)


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
