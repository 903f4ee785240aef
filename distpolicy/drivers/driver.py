"""Driver: the base of loops that step an environment by a policy."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

Observer = Callable[[Any], Any]


class Driver(abc.ABC):
    """Steps an environment by a policy and passes each step to observers.

    Args:
        env: The environment.
        policy: The policy.
        observers: Called with the trajectory of each step.
        transition_observers: Called with ``(time_step, action_step, next_time_step)`` of each step.
        info_observers: Called with the environment's info after each step.
    """

    def __init__(
        self,
        env: Any,
        policy: Any,
        observers: Sequence[Observer] | None = None,
        transition_observers: Sequence[Observer] | None = None,
        info_observers: Sequence[Observer] | None = None,
    ) -> None:
        self._env = env
        self._policy = policy
        self._observers = list(observers or ())
        self._transition_observers = list(transition_observers or ())
        self._info_observers = list(info_observers or ())

    @property
    def env(self) -> Any:
        """The environment."""
        return self._env

    @property
    def policy(self) -> Any:
        """The policy."""
        return self._policy

    @property
    def observers(self) -> list[Observer]:
        """The functions that are called with trajectories."""
        return self._observers

    @property
    def transition_observers(self) -> list[Observer]:
        """The functions that are called with transitions."""
        return self._transition_observers

    @property
    def info_observers(self) -> list[Observer]:
        """The functions that are called with the environment's info."""
        return self._info_observers

    @abc.abstractmethod
    def run(self, time_step: Any, policy_state: Any = ()) -> Any:
        """Runs until a limit is reached, and returns the last time step and policy state."""
