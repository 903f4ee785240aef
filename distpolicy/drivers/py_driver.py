"""PyDriver: a loop that steps a PyEnvironment by a PyPolicy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.drivers.driver import Driver, Observer
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.errors import ConfigError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories import trajectory
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Transition
from distpolicy.utils.nests.array_nest import flatten, map_structure


class PyDriver(Driver):
    """Runs a number of steps or episodes at a time. The next run can go on from there.

    Observers also get the step from LAST to FIRST, but it is not counted. A stateful policy gets its initial state
    wherever a row's time step is FIRST. With two limits the run ends at the first one that is reached. In a batch the
    limits apply to all rows together, so a limit on episodes favours short ones.

    Args:
        env: The environment.
        policy: The policy.
        observers: Called with the trajectory of each step.
        transition_observers: Called with ``(time_step, action_step, next_time_step)`` of each step. The state in
            ``action_step`` is the policy state before the step.
        info_observers: Called with ``env.get_info()`` after each step.
        max_steps: Number of steps, over all rows, after which a run ends; None or 0 for no limit.
        max_episodes: Number of episodes, over all rows, after which a run ends; None or 0 for no limit.
        end_episode_on_boundary: Whether an episode ends with the step from LAST to FIRST, as trajectories need it,
            instead of at LAST, as transitions need it.

    Raises:
        ValueError: If there is no limit.
    """

    def __init__(
        self,
        env: PyEnvironment,
        policy: PyPolicy,
        observers: Sequence[Observer],
        transition_observers: Sequence[Observer] | None = None,
        info_observers: Sequence[Observer] | None = None,
        max_steps: int | None = None,
        max_episodes: int | None = None,
        end_episode_on_boundary: bool = True,
    ) -> None:
        super().__init__(env, policy, observers, transition_observers, info_observers)
        self._max_steps = int(max_steps or 0)
        self._max_episodes = int(max_episodes or 0)
        if self._max_steps <= 0 and self._max_episodes <= 0:
            raise ConfigError("PyDriver needs max_steps or max_episodes greater than 0")
        self._end_episode_on_boundary = end_episode_on_boundary
        self._is_stateful = bool(flatten(policy.policy_state_spec))

    def run(self, time_step: TimeStep, policy_state: Any = ()) -> tuple[TimeStep, Any]:
        """Runs until a limit is reached.

        Args:
            time_step: The time step to begin with: the result of ``env.reset()`` or of the last run.
            policy_state: The policy state at this time step.

        Returns:
            The last time step and policy state.

        Raises:
            RuntimeError: If the environment does not leave LAST.
        """
        num_steps = num_episodes = 0
        is_last = np.asarray(time_step.is_last())
        while not (0 < self._max_steps <= num_steps or 0 < self._max_episodes <= num_episodes):
            if self._is_stateful:
                policy_state = self._reset_where_first(time_step, policy_state)
            action_step = self._policy.action(time_step, policy_state)
            next_time_step = self._env.step(action_step.action)
            next_is_last = np.asarray(next_time_step.is_last())
            if is_last.all() and next_is_last.all():
                raise RuntimeError(
                    f"{type(self._env).__name__} stays at LAST; let its _step reset after LAST, or set "
                    f"handle_auto_reset=True in its constructor"
                )
            self._observe(time_step, action_step._replace(state=policy_state), next_time_step)
            num_steps += int(np.sum(~is_last))
            num_episodes += int(np.sum(is_last if self._end_episode_on_boundary else next_is_last))
            time_step, policy_state, is_last = next_time_step, action_step.state, next_is_last
        return time_step, policy_state

    def _observe(self, time_step: TimeStep, action_step: Any, next_time_step: TimeStep) -> None:
        if self._observers:
            made = trajectory.from_transition(time_step, action_step, next_time_step)
            for observer in self._observers:
                observer(made)
        for observer in self._transition_observers:
            observer(Transition(time_step, action_step, next_time_step))
        for observer in self._info_observers:
            observer(self._env.get_info())

    def _reset_where_first(self, time_step: TimeStep, policy_state: Any) -> Any:
        is_first = np.asarray(time_step.is_first())
        if not is_first.any():
            return policy_state
        initial = self._policy.get_initial_state(self._env.batch_size)
        carried, fresh = flatten(policy_state), flatten(initial)
        if is_first.ndim == 0 and carried and np.ndim(carried[0]) > np.ndim(fresh[0]):
            # The caller may keep a batch of one state for a single environment.
            return self._policy.get_initial_state(1)
        if is_first.all():
            return initial
        return map_structure(lambda new, old: _where(is_first, new, old), initial, policy_state)


def _where(is_first: np.ndarray, initial: Any, carried: Any) -> Any:
    mask = is_first.reshape(is_first.shape + (1,) * (np.ndim(carried) - is_first.ndim))
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.is_tensor(carried):
        return tensorflow.where(mask, initial, carried)
    return np.where(mask, initial, carried)
