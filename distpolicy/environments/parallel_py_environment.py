"""ParallelPyEnvironment: environments that step at the same time, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from distpolicy.environments.batched_py_environment import unstack_actions
from distpolicy.environments.process_py_environment import (
    EnvConstructor,
    ProcessPyEnvironment,
    Promise,
    check_render_mode,
)
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure

__all__ = ["EnvConstructor", "ParallelPyEnvironment", "ProcessPyEnvironment", "Promise"]


class ParallelPyEnvironment(PyEnvironment):
    """Steps N environments in N processes and stacks their time steps.

    It pays off for environments that take more than a few hundred microseconds a step.

    Args:
        env_constructors: Functions that make the environments, which have equal specs and no batch dimension. They may
            be lambdas and need not be importable.
        start_serially: Whether each process is started after the last one has made its environment, rather than all at
            the same time.
        blocking: Whether the environments step one after another.
        flatten: See :class:`ProcessPyEnvironment`.

    Raises:
        TypeError: If a constructor cannot be called.
        ValueError: If there are no constructors, or the environments' specs differ.
        EnvironmentCrashedError: If a constructor raises.
    """

    def __init__(
        self,
        env_constructors: Sequence[EnvConstructor],
        start_serially: bool = True,
        blocking: bool = False,
        flatten: bool = False,
    ) -> None:
        super().__init__()
        for index, constructor in enumerate(env_constructors):
            if not callable(constructor):
                raise TypeError(
                    f"env_constructors[{index}] must be a function that makes an environment, not {constructor!r}"
                )
        if not env_constructors:
            raise ConfigError("env_constructors must have at least one function that makes an environment")
        self._envs = [ProcessPyEnvironment(constructor, flatten) for constructor in env_constructors]
        self._start_serially = start_serially
        self._blocking = blocking
        try:
            self.start()
            self._check_specs()
        except BaseException:
            self.close()
            raise
        self._time_step_spec = self._envs[0].time_step_spec()
        self._action_spec = self._envs[0].action_spec()

    def start(self) -> None:
        """Starts the processes. The constructor has done it already.

        Raises:
            EnvironmentCrashedError: If an environment cannot be made.
        """
        for index, env in enumerate(self._envs):
            with _naming(index):
                env.start(wait_to_start=self._start_serially)
        if not self._start_serially:
            self._results([env.wait_start for env in self._envs])

    @property
    def batched(self) -> bool:
        """Whether there is a batch dimension: always True."""
        return True

    @property
    def batch_size(self) -> int:
        """The number of environments."""
        return len(self._envs)

    @property
    def envs(self) -> list[ProcessPyEnvironment]:
        """The environments' processes."""
        return self._envs

    def observation_spec(self) -> Any:
        return self._time_step_spec.observation

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> Any:
        return self._time_step_spec.reward

    def discount_spec(self) -> Any:
        return self._time_step_spec.discount

    def time_step_spec(self) -> TimeStep:
        return self._time_step_spec

    def seed(self, seeds: Sequence[Any]) -> list[Any]:
        """Seeds the environments, each with its own seed, and returns what each of them returned.

        Raises:
            ValueError: If there is not one seed for each environment.
        """
        if len(seeds) != len(self._envs):
            raise ConfigError(f"there are {len(seeds)} seeds for {len(self._envs)} environments; give each its own")
        return self._call("seed", [(seed,) for seed in seeds])

    def render(self, mode: str = "rgb_array") -> Any:
        """Returns the images of the environments, uint8 ``[N, height, width, 3]``.

        Raises:
            NotImplementedError: If the mode is not ``rgb_array``, or an environment cannot be rendered.
        """
        check_render_mode(mode)
        return _stacked(self._call("render", [(mode,)] * len(self._envs)))

    def close(self) -> None:
        """Closes the environments and ends their processes. It may be called twice."""
        for env in self._envs:
            env.close()

    def _reset(self) -> TimeStep:
        return _stacked(self._call("reset", [()] * len(self._envs)))

    def _step(self, action: Any) -> TimeStep:
        rows = unstack_actions(map_structure(np.asarray, action))
        if len(rows) != len(self._envs):
            raise ConfigError(f"the batch of actions has {len(rows)} rows for {len(self._envs)} environments")
        return _stacked(self._call("step", [(row,) for row in rows]))

    def _call(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        calls: Iterator[Promise] = (env.call(name, *own) for env, own in zip(self._envs, arguments, strict=True))
        # A list makes all calls before the first result is awaited.
        return self._results(calls if self._blocking else list(calls))

    def _results(self, promises: Iterable[Promise]) -> list[Any]:
        """Waits for all results, so that none is left for the next call, and then raises the first error."""
        results, errors = [], []
        for index, promise in enumerate(promises):
            try:
                with _naming(index):
                    results.append(promise())
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    def _check_specs(self) -> None:
        for index, env in enumerate(self._envs):
            for what in ("action_spec", "time_step_spec"):
                own, first = getattr(env, what)(), getattr(self._envs[0], what)()
                if own != first:
                    raise ConfigError(f"environment {index} has another {what} than environment 0: {own}, not {first}")


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Adds the number of the environment to its error."""
    try:
        yield
    except EnvironmentCrashedError as error:
        named = EnvironmentCrashedError(error.message, slot=index, traceback=error.traceback)
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        raise named from error


def _stacked(nests: Sequence[Any]) -> Any:
    return map_structure(lambda *leaves: np.stack(leaves), *nests)
