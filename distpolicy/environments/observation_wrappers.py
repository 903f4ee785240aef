"""Wrappers that change observations."""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.wrapper_base import PyEnvironmentBaseWrapper
from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import ArraySpec, add_outer_dims_nest
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure


class _ObservationWrapper(PyEnvironmentBaseWrapper):
    """Changes each observation by ``_changed``."""

    def _reset(self) -> TimeStep:
        return self._with_changed(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        return self._with_changed(self._env.step(action))

    def _with_changed(self, time_step: TimeStep) -> TimeStep:
        return time_step._replace(observation=self._changed(time_step.observation))

    @abc.abstractmethod
    def _changed(self, observation: Any) -> Any:
        """Returns the observation that the policy gets."""


class ObservationFilterWrapper(_ObservationWrapper):
    """Picks elements of an observation that is a vector.

    Args:
        env: The environment.
        idx: Places of the elements.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If the observation is a nest, or the places are not a vector, are empty, or out of range.
    """

    def __init__(self, env: PyEnvironment, idx: Sequence[int] | np.ndarray, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        spec = env.observation_spec()
        self._idx = np.array(idx)
        if not isinstance(spec, ArraySpec) or len(spec.shape) != 1:
            raise ConfigError(f"ObservationFilterWrapper takes observations that are vectors, not {spec}")
        if self._idx.ndim != 1 or not self._idx.size:
            raise ConfigError(f"idx must be a vector of at least one place, not {idx!r}")
        if not (self._idx < spec.shape[0]).all():
            raise ConfigError(f"idx must be below {spec.shape[0]}, but is {idx!r}")

    def observation_spec(self) -> Any:
        spec = self._env.observation_spec()
        return ArraySpec(self._idx.shape, spec.dtype, spec.name)

    def _changed(self, observation: Any) -> Any:
        return np.asarray(observation)[..., self._idx]


class FlattenObservationsWrapper(_ObservationWrapper):
    """Joins all arrays of an observation, in the order of their sorted keys, to one vector.

    Args:
        env: The environment.
        observations_allowlist: Keys of the arrays to join; None for all. The observation must then be a dict.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If the arrays have several dtypes, or a key is not in the observation.
    """

    def __init__(
        self, env: PyEnvironment, observations_allowlist: Sequence[str] | None = None, handle_auto_reset: bool = False
    ) -> None:
        super().__init__(env, handle_auto_reset)
        spec = env.observation_spec()
        self._keys = observations_allowlist
        if observations_allowlist is not None:
            if not isinstance(spec, dict):
                raise ConfigError(f"observations_allowlist needs an observation that is a dict, not {spec}")
            if missing := sorted(set(observations_allowlist) - set(spec)):
                raise ConfigError(f"observations_allowlist: the observation has no {', '.join(missing)}")
        leaves = flatten(self._allowed(spec))
        dtypes = {leaf.dtype for leaf in leaves}
        if len(dtypes) != 1:
            raise ConfigError(f"all arrays of an observation must have one dtype, but have {sorted(map(str, dtypes))}")
        size = sum(int(np.prod(leaf.shape)) for leaf in leaves)
        self._spec = ArraySpec((size,), dtypes.pop(), "packed_observations")

    def observation_spec(self) -> Any:
        return self._spec

    def _changed(self, observation: Any) -> Any:
        outer = (self.batch_size,) if self.batched else ()
        leaves = flatten(self._allowed(observation))
        return np.concatenate([np.reshape(leaf, (*outer, -1)) for leaf in leaves], axis=-1)

    def _allowed(self, nest: Any) -> Any:
        return nest if self._keys is None else {key: nest[key] for key in self._keys}


class GoalReplayEnvWrapper(PyEnvironmentBaseWrapper):
    """Adds a goal to observations, for hindsight experience replay (Andrychowicz et al., 2017).

    A subclass says what the goal of an episode is, and how it becomes part of a time step.

    Args:
        env: The environment.
        handle_auto_reset: See :class:`PyEnvironment`.
    """

    def __init__(self, env: PyEnvironment, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._goal: Any = None

    @abc.abstractmethod
    def get_trajectory_with_goal(self, trajectory: TimeStep, goal: Any) -> TimeStep:
        """Returns a time step as it would be if this were the goal."""

    @abc.abstractmethod
    def get_goal_from_trajectory(self, trajectory: TimeStep) -> Any:
        """Returns the goal of the episode that a time step begins."""

    def _reset(self) -> TimeStep:
        time_step = self._env.reset()
        self._goal = self.get_goal_from_trajectory(time_step)
        return self.get_trajectory_with_goal(time_step, self._goal)

    def _step(self, action: Any) -> TimeStep:
        return self.get_trajectory_with_goal(self._env.step(action), self._goal)


class HistoryWrapper(PyEnvironmentBaseWrapper):
    """Stacks the last observations, and the actions before them, along a new first dimension, the oldest first.

    Args:
        env: The environment, without a batch dimension.
        history_length: Number of observations, H.
        include_actions: Whether observations become a dict with ``observation`` and ``action``.
        tile_first_step_obs: Whether an episode begins with H copies of its first observation, rather than with zeros
            before it.
        handle_auto_reset: See :class:`PyEnvironment`.
    """

    def __init__(
        self,
        env: PyEnvironment,
        history_length: int = 3,
        include_actions: bool = False,
        tile_first_step_obs: bool = False,
        handle_auto_reset: bool = False,
    ) -> None:
        super().__init__(env, handle_auto_reset)
        self._refuse_batches()
        self._include_actions, self._tile = include_actions, tile_first_step_obs
        self._history_length = history_length
        self._observations: deque[Any] = deque(maxlen=history_length)
        self._actions: deque[Any] = deque(maxlen=history_length)

    def observation_spec(self) -> Any:
        spec = add_outer_dims_nest(self._env.observation_spec(), (self._history_length,))
        if not self._include_actions:
            return spec
        return {"observation": spec, "action": add_outer_dims_nest(self._env.action_spec(), (self._history_length,))}

    def _reset(self) -> TimeStep:
        time_step = self._env.reset()
        before = time_step.observation if self._tile else _zeros(self._env.observation_spec())
        self._observations.extend([before] * self._history_length)
        self._actions.extend([_zeros(self._env.action_spec())] * self._history_length)
        self._observations.append(time_step.observation)
        return self._with_history(time_step)

    def _step(self, action: Any) -> TimeStep:
        if self.current_time_step().is_last():
            return self._reset()
        time_step = self._env.step(action)
        self._observations.append(time_step.observation)
        self._actions.append(action)
        return self._with_history(time_step)

    def _with_history(self, time_step: TimeStep) -> TimeStep:
        observation = _stacked(self._observations)
        if self._include_actions:
            observation = {"observation": observation, "action": _stacked(self._actions)}
        return time_step._replace(observation=observation)


def _zeros(specs: Any) -> Any:
    return map_structure(lambda spec: np.zeros(spec.shape, spec.dtype), specs)


def _stacked(nests: deque[Any]) -> Any:
    return map_structure(lambda *leaves: np.stack(leaves), *nests)


class ExtraDisabledActionsWrapper(_ObservationWrapper):
    """Adds actions that a mask never allows. An observation becomes a pair of itself and the mask, int64 ``[n]``.

    Args:
        env: The environment, with one discrete action.
        num_extra_actions: Number of the actions that are added.
        handle_auto_reset: See :class:`PyEnvironment`.
    """

    def __init__(self, env: PyEnvironment, num_extra_actions: int, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        spec = env.action_spec()
        self._spec = spec.replace(maximum=spec.maximum + num_extra_actions)
        allowed = np.ones(int(spec.maximum - spec.minimum) + 1, np.int64)
        self._mask = np.concatenate([allowed, np.zeros(num_extra_actions, np.int64)])

    def action_spec(self) -> Any:
        return self._spec

    def observation_spec(self) -> Any:
        return self._env.observation_spec(), ArraySpec(self._mask.shape, np.int64, "mask")

    def _changed(self, observation: Any) -> Any:
        outer = () if self.batch_size is None else (self.batch_size, 1)
        return observation, np.tile(self._mask, outer)
