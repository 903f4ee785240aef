"""Specs from Gymnasium spaces."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec


def spec_from_space(space: gym.Space, name: str = "space") -> Any:
    """Returns the nest of specs of a Gymnasium space. All specs are bounded, except for a Box of booleans.

    Dtypes are in this machine's byte order. Environments may use the other one, as files of astronomy do.

    Args:
        space: Box, Discrete (its start is kept), MultiDiscrete, MultiBinary, Dict or Tuple.
        name: Name of the space, for messages.

    Returns:
        One spec, or a dict of specs for Dict, or a tuple of specs for Tuple.

    Raises:
        SpecMismatchError: For any other space, or a Dict with some keys that are strings and some that are not.
    """
    if not isinstance(space, gym.Space):
        raise SpecMismatchError(
            f"{name} space is {space!r:.80}, not a space of Gymnasium; an environment sets both spaces when it is made"
        )
    # The type's dtype is the one object that NumPy's arrays have, too, so that collectors may compare by identity.
    dtype = None if space.dtype is None else np.dtype(np.dtype(space.dtype).type)
    if isinstance(space, gym.spaces.Box) and dtype == np.bool_:
        return ArraySpec(space.shape, dtype, name)
    if isinstance(space, gym.spaces.Box):
        return BoundedArraySpec(space.shape, dtype, space.low, space.high, name)
    if isinstance(space, gym.spaces.Discrete):
        # Python's integers: the sum may not fit the dtype, and the largest value still does.
        start = int(space.start)
        return BoundedArraySpec((), dtype, start, start + int(space.n) - 1, name)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return BoundedArraySpec(space.shape, dtype, space.start, space.start + (space.nvec - 1), name)
    if isinstance(space, gym.spaces.MultiBinary):
        return BoundedArraySpec(space.shape, np.int8 if dtype is None else dtype, 0, 1, name)
    if isinstance(space, gym.spaces.Dict):
        if len({isinstance(key, str) for key in space.spaces}) > 1:
            raise SpecMismatchError(
                f"{name} space Dict has the keys {', '.join(map(repr, space.spaces))}, which have no order: make all "
                "strings, or all integers"
            )
        return {key: spec_from_space(child, f"{name}/{key}") for key, child in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(spec_from_space(child, f"{name}/{index}") for index, child in enumerate(space.spaces))
    raise SpecMismatchError(
        f"{name} space {type(space).__name__} is not supported; use Box, Discrete, MultiDiscrete, MultiBinary, Dict or "
        f"Tuple{_how_to_leave_out(name)}"
    )


def _how_to_leave_out(name: str) -> str:
    """Returns a hint for a part of an observation, such as the text of a mission; empty for others."""
    what, slash, part = name.partition("/")
    if what != "observation" or not slash:
        return ""
    return f", or leave {part.partition('/')[0]} out by the wrapper gymnasium.wrappers.FilterObservation"
