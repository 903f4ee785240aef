"""GymnasiumWrapper: a Gymnasium environment as a PyEnvironment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.gymnasium_interface import (
    InterfaceError,
    array_of,
    bounds_problem,
    call_problem,
    check_signatures,
    flag,
    numbers,
    out_of_bounds,
    reset_result,
    shape_problem,
    step_result,
    structure_problem,
)
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.gymnasium_spaces import spec_from_space
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure


class GymnasiumWrapper(PyEnvironment):
    """Wraps one Gymnasium environment. Its spaces become specs; a Discrete space keeps its start.

    Termination becomes LAST with discount 0, truncation LAST with ``discount``. Rewards are float32. The environment's
    other public attributes are available here, too.

    Args:
        gym_env: The environment.
        discount: Discount of every step that does not terminate.
        spec_dtype_map: Dtypes that replace a space's own in its spec, by the space's class.
        match_obs_space_dtype: Whether observations are cast to their specs' dtypes.
        auto_reset: Whether a step after LAST resets the environment.
        simplify_box_bounds: Whether bounds that are equal in all elements are kept as one number.
        render_kwargs: Arguments of the environment's ``render``.

    Raises:
        SpecMismatchError: If a space is not a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple.
        ConfigError: If ``reset`` or ``step`` does not take Gymnasium's arguments.
    """

    def __init__(
        self,
        gym_env: gym.Env,
        discount: float = 1.0,
        spec_dtype_map: Mapping[type, Any] | None = None,
        match_obs_space_dtype: bool = True,
        auto_reset: bool = True,
        simplify_box_bounds: bool = True,
        render_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(handle_auto_reset=auto_reset)
        spec = getattr(gym_env, "spec", None)
        self._name = type(gym_env.unwrapped).__name__ if spec is None else spec.id
        check_signatures(gym_env, self._name)
        self._gym_env = gym_env
        self._discount = np.float32(discount)
        self._match_obs_space_dtype = match_obs_space_dtype
        self._render_kwargs = dict(render_kwargs or {})
        dtypes = dict(spec_dtype_map or {})
        self._observation_spec = spec_from_gym_space(
            gym_env.observation_space, dtypes, simplify_box_bounds, "observation"
        )
        self._action_spec = spec_from_gym_space(gym_env.action_space, dtypes, simplify_box_bounds, "action")
        self._info: Any = None
        self._done = True
        self._seed: int | None = None

    @property
    def gym(self) -> gym.Env:
        """The wrapped environment."""
        return self._gym_env

    @property
    def done(self) -> bool:
        """Whether the last step ended the episode; True before the first reset."""
        return self._done

    def __getattr__(self, name: str) -> Any:
        # A copied or unpickled object has no attributes yet, and looking one up would recurse.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._gym_env, name)

    def observation_spec(self) -> Any:
        return self._observation_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def get_info(self) -> Any:
        """Returns the environment's info from the last reset or step; None before the first reset."""
        return self._info

    def seed(self, seed: int) -> None:
        """Seeds the action space now, and the environment at its next reset."""
        self._seed = int(seed)
        self._gym_env.action_space.seed(self._seed)

    def render(self, mode: str = "rgb_array") -> Any:
        """Returns what the environment renders. In Gymnasium the mode is chosen when the environment is made.

        Raises:
            NotImplementedError: If the environment was made for another mode.
        """
        made_for = self._gym_env.render_mode
        if made_for != mode:
            raise NotImplementedError(
                f"the environment renders {made_for!r}, not {mode!r}; make it with render_mode={mode!r}"
            )
        return self._gym_env.render(**self._render_kwargs)

    def get_state(self) -> Any:
        return self._of_env("get_state")()

    def set_state(self, state: Any) -> None:
        self._of_env("set_state")(state)

    def close(self) -> None:
        self._gym_env.close()

    def _of_env(self, name: str) -> Any:
        found = getattr(self._gym_env.unwrapped, name, None)
        if found is None:
            raise NotImplementedError(f"{type(self._gym_env.unwrapped).__name__} has no {name}()")
        return found

    def _reset(self) -> TimeStep:
        result = self._call("reset", seed=self._seed)
        with self._named():
            observation, self._info = reset_result(result)
            self._seed, self._done = None, False
            return ts.restart(self._observe(observation))

    def _step(self, action: Any) -> TimeStep:
        action = map_structure(_own, action)
        result = self._call("step", action)
        with self._named():
            observation, reward, terminated, truncated, self._info = step_result(result)
            terminated, truncated = flag(terminated, "terminated"), flag(truncated, "truncated")
            self._done = terminated or truncated
            observation, reward = self._observe(observation), numbers([reward], 1, "reward")[0]
        if terminated:
            return ts.termination(observation, reward)
        if truncated:
            return ts.truncation(observation, reward, self._discount)
        return ts.transition(observation, reward, self._discount)

    def _observe(self, observation: Any) -> Any:
        """Returns a copy of the observation, since environments may reuse their arrays."""
        return self._arrays(self._observation_spec, observation, "observation")

    def _arrays(self, spec: Any, value: Any, path: str) -> Any:
        if isinstance(spec, dict):
            return {key: self._child(spec, value, key, path) for key in spec}
        if isinstance(spec, tuple):
            return tuple(self._child(spec, value, index, path) for index in range(len(spec)))
        if self._match_obs_space_dtype:
            array = np.array(array_of(value, spec.dtype, spec.shape, path))
            outside = out_of_bounds(array, spec)
            if outside is not None:
                raise bounds_problem(path, array, np.argwhere(outside)[0].tolist(), spec)
            return array
        try:
            array = np.array(value)
        except (TypeError, ValueError) as error:
            raise shape_problem(path, value, spec.dtype, spec.shape) from error
        if array.shape != spec.shape:
            raise shape_problem(path, value, spec.dtype, spec.shape)
        return array

    def _child(self, spec: Any, value: Any, key: Any, path: str) -> Any:
        path = f"{path}/{key}"
        try:
            child = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise structure_problem(path, value) from error
        return self._arrays(spec[key], child, path)

    def _call(self, call: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self._gym_env, call)(*args, **kwargs)
        except (TypeError, NotImplementedError) as error:
            problem = call_problem(self._gym_env, call, error)
            if problem is None:
                raise
            raise InterfaceError(f"env {self._name} {problem}") from error

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except InterfaceError as error:
            raise InterfaceError(f"env {self._name} {error}") from error


