"""EpsilonSchedule: how often agents with discrete actions act at random. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpsilonSchedule:
    """Falls linearly from 1 to the final epsilon, and then stays there.

    Attributes:
        final: Epsilon at the end, in [0, 1].
        fraction: The share of the run over which it falls, in [0, 1].
    """

    final: float
    fraction: float

    def __call__(self, progress: float, has_begun: bool) -> float:
        """Returns the probability of a random action; 1 until the agent has begun to learn.

        Args:
            progress: The share of the run that is over, in [0, 1].
            has_begun: Whether the agent has begun to learn.
        """
        if not has_begun:
            return 1.0
        over = 1.0 if progress >= self.fraction else progress / self.fraction
        return 1.0 + over * (self.final - 1.0)
