"""VectorEnvironment: slots in an environment's own vectorised form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from workers.batched_environment import BatchedEnvironment


class VectorEnvironment(BatchedEnvironment):
    """A Gymnasium vector environment. It cannot tell which of its slots failed, so that a failure is the end.

    Args:
        env: A Gymnasium vector environment that resets a slot in the step after its episode's last.
        name: Its name, for messages.
        seed_each_slot: Whether ``reset`` takes an array of seeds; else the slots share one generator, which takes the
            first seed.
        channels_last: Whether observations are images ``[C, H, W]`` to be returned as ``[H, W, C]``.

    Raises:
        ConfigError: If the environment resets in another way. One that resets within the step (SAME_STEP) has begun
            the slot's next episode already; it cannot hold that slot at FIRST while the others step.
        SpecMismatchError: If a space is not supported.
    """

    def __init__(
        self, env: gym.vector.VectorEnv, name: str, seed_each_slot: bool = False, channels_last: bool = False
    ) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != gym.vector.AutoresetMode.NEXT_STEP:
            raise ConfigError(
                f"env {name} resets by {mode}; only AutoresetMode.NEXT_STEP is supported, in which the step after an "
                "episode's last one resets"
            )
        super().__init__(name, int(env.num_envs), env.single_observation_space, env.single_action_space, channels_last)
        self._env = env
        self._seed_each_slot = seed_each_slot

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        seed: Any = np.array(seeds, np.int64) if self._seed_each_slot else int(seeds[0])
        try:
            observation, _ = self._env.reset(seed=seed)
        except Exception as error:
            raise self._crashed(error, "reset") from error
        return self._begun(observation)

    def close(self) -> None:
        self._env.close()

    def _step_all(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return self._env.step(action)
