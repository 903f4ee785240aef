"""EnvPoolEnvironment: slots in EnvPool's threads."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from workers.action_rows import ActionRows
from workers.atari import channels_last_space
from workers.environment import Environment, first_steps, following_step_types
from workers.fault_log import in_one_line


class EnvPoolEnvironment(Environment):
    """An EnvPool, which takes its seeds when it is made: so ``reset`` makes it.

    Each slot has a generator of its own. What goes wrong in its threads cannot be told apart by slot.

    Args:
        task_id: EnvPool's id.
        name: The environment's id, for messages.
        num_slots: B.
        num_threads: Its threads.
        kwargs: Its arguments.
        channels_last: Whether observations are images ``[C, H, W]`` to be returned as ``[H, W, C]``.

    Raises:
        ConfigError: If EnvPool is not installed, or has no such environment or arguments.
    """

    def __init__(
        self,
        task_id: str,
        name: str,
        num_slots: int,
        num_threads: int,
        kwargs: dict[str, Any],
        channels_last: bool = False,
    ) -> None:
        try:
            import envpool
        except ImportError as error:
            raise ConfigError("--vectorization envpool needs EnvPool: pip install 'distpolicy[envpool]'") from error
        if task_id not in envpool.list_all_envs():
            raise ConfigError(f"EnvPool has no env {task_id!r}; use --vectorization auto")
        self._arguments = {**kwargs, "num_envs": num_slots, "num_threads": min(num_threads, num_slots)}
        try:
            spec = envpool.make_spec(task_id, **self._arguments)
        except Exception as error:  # Its constructor asserts and raises whatever comes.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"EnvPool's {task_id} does not take the arguments {kwargs}: {reason}") from error
        space = spec.gymnasium_observation_space
        super().__init__(
            name, num_slots, channels_last_space(space) if channels_last else space, spec.gymnasium_action_space
        )
        self._task_id, self._channels_last = task_id, channels_last
        self._actions = ActionRows(self.action_space)
        self._pool: Any = None
        self._ended = np.zeros(num_slots, np.bool_)

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        import envpool

        self.close()
        try:
            self._pool = envpool.make_gymnasium(
                self._task_id, **self._arguments, seed=[int(seed) % (2**31 - 1) for seed in seeds]
            )
            observation, _ = self._pool.reset()
        except Exception as error:
            raise self._crashed(error, "reset") from error
        self._ended[:] = False
        return first_steps(self._arranged(observation), self.num_slots)

    def step(self, action: Any) -> TimeStep:
        try:
            observation, reward, terminated, truncated, _ = self._pool.step(self._actions.clipped(action))
        except Exception as error:
            raise self._crashed(error, "step") from error
        ended = np.logical_or(terminated, truncated)
        self._ended, before = ended, self._ended
        discount = np.logical_not(terminated).astype(np.float32)
        return TimeStep(
            following_step_types(before, ended), np.asarray(reward, np.float32), discount, self._arranged(observation)
        )

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _arranged(self, observation: Any) -> Any:
        return np.ascontiguousarray(np.moveaxis(observation, 1, -1)) if self._channels_last else observation

    def _crashed(self, error: Exception, call: str) -> EnvironmentCrashedError:
        text = "".join(traceback.format_exception(error))
        return EnvironmentCrashedError(f"env {self.name} {in_one_line(error, call)}", traceback=text)