def _own(leaf: Any) -> Any:
    """Returns a leaf of an action that the environment may keep or change."""
    if not isinstance(leaf, np.ndarray):
        return leaf
    # Some environments index with their action or test for an int, so a 0-d array becomes a scalar.
    return leaf.copy() if leaf.ndim else leaf[()]


def spec_from_gym_space(
    space: gym.Space,
    dtype_map: Mapping[type, Any] | None = None,
    simplify_box_bounds: bool = True,
    name: str | None = None,
) -> Any:
    """Returns the nest of specs of a space: a dict for a Dict, a tuple for a Tuple.

    Args:
        space: The space.
        dtype_map: Dtypes that replace a space's own, by the space's class.
        simplify_box_bounds: Whether bounds that are equal in all elements are kept as one number.
        name: Name of the spec.

    Raises:
        SpecMismatchError: If a space is not a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple.
    """
    dtypes, name = dtype_map or {}, name or "space"
    if isinstance(space, gym.spaces.Dict):
        children = space.spaces.items()
        return {
            key: spec_from_gym_space(child, dtypes, simplify_box_bounds, f"{name}/{key}") for key, child in children
        }
    if isinstance(space, gym.spaces.Tuple):
        parts = enumerate(space.spaces)
        return tuple(spec_from_gym_space(child, dtypes, simplify_box_bounds, f"{name}/{i}") for i, child in parts)
    spec = spec_from_space(space, name)
    dtype = np.dtype(dtypes.get(type(space), spec.dtype))
    if not isinstance(spec, BoundedArraySpec):  # A Box of booleans.
        return ArraySpec(spec.shape, dtype, spec.name)
    minimum, maximum = spec.minimum, spec.maximum
    if (
        simplify_box_bounds
        and minimum.size
        and np.all(minimum == minimum.flat[0])
        and np.all(maximum == maximum.flat[0])
    ):
        minimum, maximum = minimum.flat[0], maximum.flat[0]
    return BoundedArraySpec(spec.shape, dtype, _cast_bounds(minimum, dtype), _cast_bounds(maximum, dtype), spec.name)


def _cast_bounds(bounds: Any, dtype: np.dtype) -> np.ndarray:
    """Returns the bounds in a spec's dtype; those that are outside its range become its first or last value."""
    if dtype.kind not in "iu" or np.asarray(bounds).dtype == dtype:
        with np.errstate(over="ignore"):  # A bound may be infinite in a smaller dtype.
            return np.asarray(bounds, dtype)
    limits = np.iinfo(dtype)
    # Python's integers, since no float holds every int64 exactly.
    cast = [int(min(max(value, limits.min), limits.max)) for value in np.ravel(bounds).tolist()]
    return np.array(cast, dtype).reshape(np.shape(bounds))
