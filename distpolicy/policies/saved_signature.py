"""Flat signatures of a SavedModel: dicts of tensors, named by their paths in a nest.

TensorFlow takes few characters in these names, and compares them by letters and digits alone. Where a path has others,
such as a space or an umlaut in a dict's key, its name has an underscore in their place. Where two names would then be
the same to TensorFlow, the later ones end in ``_2``, ``_3`` and so on.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from distpolicy.utils.nests.array_nest import paths


def has_names(specs: Any) -> bool:
    """Returns True if every spec has a name and no two names are equal."""
    names = [spec.name for spec in tf.nest.flatten(specs)]
    return all(names) and len(set(names)) == len(names)


def path_names(nest: Any) -> list[str]:
    """Returns a name for each leaf, in ``tf.nest``'s order: its path, as far as TensorFlow takes it."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths(nest):
        parts = [re.sub(r"[^A-Za-z0-9_.-]", "_", part) or "_" for part in path.split("/")[1:]]
        name = wanted = "/".join(parts)
        number = 2
        while _compared(name) in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(_compared(name))
        names.append(name)
    return names


def _compared(name: str) -> str:
    """Returns what TensorFlow compares a name by: letters and digits, in some places without their case."""
    return re.sub(r"[^A-Za-z0-9]", "_", name).lower()


def spec_names(specs: Any, by_path: bool) -> Any:
    """Returns the specs as plain TensorSpecs with their names in a signature.

    Args:
        specs: Nest of tensor specs.
        by_path: Whether the names are paths in the nest, such as ``0/observation/camera``, instead of the specs' own;
            see :func:`path_names`.

    Raises:
        ValueError: If the specs' own names are used, and one is missing or names several specs.
    """
    leaves = tf.nest.flatten(specs)
    if by_path:
        names = path_names(specs)
    else:
        names = [spec.name for spec in leaves]
        for path, name in zip(paths(specs), names, strict=True):
            if not name or names.count(name) > 1:
                why = f"another spec is named {name!r}, too" if name else "it has no name"
                raise ValueError(f"spec {path}: {why}; give each spec its own name, or set use_nest_path_signatures")
    named = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(leaves, names, strict=True)]
    return tf.nest.pack_sequence_as(specs, named)


def flat_signature(function: Callable[..., Any], input_specs: tuple[Any, ...], output_specs: Any) -> Any:
    """Returns a tf.function that takes flat tensors, named as in ``input_specs``, and returns a dict of tensors.

    Args:
        function: Takes nests like ``input_specs``.
        input_specs: Named specs with a batch dimension.
        output_specs: Specs that name the outputs; None to name them by their paths.
    """

    def flat(*leaves: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = function(*tf.nest.pack_sequence_as(input_specs, leaves))
        names = path_names(outputs) if output_specs is None else [spec.name for spec in tf.nest.flatten(output_specs)]
        return dict(zip(names, tf.nest.flatten(outputs), strict=True))

    return tf.function(flat, autograph=False, input_signature=tf.nest.flatten(input_specs))


@contextlib.contextmanager
def quiet_about_names() -> Iterator[None]:
    """Hides TensorFlow's warning, for every tensor, that its path is not a valid name of a Python argument."""

    def is_other(record: logging.LogRecord) -> bool:
        return "is not a valid tf.function parameter name" not in str(record.msg)

    logger = logging.getLogger("absl")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
