"""The kinds of actions that an algorithm may be limited to. This module needs no TensorFlow."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from distpolicy.specs.array_spec import INFINITE_BOUND, BoundedArraySpec, is_continuous, is_discrete
from distpolicy.utils.nests.array_nest import flatten

ActionKind = Literal["any", "one discrete", "one of floats", "one discrete or floats"]

# What each kind is in a message.
IN_WORDS: dict[ActionKind, str] = {
    "any": "any actions",
    "one discrete": "one discrete action",
    "one of floats": "one array of floats between bounds",
    "one discrete or floats": "one discrete action, or floats between bounds",
}


def fits(kind: ActionKind, action_spec: Any) -> bool:
    """Returns True if actions are of a kind.

    Args:
        kind: The kind.
        action_spec: Nest of the specs of one action.
    """
    leaves = flatten(action_spec)
    is_one_discrete = len(leaves) == 1 and leaves[0].shape == () and is_discrete(leaves[0])
    is_bounded = all(is_continuous(leaf) and _has_finite_bounds(leaf) for leaf in leaves)
    found = {
        "any": True,
        "one discrete": is_one_discrete,
        "one of floats": is_bounded and len(leaves) == 1,
        "one discrete or floats": is_one_discrete or is_bounded,
    }
    return found[kind]


def _has_finite_bounds(spec: Any) -> bool:
    if not isinstance(spec, BoundedArraySpec):
        return False
    bounds = np.array([np.min(spec.minimum), np.max(spec.maximum)], np.float64)
    return bool(np.all(np.abs(bounds) < min(INFINITE_BOUND, float(np.finfo(spec.dtype).max))))
