"""BatchedPyEnvironment: several environments as one with a batch dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure


class BatchedPyEnvironment(PyEnvironment):
    """Steps N environments and stacks their time steps.

    Args:
        envs: The environments, without batch dimensions and with equal specs.
        multithreading: Whether the environments step at the same time, each in its own thread, rather than in turn in
            the caller's thread. They must guard whatever they share. A single environment never gets a thread.

    Raises:
        ValueError: If ``envs`` is not a list or tuple, is empty, holds a batched environment, or the specs differ.
    """

    def __init__(self, envs: Sequence[PyEnvironment], multithreading: bool = True) -> None:
        super().__init__()
        if not isinstance(envs, list | tuple) or not envs:
            raise ConfigError(f"envs must be a list or tuple of at least one environment, not {envs!r}")
        for index, env in enumerate(envs):
            if env.batched:
                raise ConfigError(f"envs[{index}] has a batch dimension already: {env!r}")
            for what in ("action_spec", "time_step_spec"):
                own, first = getattr(env, what)(), getattr(envs[0], what)()
                if own != first:
                    raise ConfigError(f"envs[{index}] has another {what} than envs[0]: {own}, not {first}")
        self._envs = envs
        self._pool = ThreadPoolExecutor(len(envs)) if multithreading and len(envs) > 1 else None

    @property
    def batched(self) -> bool:
        """Whether there is a batch dimension: always True."""
        return True

    @property
    def batch_size(self) -> int:
        """The number of environments."""
        return len(self._envs)

    @property
    def envs(self) -> Sequence[PyEnvironment]:
        """The environments."""
        return self._envs

    def observation_spec(self) -> Any:
        return self._envs[0].observation_spec()

    def action_spec(self) -> Any:
        return self._envs[0].action_spec()

    def reward_spec(self) -> Any:
        return self._envs[0].reward_spec()

    def discount_spec(self) -> Any:
        return self._envs[0].discount_spec()

    def time_step_spec(self) -> TimeStep:
        return self._envs[0].time_step_spec()

    def get_info(self) -> Any:
        """Returns the stacked infos of the environments."""
        return _stacked(self._map(lambda env: env.get_info(), self._envs))

    def seed(self, seed: Any) -> list[Any]:
        """Seeds every environment with the same seed, and returns what each of them returned."""
        return self._map(lambda env: env.seed(seed), self._envs)

    def get_state(self) -> list[Any]:
        """Returns the environments' states."""
        return self._map(lambda env: env.get_state(), self._envs)

    def set_state(self, state: Sequence[Any]) -> None:
        """Restores the states that :meth:`get_state` returned."""
        self._map(lambda env, own: env.set_state(own), self._envs, state)

    def render(self, mode: str = "rgb_array") -> Any:
        """Returns the images of the environments, uint8 ``[N, height, width, 3]``."""
        return _stacked(self._map(lambda env: env.render(mode), self._envs))

    def close(self) -> None:
        """Closes the environments and ends the threads."""
        self._map(lambda env: env.close(), self._envs)
        if self._pool is not None:
            self._pool.shutdown()

    def _reset(self) -> TimeStep:
        return _stacked(self._map(lambda env: env.reset(), self._envs))

    def _step(self, action: Any) -> TimeStep:
        if len(self._envs) == 1:
            # The row of a scalar action may be left out, as in TF-Agents.
            action = map_structure(np.atleast_1d, action)
        rows = unstack_actions(action)
        if len(rows) != len(self._envs):
            raise ConfigError(f"the batch of actions has {len(rows)} rows for {len(self._envs)} environments")
        return _stacked(self._map(lambda env, row: env.step(row), self._envs, rows))

    def _map(self, function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
        return list((map if self._pool is None else self._pool.map)(function, *columns))


def unstack_actions(batched_actions: Any) -> list[Any]:
    """Returns the actions of a batch, one for each row.

    Args:
        batched_actions: Nest of arrays ``[B, ...]``.
    """
    num_rows = min((len(leaf) for leaf in flatten(batched_actions)), default=0)
    return [map_structure(lambda leaf: leaf[row], batched_actions) for row in range(num_rows)]  # noqa: B023


def _stacked(nests: Sequence[Any]) -> Any:
    return map_structure(lambda *leaves: np.stack(leaves), *nests)
