"""Transitions for the tests of off-policy agents."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.transitions import Transition


def random_transitions(
    outer: tuple[int, ...], action: Any, observation: Any = None, seed: int = 0, size: int = 3
) -> Transition:
    """Returns transitions of random floats ``[*outer, ...]``, a third of which end an episode.

    Args:
        outer: The outer dimensions.
        action: The actions, ``[*outer, ...]``.
        observation: A function from a generator and the outer dimensions to observations; None for ``size`` floats.
        seed: Seed of the numbers.
        size: Size of an observation.
    """
    draws = np.random.default_rng(seed)

    def observe() -> Any:
        if observation is not None:
            return observation(draws, outer)
        return draws.normal(size=(*outer, size)).astype(np.float32)

    ends = draws.uniform(size=outer) < 0.33
    zeros = np.zeros(outer, np.float32)
    return Transition(
        TimeStep(np.full(outer, StepType.MID), zeros, zeros, observe()),
        PolicyStep(action, (), ()),
        TimeStep(
            np.where(ends, StepType.LAST, StepType.MID).astype(np.int32),
            draws.normal(size=outer).astype(np.float32),
            np.where(ends, 0.0, draws.uniform(0.5, 1.0, size=outer)).astype(np.float32),
            observe(),
        ),
    )
