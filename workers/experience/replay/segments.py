"""Segments: the steps of a ring in pieces, each of which a checkpoint writes once.

Each checkpoint adds a piece. If there are too many, the newest ones are joined: the new piece takes over the one before
it, and then each that is not larger than all that came after it. So a step is written once if the buffer is filled by
fewer checkpoints than there may be pieces, and less than five times on average if it takes 10,000 of the same size.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from workers.experience.replay.ring import Ring

# The most segments: a checkpoint has a file for each.
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

        Joins segments if there are too many.

        Args:
            ring: The ring.
            kept: Names of segments that need not be returned again.

        Returns:
            The names of all segments in order, and the states of those that are not kept.
        """
        self._segments = [one for one in self._segments if _num_kept(one, ring)]
        first = self._first_new(ring)
        if len(self._segments) >= _MOST:
            num_steps = int((ring.tip - first).sum()) + _num_kept(self._segments.pop(), ring)
            while self._segments and (more := _num_kept(self._segments[-1], ring)) <= num_steps:
                num_steps += more
                self._segments.pop()
            first = self._first_new(ring)
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

    def _first_new(self, ring: Ring) -> np.ndarray:
        """Returns the number of the first step of each env slot that is in no segment, int64 ``[S]``."""
        first = ring.oldest.copy()
        for one in self._segments:
            places = np.searchsorted(ring.slots, one.slots)
            first[places] = np.maximum(first[places], one.end)
        return first

    def restore(self, segments: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Takes over the segments that the ring is restored from, in their order."""
        self._segments = [
            _Segment(name, state["slots"], state["first"], state["end"]) for name, state in segments.items()
        ]


def _num_kept(segment: _Segment, ring: Ring) -> int:
    """Returns how many steps of a segment the ring still holds."""
    oldest = ring.oldest[np.searchsorted(ring.slots, segment.slots)]
    return int(np.maximum(segment.end - np.maximum(segment.first, oldest), 0).sum())


def _name_of(state: Mapping[str, np.ndarray]) -> str:
    """Returns a name that other steps do not get, even if a run goes back and comes to the same number of steps."""
    checksum = 0
    for name in ("slots", "first", "end", "step_type", "weights_version", "values/reward"):
        checksum = zlib.crc32(state[name].tobytes(), checksum)
    return f"{int(state['end'].sum())}-{checksum:08x}"
