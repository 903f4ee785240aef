"""PyEnvironmentBaseWrapper: the base of environments that change another one."""

from __future__ import annotations

from typing import Any

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep


class PyEnvironmentBaseWrapper(PyEnvironment):
    """Passes every call on to another environment. A subclass overrides what it changes.

    The environment's other public attributes are available here, too.

    Args:
        env: The environment.
        handle_auto_reset: See :class:`PyEnvironment`.
    """

    def __init__(self, env: Any, handle_auto_reset: bool = False) -> None:
        super().__init__(handle_auto_reset)
        self._env = env

    def __getattr__(self, name: str) -> Any:
        # A copied or unpickled object has no attributes yet, and looking one up would recurse.
        if name == "_env":
            raise AttributeError(name)
        return getattr(self._env, name)

    @property
    def batched(self) -> bool:
        """Whether the environment has a batch dimension."""
        return getattr(self._env, "batched", False)

    @property
    def batch_size(self) -> int | None:
        """The number of environments, or None if there is no batch dimension."""
        return getattr(self._env, "batch_size", None)

    def wrapped_env(self) -> Any:
        """Returns the environment that is wrapped."""
        return self._env

    def observation_spec(self) -> Any:
        return self._env.observation_spec()

    def action_spec(self) -> Any:
        return self._env.action_spec()

    def reward_spec(self) -> Any:
        return self._env.reward_spec()

    def discount_spec(self) -> Any:
        return self._env.discount_spec()

    def get_info(self) -> Any:
        return self._env.get_info()

    def render(self, mode: str = "rgb_array") -> Any:
        return self._env.render(mode)

    def seed(self, seed: Any) -> Any:
        return self._env.seed(seed)

    def get_state(self) -> Any:
        return self._env.get_state()

    def set_state(self, state: Any) -> None:
        self._env.set_state(state)

    def close(self) -> None:
        self._env.close()

    def _reset(self) -> TimeStep:
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        return self._env.step(action)

    def _refuse_batches(self) -> None:
        if self.batched:
            raise ConfigError(f"{type(self).__name__} wraps one environment; wrap each before they become a batch")
