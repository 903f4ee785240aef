"""RolloutStructure: the nests of a rollout, and the paths of their leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.nests.array_nest import flatten, leaf_places, packer, paths

OBSERVATION, POLICY_STATE = "observation", "policy_state"
# The fields of a rollout that every step keeps.
_FIELDS = (OBSERVATION, "action", "policy_info", "reward", "discount")


class RolloutStructure:
    """Packs leaves into the nests of rollouts.

    Args:
        rollout: A rollout with these nests.
    """

    def __init__(self, rollout: Rollout) -> None:
        fields = (*_FIELDS, POLICY_STATE)
        self._paths = {name: paths(getattr(rollout, name), name) for name in fields}
        self._packers = {name: packer(leaf_places(getattr(rollout, name))) for name in fields}

    def paths(self, field: str) -> list[str]:
        """Returns the paths of a field's leaves."""
        return self._paths[field]

    def pack(self, field: str, leaf_at: Callable[[str], np.ndarray]) -> Any:
        """Returns a nest like a field of the rollout.

        Args:
            field: Name of the field.
            leaf_at: Returns the leaf of a path, such as ``observation/camera``.
        """
        return self._packers[field]([leaf_at(path) for path in self._paths[field]])


def leaves_of(rollout: Rollout) -> dict[str, np.ndarray]:
    """Returns the arrays of a rollout that are kept, by path: ``[B, T, ...]``, and ``[B, T + 1, ...]`` observations."""
    return {path: leaf for name in _FIELDS for path, leaf in _leaves(rollout, name)}


def states_of(rollout: Rollout) -> dict[str, np.ndarray]:
    """Returns the arrays of a rollout's policy state by path, ``[B, ...]``."""
    return dict(_leaves(rollout, POLICY_STATE))


def _leaves(rollout: Rollout, name: str) -> Iterator[tuple[str, np.ndarray]]:
    nest = getattr(rollout, name)
    return zip(paths(nest, name), flatten(nest), strict=True)
