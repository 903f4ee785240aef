"""EpisodeStatistics: returns and lengths of episodes that go on from one rollout to the next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType


class EndedEpisodes(NamedTuple):
    """Episodes that ended in a rollout, in order of step and slot.

    Attributes:
        returns: Sum of each one's rewards.
        lengths: Steps of each.
        places: Row and step of the rollout in which each ended.
    """

    returns: list[float]
    lengths: list[int]
    places: list[tuple[int, int]]


class EpisodeStatistics:
    """Adds up each slot's running episode.

    Args:
        num_slots: B.
        num_steps: T, the steps of a rollout.
        discount: Of the discounted returns.
    """

    def __init__(self, num_slots: int, num_steps: int, discount: float) -> None:
        self._return, self._length, self._discounted = np.zeros((3, num_slots), np.float64)
        self._row_starts = np.arange(num_slots) * num_steps
        # What each step's reward, and the running return of the rollout before, are worth at the rollout's end.
        self._worth = np.power(discount, np.arange(num_steps, -1, -1, dtype=np.float64))

    @property
    def discounted_return(self) -> np.ndarray:
        """float64 ``[B]``: discounted sum of the running episodes' rewards so far; a copy."""
        return self._discounted.copy()

    def add(self, rollout: Rollout) -> EndedEpisodes:
        """Adds the next rollout, and returns the episodes that ended in it and were not cut.

        Args:
            rollout: Of B slots and T steps.
        """
        next_types, num_steps = rollout.step_type[:, 1:], rollout.num_steps
        begins = next_types == StepType.FIRST
        rewards = rollout.reward.astype(np.float64)
        # Of a step that only resets; it belongs to no episode.
        rewards[begins] = 0.0
        # Rows one after the other are cut into the pieces of single episodes: at a row's start, and after each reset.
        is_start = np.empty(begins.shape, np.bool_)
        is_start[:, 0] = True
        is_start[:, 1:] = begins[:, :-1]
        starts = np.flatnonzero(is_start)
        returns = np.add.reduceat(rewards.ravel(), starts)
        # Those at a row's start go on with what was running.
        firsts = np.searchsorted(starts, self._row_starts)
        returns[firsts] += self._return
        before = np.zeros(len(starts), np.float64)
        before[firsts] = self._length
        ends = np.flatnonzero((next_types == StepType.LAST) & ~rollout.cuts)
        ends = ends[np.argsort(ends % num_steps, kind="stable")]
        rows, steps = np.divmod(ends, num_steps)
        pieces = np.searchsorted(starts, ends, side="right") - 1
        ended = EndedEpisodes(
            returns[pieces].tolist(),
            (before[pieces] + (ends - starts[pieces] + 1)).astype(np.int64).tolist(),
            list(zip(rows.tolist(), steps.tolist(), strict=True)),
        )
        discounted = np.add.reduceat((rewards * self._worth[1:]).ravel(), starts)
        discounted[firsts] += self._discounted * self._worth[0]
        lasts = np.append(firsts[1:], len(starts)) - 1
        running = ~begins[:, -1]
        self._return = returns[lasts] * running
        self._length = (before[lasts] + (self._row_starts + num_steps - starts[lasts])) * running
        self._discounted = discounted[lasts] * running
        return ended
