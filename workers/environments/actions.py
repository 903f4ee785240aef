"""ActionRows: clips a batch of actions, and splits it into one action for each environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.utils.nests.array_nest import flatten, leaf_places, pack_leaves, packer


class ActionRows:
    """Clips and splits batches of actions. What it returns are copies: an environment may keep or change its action.

    Args:
        space: The action space of one environment: Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple.
    """

    def __init__(self, space: gym.Space) -> None:
        self._structure = _space_nest(space)
        self._single = not isinstance(self._structure, dict | tuple)
        self._bounds = [_bounds(leaf) for leaf in flatten(self._structure)]
        self._pack = packer(leaf_places(self._structure))

    def clipped(self, action: Any) -> Any:
        """Returns the actions ``[B, *shape]`` with each Box leaf clipped to its bounds.

        Args:
            action: Nest of arrays ``[B, *shape]``; it is not changed.
        """
        if self._single:
            return _clip(action, self._bounds[0])
        leaves = [_clip(leaf, bounds) for leaf, bounds in zip(flatten(action), self._bounds, strict=True)]
        return pack_leaves(self._structure, leaves)

    def rows(self, action: Any) -> list[Any]:
        """Returns the clipped actions as a list of B nests of ``[*shape]``, one for each environment.

        Args:
            action: Nest of arrays ``[B, *shape]``; it is not changed.
        """
        if self._single:
            return list(_clip(action, self._bounds[0]))
        leaves = [_clip(leaf, bounds) for leaf, bounds in zip(flatten(action), self._bounds, strict=True)]
        return [self._pack(row) for row in zip(*leaves, strict=True)]


def _space_nest(space: gym.Space) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _space_nest(child) for key, child in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_space_nest(child) for child in space.spaces)
    return space


def _bounds(space: gym.Space) -> tuple[np.ndarray, np.ndarray] | None:
    if not isinstance(space, gym.spaces.Box) or space.dtype == np.bool_:
        return None
    if np.all(np.isneginf(space.low)) and np.all(np.isposinf(space.high)):
        return None
    return space.low, space.high


def _clip(action: Any, bounds: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    if bounds is None:
        return np.array(action)
    # For small arrays this is several times faster than np.clip.
    above = np.maximum(action, bounds[0])
    return np.minimum(above, bounds[1], out=above)
