"""RolloutStructure: the nests of a rollout, and the paths of their leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.nests.array_nest import flatten, leaf_places, packer, paths

# The fields of a rollout that every step keeps.
_FIELDS = ("observation", "action", "policy_info", "reward", "discount")


class RolloutStructure:
    """Packs leaves into the nests of rollouts.

    Args:
        rollout: A rollout with these nests.
    """

    def __init__(self, rollout: Rollout) -> None:
        self._paths = {name: paths(getattr(rollout, name), name) for name in _FIELDS}
        self._packers = {name: packer(leaf_places(getattr(rollout, name))) for name in _FIELDS}

    def pack(self, field: str, leaf_at: Callable[[str], np.ndarray]) -> Any:
        """Returns a nest like a field of the rollout.

        Args:
            field: Name of the field.
            leaf_at: Returns the leaf of a path, such as ``observation/camera``.
        """
        return self._packers[field]([leaf_at(path) for path in self._paths[field]])


def leaves_of(rollout: Rollout) -> dict[str, np.ndarray]:
    """Returns the arrays of a rollout that are kept, by path: ``[B, T, ...]``, and ``[B, T + 1, ...]`` observations."""
    return {
        path: leaf
        for name in _FIELDS
        for path, leaf in zip(paths(getattr(rollout, name), name), flatten(getattr(rollout, name)), strict=True)
    }
