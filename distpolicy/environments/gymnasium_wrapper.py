"""GymnasiumWrapper: a Gymnasium environment as a PyEnvironment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.specs.array_spec import BoundedArraySpec
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
        self._gym_env = gym_env
        self._discount = np.float32(discount)
        self._match_obs_space_dtype = match_obs_space_dtype
        self._render_kwargs = dict(render_kwargs or {})
        dtypes = dict(spec_dtype_map or {})
        self._observation_spec = _spec(gym_env.observation_space, dtypes, simplify_box_bounds, "observation")
        self._action_spec = _spec(gym_env.action_space, dtypes, simplify_box_bounds, "action")
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
        observation, self._info = self._gym_env.reset(seed=self._seed)
        self._seed, self._done = None, False
        return ts.restart(self._observe(observation))

    def _step(self, action: Any) -> TimeStep:
        # Some environments index with their action or test for an int, so a 0-d array becomes a scalar.
        action = map_structure(lambda leaf: leaf[()] if isinstance(leaf, np.ndarray) else leaf, action)
        observation, reward, terminated, truncated, self._info = self._gym_env.step(action)
        self._done = bool(terminated or truncated)
        observation, reward = self._observe(observation), np.float32(reward)
        if terminated:
            return ts.termination(observation, reward)
        if truncated:
            return ts.truncation(observation, reward, self._discount)
        return ts.transition(observation, reward, self._discount)

    def _observe(self, observation: Any) -> Any:
        """Returns a copy of the observation, since environments may reuse their arrays."""

        def copied(spec: Any, leaf: Any) -> np.ndarray:
            return np.array(leaf, spec.dtype if self._match_obs_space_dtype else None)

        return map_structure(copied, self._observation_spec, observation)


def _spec(space: gym.Space, dtypes: dict[type, Any], simplify: bool, name: str) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _spec(child, dtypes, simplify, f"{name}/{key}") for key, child in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_spec(child, dtypes, simplify, f"{name}/{index}") for index, child in enumerate(space.spaces))
    spec = spec_from_space(space, name)
    dtype, minimum, maximum = dtypes.get(type(space), spec.dtype), spec.minimum, spec.maximum
    if simplify and minimum.size and np.all(minimum == minimum.flat[0]) and np.all(maximum == maximum.flat[0]):
        minimum, maximum = minimum.flat[0], maximum.flat[0]
    # The bounds are cast, too, since the new dtype may have another range.
    return BoundedArraySpec(spec.shape, dtype, np.asarray(minimum, dtype), np.asarray(maximum, dtype), spec.name)
