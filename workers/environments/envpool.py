"""EnvPoolEnvironment: slots in EnvPool's threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from workers.environments.batched import BatchedEnvironment


class EnvPoolEnvironment(BatchedEnvironment):
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
        super().__init__(name, num_slots, spec.gymnasium_observation_space, spec.gymnasium_action_space, channels_last)
        self._task_id = task_id
        self._pool: Any = None

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
        return self._begun(observation)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _step_all(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return self._pool.step(action)
