"""Segments: the steps of a ring in pieces, each of which a checkpoint writes once."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from workers.experience.replay.ring import Ring

# With more segments than this, all steps are written anew as a single one.
_MOST = 32


class _Segment(NamedTuple):
    """Consecutive steps of each env slot.

    Attributes:
        name: Its name.
        slots: int64 ``[S]``: numbers over the whole run of the env slots.
        first: int64 ``[S]``: numbers of their first steps.
        end: int64 ``[S]``: numbers behind their last steps.
    """

    name: str
    slots: np.ndarray
    first: np.ndarray
    end: np.ndarray


class Segments:
    """Names the steps that a ring holds. The tips, which later rollouts replace, are not among them."""

    def __init__(self) -> None:
        self._segments: list[_Segment] = []

    def update(self, ring: Ring, kept: Collection[str]) -> tuple[list[str], dict[str, dict[str, np.ndarray]]]:
        """Makes a segment of the steps that are new, and drops those of which the ring holds nothing any more.

        Args:
            ring: The ring.
            kept: Names of segments that need not be returned again.

        Returns:
            The names of all segments in order, and the states of those that are not kept.
        """
        self._segments = [
            one for one in self._segments if (one.end > ring.oldest[np.searchsorted(ring.slots, one.slots)]).any()
        ]
        if len(self._segments) >= _MOST:
            self._segments = []
        first = ring.oldest.copy()
        for one in self._segments:
            first[np.searchsorted(ring.slots, one.slots)] = one.end
        found: dict[str, dict[str, np.ndarray]] = {}
        if (first < ring.tip).any():
            state = ring.segment(ring.slots, first, ring.tip)
            name = _name_of(state)
            self._segments.append(_Segment(name, state["slots"], state["first"], state["end"]))
            found[name] = state
        for one in self._segments:
            if one.name not in kept and one.name not in found:
                found[one.name] = ring.segment(one.slots, one.first, one.end)
        names = [one.name for one in self._segments]
        return names, {name: found[name] for name in names if name in found and name not in kept}

    def restore(self, segments: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Takes over the segments that the ring is restored from, in their order."""
        self._segments = [
            _Segment(name, state["slots"], state["first"], state["end"]) for name, state in segments.items()
        ]


def _name_of(state: Mapping[str, np.ndarray]) -> str:
    """Returns a name that other steps do not get, even if a run goes back and comes to the same number of steps."""
    checksum = 0
    for name in ("slots", "first", "end", "step_type", "weights_version", "values/reward"):
        checksum = zlib.crc32(state[name].tobytes(), checksum)
    return f"{int(state['end'].sum())}-{checksum:08x}"
