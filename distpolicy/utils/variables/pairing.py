"""Pairs of source and target variables for an update. Works on arrays as well, without TensorFlow."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from distpolicy.errors import SpecMismatchError


class SourceVariable(Protocol):
    """A source to copy a variable from: a tf.Variable with its path, or an entry of ``Weights``."""

    @property
    def path(self) -> str: ...

    @property
    def variable(self) -> Any: ...


_Source = TypeVar("_Source", bound=SourceVariable)
_Target = TypeVar("_Target", bound=SourceVariable)


def natural_key(path: str) -> tuple[tuple[int, int, str], ...]:
    """Returns a sort key that puts ``dense_9`` before ``dense_10``."""
    parts = re.split(r"(\d+)", path)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def check_tau(name: str, tau: float) -> float:
    """Returns tau as a float.

    Raises:
        ValueError: If tau is NaN or not in [0, 1].
    """
    value = float(tau)
    if math.isnan(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"`{name}` must be in [0, 1], but is {tau}")
    return value


def paired_variables(
    source: Sequence[_Source], target: Sequence[_Target], sort_variables_by_name: bool
) -> list[tuple[_Source, _Target]]:
    """Pairs source and target variables by position, or by the natural order of their paths.

    Raises:
        SpecMismatchError: If numbers, shapes or dtypes differ. The message names the first variable that differs.
    """
    if len(source) != len(target):
        raise SpecMismatchError(
            f"source has {len(source)} variables, but target has {len(target)}; build both with the same arguments "
            f"(only in source: {_only(source, target)}; only in target: {_only(target, source)})"
        )
    if sort_variables_by_name:
        source = sorted(source, key=lambda item: natural_key(item.path))
        target = sorted(target, key=lambda item: natural_key(item.path))
    for left, right in zip(source, target, strict=True):
        ours, theirs = _kind(right.variable), _kind(left.variable)
        if ours != theirs:
            raise SpecMismatchError(
                f"variable {right.path}: source {left.path} has shape {theirs[0]} and dtype "
                f"{theirs[1]}, but target has {ours[0]} and {ours[1]}"
            )
    return list(zip(source, target, strict=True))


def _kind(variable: Any) -> tuple[tuple[int, ...], str]:
    """Returns the shape of a variable or array, and the name of its dtype."""
    dtype = variable.dtype
    return tuple(variable.shape), np.dtype(getattr(dtype, "as_numpy_dtype", dtype)).name


def _only(these: Sequence[SourceVariable], others: Sequence[SourceVariable]) -> str:
    paths = {item.path for item in others}
    missing = [item.path for item in these if item.path not in paths]
    return ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "") if missing else "none"
