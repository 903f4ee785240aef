"""The variable that counts a program's gradient steps."""

from __future__ import annotations

import tensorflow as tf


def create_train_step() -> tf.Variable:
    """Returns an int64 variable, 0 at first. An agent counts its updates in it as its ``train_step_counter``."""
    return tf.Variable(0, dtype=tf.int64, trainable=False, name="train_step")
