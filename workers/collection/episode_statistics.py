"""EpisodeStatistics: returns and lengths of episodes, which may last several rollouts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType


class EndedEpisodes(NamedTuple):
    """Episodes that ended in a rollout, ordered by step and then by row.

    Attributes:
        returns: Sum of the rewards of each episode.
        lengths: Number of steps of each episode.
        places: Row and step of the rollout at which each episode ended.
    """

    returns: list[float]
    lengths: list[int]
    places: list[tuple[int, int]]


class EpisodeStatistics:
    """Sums the rewards and steps of the running episode in each env slot.

    Args:
        num_slots: B, the number of env slots.
        num_steps: T, the number of steps of a rollout.
        discount: Discount factor of the discounted returns.
    """

    def __init__(self, num_slots: int, num_steps: int, discount: float) -> None:
        self._return, self._length, self._discounted = np.zeros((3, num_slots), np.float64)
        self._row_starts = np.arange(num_slots) * num_steps
        # Discounts to the end of the rollout: first of the return before the rollout, then of each step's reward.
        self._discounts = np.power(discount, np.arange(num_steps, -1, -1, dtype=np.float64))

    @property
    def discounted_return(self) -> np.ndarray:
        """float64 ``[B]``: the discounted sum of rewards of each running episode so far. It is a copy."""
        return self._discounted.copy()

    def add(self, rollout: Rollout) -> EndedEpisodes:
        """Adds the next rollout.

        Args:
            rollout: Rollout with B rows and T steps.

        Returns:
            The episodes that ended in the rollout. Those that a fault cut are left out.
        """
        next_types, num_steps = rollout.step_type[:, 1:], rollout.num_steps
        begins = next_types == StepType.FIRST
        rewards = rollout.reward.astype(np.float64)
        # The transition from LAST to FIRST does not belong to an episode.
        rewards[begins] = 0.0
        # The rows, joined one after the other, are split into pieces of one episode each. A piece starts at the start
        # of a row and after each reset.
        is_start = np.empty(begins.shape, np.bool_)
        is_start[:, 0] = True
        is_start[:, 1:] = begins[:, :-1]
        starts = np.flatnonzero(is_start)
        returns = np.add.reduceat(rewards.ravel(), starts)
        # The first piece of each row continues the episode that was running.
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
        discounted = np.add.reduceat((rewards * self._discounts[1:]).ravel(), starts)
        discounted[firsts] += self._discounted * self._discounts[0]
        lasts = np.append(firsts[1:], len(starts)) - 1
        running = ~begins[:, -1]
        self._return = returns[lasts] * running
        self._length = (before[lasts] + (self._row_starts + num_steps - starts[lasts])) * running
        self._discounted = discounted[lasts] * running
        return ended
