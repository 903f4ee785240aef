"""PyPolicy: the base of policies that take and return NumPy arrays."""

from __future__ import annotations

import abc
import sys
from typing import Any

import numpy as np

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nests.array_nest import flatten, map_structure


class PyPolicy(abc.ABC):
    """A policy over NumPy arrays. It does not import TensorFlow.

    Tensor specs are converted to array specs.

    Args:
        time_step_spec: A TimeStep of specs, without batch dimensions; None for time steps without observations.
        action_spec: Nest of specs.
        policy_state_spec: Nest of specs; ``()`` for none.
        info_spec: Nest of specs; ``()`` for none.
        observation_and_action_constraint_splitter: Function from an observation to the policy's input and a mask of
            actions; None for no masks.
    """

    def __init__(
        self,
        time_step_spec: TimeStep | None,
        action_spec: Any,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        observation_and_action_constraint_splitter: Any = None,
    ) -> None:
        self._time_step_spec = _array_specs(ts.time_step_spec(None) if time_step_spec is None else time_step_spec)
        self._action_spec = _array_specs(action_spec)
        self._policy_state_spec = _array_specs(policy_state_spec)
        self._info_spec = _array_specs(info_spec)
        self._splitter = observation_and_action_constraint_splitter

    @property
    def observation_and_action_constraint_splitter(self) -> Any:
        """Function from an observation to the policy's input and a mask of actions, or None."""
        return self._splitter

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

    @property
    def trajectory_spec(self) -> Trajectory:
        """Specs of the transitions that this policy and an environment make."""
        step = self._time_step_spec
        return Trajectory(
            step_type=step.step_type,
            observation=step.observation,
            action=self._action_spec,
            policy_info=self._info_spec,
            next_step_type=step.step_type,
            reward=step.reward,
            discount=step.discount,
        )

    @property
    def collect_data_spec(self) -> Trajectory:
        """The same as :attr:`trajectory_spec`."""
        return self.trajectory_spec

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """Returns the state before an episode: ``[batch_size, ...]``, or ``[...]`` if ``batch_size`` is None."""
        return self._get_initial_state(batch_size)

    def warm_up(self, batch_size: int) -> None:  # noqa: B027  # most policies have nothing to do
        """Prepares for batches of this size, so that the first action takes no longer than others. Draws nothing."""

    def prepare_seeds(self, seeds: np.ndarray) -> Any:
        """Prepares the seeds of the next T calls, which makes each call of :meth:`action` cheaper.

        Args:
            seeds: int32 ``[T, B, 2]``.

        Returns:
            T seeds for :meth:`action`.
        """
        return seeds

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """Returns the action for a time step.

        Args:
            time_step: Nest of arrays like ``time_step_spec``, with a batch dimension if the policy takes one.
            policy_state: The state that the last call returned, or the initial one.
            seed: Seed of the draw. A policy that does not draw ignores it.

        Returns:
            The action, the next state and the info.
        """
        if seed is None:
            return self._action(time_step, policy_state)
        return self._action(time_step, policy_state, seed=seed)

    def _get_initial_state(self, batch_size: int | None) -> Any:
        """Returns zeros like the state's specs. A subclass with another initial state overrides this."""
        outer = () if batch_size is None else (int(batch_size),)
        return map_structure(lambda spec: np.zeros(outer + spec.shape, spec.dtype), self._policy_state_spec)

    @abc.abstractmethod
    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        """Implements :meth:`action`. Subclasses that draw nothing may leave out ``seed``."""


def _array_specs(specs: Any) -> Any:
    if all(isinstance(spec, ArraySpec) for spec in flatten(specs)) or "tensorflow" not in sys.modules:
        return specs
    from distpolicy.specs import tensor_spec

    return tensor_spec.to_nest_array_spec(specs)
