"""PyPolicy: the base of policies that take and return NumPy arrays."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.array_nest import map_structure


class PyPolicy(abc.ABC):
    """A policy over NumPy arrays. It imports no TensorFlow.

    Args:
        time_step_spec: Array specs of one time step, without batch dimensions.
        action_spec: Nest of bounded array specs.
        policy_state_spec: Nest of array specs; ``()`` for none.
        info_spec: Nest of array specs; ``()`` for none.
    """

    def __init__(
        self, time_step_spec: TimeStep, action_spec: Any, policy_state_spec: Any = (), info_spec: Any = ()
    ) -> None:
        self._time_step_spec = time_step_spec
        self._action_spec = action_spec
        self._policy_state_spec = policy_state_spec
        self._info_spec = info_spec

    @property
    def time_step_spec(self) -> TimeStep:
        """Specs of one time step."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """Specs of one action."""
        return self._action_spec

    @property
    def policy_state_spec(self) -> Any:
        """Specs of the recurrent state."""
        return self._policy_state_spec

    @property
    def info_spec(self) -> Any:
        """Specs of the info."""
        return self._info_spec

    @property
    def policy_step_spec(self) -> PolicyStep:
        """Specs of what :meth:`action` returns."""
        return PolicyStep(self._action_spec, self._policy_state_spec, self._info_spec)

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """Zeros of the state's specs; ``[batch_size, ...]`` if that is given."""
        outer = () if batch_size is None else (int(batch_size),)
        return map_structure(lambda spec: np.zeros(outer + spec.shape, spec.dtype), self._policy_state_spec)

    def warm_up(self, batch_size: int) -> None:  # noqa: B027  # most policies have nothing to do
        """Gets ready for batches of this size, so that the first action is as quick as any; draws nothing."""

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """The action for a time step.

        Args:
            time_step: Nest of arrays like ``time_step_spec``, with a batch dimension if the policy takes one.
            policy_state: The state that the last call returned, or the initial one.
            seed: Seed of the draw, if the policy draws.

        Returns:
            The action, the next state and the info.
        """
        if seed is None:
            return self._action(time_step, policy_state)
        return self._action(time_step, policy_state, seed=seed)

    @abc.abstractmethod
    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        """What :meth:`action` does; subclasses that draw nothing may leave ``seed`` out."""
