"""EnvPoolEnvironment: environments that EnvPool steps in its threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpolicy.errors import ConfigError
from workers.environments.batched import BatchedEnvironment
from workers.environments.deadline import close_deadline
from workers.environments.process_state import close_quietly


class EnvPoolEnvironment(BatchedEnvironment):
    """Steps an EnvPool. EnvPool takes its seeds when it is made, so ``reset`` makes it.

    Each environment has its own generator. An error in EnvPool's threads does not tell which environment failed.

    Args:
        task_id: EnvPool's id of the environment.
        name: The environment's id, for messages.
        num_slots: B, the number of env slots.
        num_threads: Number of EnvPool's threads.
        kwargs: Arguments of ``envpool.make``.
        channels_last: Whether to turn images ``[C, H, W]`` into ``[H, W, C]``.
        max_episode_steps: Number of steps after which an episode is truncated, if EnvPool has no smaller limit; None
            for EnvPool's.

    Raises:
        ConfigError: If EnvPool is not installed, does not have the environment, or refuses the arguments.
        SpecMismatchError: If a space is not supported.
    """

    def __init__(
        self,
        task_id: str,
        name: str,
        num_slots: int,
        num_threads: int,
        kwargs: dict[str, Any],
        channels_last: bool = False,
        max_episode_steps: int | None = None,
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
            if max_episode_steps is not None:
                self._arguments["max_episode_steps"] = min(max_episode_steps, spec.config.max_episode_steps)
        except Exception as error:  # EnvPool asserts, or raises errors of any kind.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"EnvPool's {task_id} does not take the arguments {kwargs}: {reason}") from error
        super().__init__(name, num_slots, spec.gymnasium_observation_space, spec.gymnasium_action_space, channels_last)
        self._task_id = task_id
        self._pool: Any = None

    def close(self) -> None:
        if self._pool is not None:
            with close_deadline(self.name, self.step_timeout_s):
                close_quietly(self._pool)
            self._pool = None

    @property
    def _stepped(self) -> Any:
        return self._pool

    def _reset_all(self, seeds: Sequence[int]) -> Any:
        import envpool

        self.close()
        self._pool = envpool.make_gymnasium(
            self._task_id, **self._arguments, seed=[int(seed) % (2**31 - 1) for seed in seeds]
        )
        return self._pool.reset()

    def _step_all(self, action: Any) -> Any:
        return self._pool.step(action)
