"""Environment: what a collector steps, whatever is behind it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from distpolicy.specs.gymnasium_spaces import spec_from_space
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)


class Fault(NamedTuple):
    """An environment of one slot that raised, died or hung, and was replaced.

    Attributes:
        slot: Its row in this batch.
        step: Calls of ``step`` before the one in which it happened.
        call: What was called: ``step`` or ``reset``; making the environment counts as ``reset``.
        error: What went wrong, in one line.
        traceback: The traceback, or the stacks of a process that hung; may be empty.
    """

    slot: int
    step: int
    call: str
    error: str
    traceback: str


class Environment(abc.ABC):
    """B environment slots, stepped together: FIRST, MID…, LAST, FIRST again.

    Observations may be overwritten by the next step; who keeps them copies them.

    Args:
        name: The environment's id, for messages.
        num_slots: B.
        observation_space: Of one slot.
        action_space: Of one slot.

    Raises:
        SpecMismatchError: If a space is not supported.
    """

    def __init__(self, name: str, num_slots: int, observation_space: gym.Space, action_space: gym.Space) -> None:
        self._name = name
        self._num_slots = num_slots
        self._observation_space, self._action_space = observation_space, action_space
        self._action_spec = spec_from_space(action_space, "action")
        self._time_step_spec = time_step_spec(spec_from_space(observation_space, "observation"))
        self._cuts = np.zeros(num_slots, np.bool_)
        self._faults: list[Fault] = []

    @property
    def name(self) -> str:
        """The environment's id."""
        return self._name

    @property
    def num_slots(self) -> int:
        """B."""
        return self._num_slots

    @property
    def observation_space(self) -> gym.Space:
        """The Gymnasium space of one slot's observation."""
        return self._observation_space

    @property
    def action_space(self) -> gym.Space:
        """The Gymnasium space of one slot's action."""
        return self._action_space

    @property
    def time_step_spec(self) -> TimeStep:
        """Array specs of one slot's time step."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """Nest of array specs of one slot's action."""
        return self._action_spec

    @property
    def cuts(self) -> np.ndarray:
        """bool ``[B]``: where the last step is LAST only because the slot's environment failed.

        Such a step has discount 1, reward 0 and the last good observation; the next one is the FIRST of a new
        environment. Overwritten by the next step.
        """
        return self._cuts

    @property
    def faults(self) -> list[Fault]:
        """Every failure of a slot that was replaced, oldest first; a caller may clear it."""
        return self._faults

    @property
    def num_rebuilds(self) -> int:
        """How often a slot's environment was replaced since this one was made."""
        return 0

    @abc.abstractmethod
    def reset(self, seeds: Sequence[int]) -> TimeStep:
        """Begins an episode in every slot.

        Args:
            seeds: One for each slot.

        Returns:
            FIRST steps, observations as a nest of ``[B, ...]``.

        Raises:
            EnvironmentCrashedError: If an environment fails and cannot be replaced.
        """

    @abc.abstractmethod
    def step(self, action: Any) -> TimeStep:
        """Steps every slot; one that is at LAST is reset instead, and its action ignored.

        Args:
            action: Nest of ``[B, *shape]``; those of a Box are clipped to its bounds.

        Raises:
            EnvironmentCrashedError: If an environment fails and cannot be replaced, or returns an observation
                of another structure, shape or dtype than its space's; tells the row if it can.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Frees the environments; may be called twice."""


def first_steps(observation: Any, num_slots: int) -> TimeStep:
    """FIRST steps ``[B]`` of a nest of observations ``[B, ...]``."""
    reward, discount = np.zeros(num_slots, np.float32), np.ones(num_slots, np.float32)
    return TimeStep(np.full(num_slots, FIRST, np.int32), reward, discount, observation)


def following_step_types(before: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """int32 ``[B]``: FIRST where the last step ended an episode, LAST where this one does, elsewhere MID.

    Args:
        before: bool ``[B]``: where the last step was LAST.
        ended: bool ``[B]``: where an episode has ended.
    """
    # Arithmetic on FIRST = 0, MID = 1, LAST = 2: a third of the time of np.where.
    step_type = np.add(ended, MID, dtype=np.int32)
    return np.multiply(step_type, ~before, out=step_type)
