"""The numbers that an environment reports in the ``info`` of an episode's last step, such as ``is_success``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Without names, this many numbers are kept, in the order of the info.
MAX_NUMBERS = 16

# Set by Gymnasium's own wrappers, and told by lengths and discounts already.
_KNOWN = frozenset({"TimeLimit.truncated"})


def info_numbers(info: Any, names: Sequence[str] | None = None) -> dict[str, float]:
    """Returns the finite scalars of an ``info``: bools, numbers, and arrays of one element.

    Args:
        info: The dict that ``step`` returned with the last step.
        names: The names to keep; None for all that can be printed, up to :data:`MAX_NUMBERS`.
    """
    if not isinstance(info, Mapping):
        return {}
    found: dict[str, float] = {}
    for name in info if names is None else names:
        is_name = isinstance(name, str) and name not in _KNOWN and (names is not None or (name and name.isprintable()))
        value = _number(info.get(name)) if is_name else None
        if value is not None:
            found[name] = value
            if names is None and len(found) == MAX_NUMBERS:
                break
    return found


def vector_info_numbers(info: Any, row: int, names: Sequence[str] | None = None) -> dict[str, float]:
    """Returns the finite scalars of one row of a vectorised environment's ``info``.

    Args:
        info: A dict of arrays ``[B]``. Where ``_name`` is False, ``name`` has no value, as in Gymnasium.
        row: The row.
        names: As in :func:`info_numbers`.
    """
    if not isinstance(info, Mapping):
        return {}
    values = {}
    for name, array in info.items():
        if not isinstance(name, str) or name.startswith("_") or not isinstance(array, np.ndarray) or array.ndim != 1:
            continue
        mask = info.get(f"_{name}")
        if row < len(array) and (mask is None or mask[row]):
            values[name] = array[row]
    return info_numbers(values, names)


def _number(value: Any) -> float | None:
    if isinstance(value, np.ndarray | np.generic):
        if value.size != 1 or value.dtype.kind not in "biuf":
            return None
        value = value.item()
    if not isinstance(value, bool | int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # No float holds 10**400.
        return None
    return number if math.isfinite(number) else None
