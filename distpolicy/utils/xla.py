"""Compilation of functions by XLA inside of graphs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def is_xla_available() -> bool:
    """Returns True if XLA can compile for the device of the current context."""
    return _is_available_on(tf.constant(0.0).device)


def compile_in_graph_mode(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that is compiled by XLA when it is called in a graph, if XLA is available.

    Args:
        fn: Function of nests of tensors.
    """

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tf.nest.map_structure(tf.convert_to_tensor, (args, kwargs))
        if tf.executing_eagerly() or not is_xla_available():
            return fn(*args, **kwargs)
        return tf.function(fn, jit_compile=True, autograph=False)(*args, **kwargs)

    return call


def compile_method_in_graph_mode(method: Callable[..., Any]) -> Callable[..., Any]:
    """Does the same as :func:`compile_in_graph_mode` for a method, whose object is not a tensor."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return compile_in_graph_mode(functools.partial(method, self))(*args, **kwargs)

    return call


@functools.cache
def _is_available_on(device: str) -> bool:
    try:
        with tf.init_scope(), tf.device(device or "/CPU:0"):
            tf.function(lambda: tf.constant(0.0), jit_compile=True)()
    except (ValueError, tf.errors.OpError):
        return False
    return True
