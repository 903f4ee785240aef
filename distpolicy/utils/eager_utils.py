"""Clipping and summaries of gradients, and functions of arrays in graphs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.utils.numpy_call import numpy_call
from distpolicy.utils.summaries import write_histogram, write_scalar

GradsAndVars = Sequence[tuple[Any, Any]]


class Future:
    """A call that is made later, perhaps with other arguments.

    Args:
        func_or_method: The function. It may be a function of a class; its object is then the first argument.
        *args: Positional arguments.
        **kwargs: Arguments by name.
    """

    def __init__(self, func_or_method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._function, self._args, self._kwargs = func_or_method, args, kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the call. Positional arguments replace the constructor's, those by name are put over them."""
        if not args:
            return self._function(*self._args, **{**self._kwargs, **kwargs})
        names = list(_parameters(self._function))
        is_method = bool(names) and names[0] in ("self", "cls")
        given = (self._args[0], *args) if is_method else args
        kept = {name: value for name, value in self._kwargs.items() if name not in names[: len(given)]}
        return self._function(*given, **{**kept, **kwargs})


def future_in_eager_mode(func_or_method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that returns a :class:`Future` of its call, and in graphs the call's result.

    Raises:
        TypeError: If it cannot be called.
    """
    if not callable(func_or_method):
        raise TypeError(f"func_or_method must be a function, not {func_or_method!r}")

    @functools.wraps(func_or_method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly():
            return Future(func_or_method, *args, **kwargs)
        return func_or_method(*args, **kwargs)

    return call


def add_variables_summaries(grads_and_vars: GradsAndVars, step: Any) -> None:
    """Writes a histogram and the norm of each variable to the summary writer that is the default one.

    Args:
        grads_and_vars: Pairs of a gradient and a variable.
        step: The step, an integer scalar.
    """
    for _, variable in grads_and_vars:
        _write(f"summarize_vars/{_tag(variable)}_value", variable, step)


def add_gradients_summaries(grads_and_vars: GradsAndVars, step: Any) -> None:
    """Writes a histogram and the norm of each gradient; those that are None are left out.

    Args:
        grads_and_vars: Pairs of a gradient and a variable.
        step: The step, an integer scalar.
    """
    for gradient, variable in grads_and_vars:
        if gradient is not None:
            _write(f"summarize_grads/{_tag(variable)}_gradient", gradient, step)


def clip_gradient_norms(gradients_to_variables: GradsAndVars, max_norm: Any) -> list[tuple[Any, Any]]:
    """Scales each gradient that is longer than the largest norm down to it, each by itself.

    Args:
        gradients_to_variables: Pairs of a gradient, or None, and a variable.
        max_norm: The largest norm.
    """
    return [(_clipped(gradient, max_norm), variable) for gradient, variable in gradients_to_variables]


def clip_gradient_norms_fn(max_norm: Any) -> Callable[[GradsAndVars], list[tuple[Any, Any]]]:
    """Returns :func:`clip_gradient_norms` with this largest norm."""
    return lambda gradients_to_variables: clip_gradient_norms(gradients_to_variables, max_norm)


def np_function(func: Callable[..., Any] | None = None, output_dtypes: Any = None) -> Callable[..., Any]:
    """Returns a function of tensors from a function of arrays. In a graph it runs in Python.

    Args:
        func: From arrays to a nest of arrays. None returns a decorator.
        output_dtypes: Nest of the outputs' dtypes in a graph, or a function from the dtypes of the inputs to it. None
            calls ``func`` with ones to see them.
    """
    if func is None:
        return functools.partial(np_function, output_dtypes=output_dtypes)
    function = func

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly():
            result = function(*tf.nest.map_structure(np.asarray, args), **kwargs)
            return tf.nest.map_structure(lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf), result)
        leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(args)]
        dtypes = _output_dtypes(function, output_dtypes, args, leaves, kwargs)

        def on_arrays(*arrays: np.ndarray) -> list[np.ndarray]:
            result = function(*tf.nest.pack_sequence_as(args, arrays), **kwargs)
            return [
                np.asarray(leaf, tf.as_dtype(dtype).as_numpy_dtype)
                for leaf, dtype in zip(tf.nest.flatten(result), tf.nest.flatten(dtypes), strict=True)
            ]

        specs = [tf.TensorSpec(None, dtype) for dtype in tf.nest.flatten(dtypes)]
        return tf.nest.pack_sequence_as(dtypes, numpy_call(on_arrays, leaves, specs))

    return call


def dataset_iterator(dataset: tf.data.Dataset) -> Any:
    """Returns an iterator over a dataset."""
    return iter(dataset)


def get_next(iterator: Any) -> Any:
    """Returns an iterator's next element. It works in ``tf.function``, too."""
    return iterator.get_next() if hasattr(iterator, "get_next") else next(iterator)


def _output_dtypes(
    function: Callable[..., Any], given: Any, args: Any, leaves: Sequence[tf.Tensor], kwargs: dict[str, Any]
) -> Any:
    if given is None:
        if not all(leaf.shape.is_fully_defined() for leaf in leaves):
            raise ConfigError("give output_dtypes: they cannot be found out for inputs of unknown shape")
        ones = [np.ones(leaf.shape, leaf.dtype.as_numpy_dtype) for leaf in leaves]
        result = function(*tf.nest.pack_sequence_as(args, ones), **kwargs)
        return tf.nest.map_structure(lambda leaf: np.asarray(leaf).dtype, result)
    if isinstance(given, list | tuple | dict):
        return given
    try:
        return tf.as_dtype(given)
    except TypeError:
        if not callable(given):
            raise ConfigError(f"output_dtypes must be dtypes or a function, not {given!r}") from None
        return given(*[leaf.dtype for leaf in leaves])


def _parameters(function: Callable[..., Any]) -> Iterable[str]:
    return inspect.signature(function).parameters


def _write(name: str, values: Any, step: Any) -> None:
    values = values.values if isinstance(values, tf.IndexedSlices) else tf.convert_to_tensor(values)
    write_histogram(name, values, step)
    write_scalar(f"{name}_norm", tf.linalg.global_norm([values]), step)


def _tag(variable: Any) -> str:
    return getattr(variable, "path", variable.name).replace(":", "_")


def _clipped(gradient: Any, max_norm: Any) -> Any:
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.clip_by_norm(gradient.values, max_norm)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.clip_by_norm(gradient, max_norm)
