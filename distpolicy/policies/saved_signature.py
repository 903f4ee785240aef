"""Flat signatures of a SavedModel: dicts of tensors that are named by their paths in a nest."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from distpolicy.utils.nests.array_nest import paths


def has_names(specs: Any) -> bool:
    """Whether every spec has a name of its own."""
    names = [spec.name for spec in tf.nest.flatten(specs)]
    return all(names) and len(set(names)) == len(names)


def spec_names(specs: Any, by_path: bool) -> Any:
    """The specs as plain TensorSpecs under the names that a signature gives them.

    Args:
        specs: Nest of tensor specs.
        by_path: Whether names are paths in the nest, such as ``0/observation/camera``, or the specs' own.

    Raises:
        ValueError: If the specs' own names are wanted, and one is missing or stands for two.
    """
    leaves = tf.nest.flatten(specs)
    if by_path:
        names = [path.removeprefix("/") for path in paths(specs)]
    else:
        names = [spec.name for spec in leaves]
        for path, name in zip(paths(specs), names, strict=True):
            if not name or names.count(name) > 1:
                why = "is the name of several specs" if name else "is no name"
                raise ValueError(f"spec {path}: {name!r} {why}; name specs apart, or set use_nest_path_signatures")
    named = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(leaves, names, strict=True)]
    return tf.nest.pack_sequence_as(specs, named)


def flat_signature(function: Callable[..., Any], input_specs: tuple[Any, ...], output_specs: Any) -> Any:
    """A tf.function of flat tensors, named as in ``input_specs``, that returns a dict.

    Args:
        function: Takes nests like ``input_specs``.
        input_specs: Specs with their batch dimension and their names.
        output_specs: Specs with the names of the outputs; None to name them by their paths.
    """

    def flat(*leaves: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = function(*tf.nest.pack_sequence_as(input_specs, leaves))
        if output_specs is None:
            names = [path.removeprefix("/") for path in paths(outputs)]
        else:
            names = [spec.name for spec in tf.nest.flatten(output_specs)]
        return dict(zip(names, tf.nest.flatten(outputs), strict=True))

    return tf.function(flat, autograph=False, input_signature=tf.nest.flatten(input_specs))


@contextlib.contextmanager
def quiet_about_names() -> Iterator[None]:
    """Keeps TensorFlow from a warning for every tensor: that paths are no names of Python arguments is known."""

    def is_other(record: logging.LogRecord) -> bool:
        return "is not a valid tf.function parameter name" not in str(record.msg)

    logger = logging.getLogger("absl")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
