"""BatchedPyPolicy: several policies for single environments, combined into one for a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure
from distpolicy.utils.sampling.array_draws import array_seed, row_seeds


class BatchedPyPolicy(PyPolicy):
    """Passes row b of a batch to policy b.

    The policies act at the same time, each in its own thread. They must guard whatever they share.

    Args:
        policies: Policies for single time steps, with equal specs.
        multithreading: Whether the policies act in threads of a pool, rather than in turn in the caller's thread.

    Raises:
        ValueError: If ``policies`` is not a list or tuple, is empty, or its specs differ; when the policy acts, if the
            batch size is not the number of policies.
    """

    def __init__(self, policies: Sequence[PyPolicy], multithreading: bool = True) -> None:
        if not isinstance(policies, list | tuple) or not policies:
            raise ConfigError(f"policies must be a list or tuple of at least one policy, not {policies!r}")
        first = policies[0]
        for index, policy in enumerate(policies):
            if (policy.time_step_spec, policy.policy_step_spec) != (first.time_step_spec, first.policy_step_spec):
                raise ConfigError(
                    f"all policies must have the same specs, but those of policies[{index}] differ from the first's"
                )
        super().__init__(first.time_step_spec, first.action_spec, first.policy_state_spec, first.info_spec)
        self._policies = list(policies)
        # A single policy gains nothing from a thread.
        self._pool = ThreadPoolExecutor(len(policies)) if multithreading and len(policies) > 1 else None

    @property
    def batch_size(self) -> int:
        """The number of policies."""
        return len(self._policies)

    def close(self) -> None:
        """Ends the threads. The policy cannot act afterwards."""
        if self._pool is not None:
            self._pool.shutdown()

    def _get_initial_state(self, batch_size: int | None) -> Any:
        if batch_size not in (None, self.batch_size):
            raise ConfigError(f"batch_size must be {self.batch_size}, the number of policies, not {batch_size}")
        return _stacked([policy.get_initial_state() for policy in self._policies])

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        sizes = {np.shape(leaf)[:1] for leaf in flatten((time_step, policy_state))}
        if sizes != {(self.batch_size,)}:
            found = ", ".join(sorted(str(size[0]) if size else "none" for size in sizes))
            raise ConfigError(
                f"time_step and policy_state must be batches of {self.batch_size}, one row for each policy; their "
                f"first dimensions are {found}"
            )
        seeds: list[Any] = [None] * self.batch_size if seed is None else _row_seeds(seed, self.batch_size)

        def act(row: int) -> PolicyStep:
            own_step, own_state = map_structure(lambda leaf: np.asarray(leaf)[row], (time_step, policy_state))
            return self._policies[row].action(own_step, own_state, seeds[row])

        return _stacked(self._run(act))

    def _run(self, act: Callable[[int], PolicyStep]) -> list[PolicyStep]:
        rows = range(self.batch_size)
        return [act(row) for row in rows] if self._pool is None else list(self._pool.map(act, rows))


def _stacked(nests: list[Any]) -> Any:
    return map_structure(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *nests)


def _row_seeds(seed: Any, num_rows: int) -> list[Any]:
    seed = array_seed(seed)
    return list(seed if seed.ndim == 2 else row_seeds(seed, num_rows))
