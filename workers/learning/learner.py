"""Learner: an agent that learns from rollouts and publishes weights."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.compilation.compile_cache import seal_compile_cache
from distpolicy.utils.memory import peak_memory_bytes
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import Weights, WeightsPacker

AgentFactory = Callable[..., Any]


class Learner:
    """Holds an agent; every update makes the next version of the weights.

    Args:
        agent_factory: Makes the agent: ``train``, ``zero_rollout``, ``collect_policy``, ``policy`` and
            ``named_variables``.
        generation: How often the run was started.
    """

    def __init__(self, agent_factory: AgentFactory, generation: int = 0) -> None:
        self._agent = agent_factory()
        self._generation = generation
        self._packer = WeightsPacker(self._agent.collect_policy)
        self._version = 0
        self._last_end = time.perf_counter()

    def weights(self) -> Weights:
        """The collect policy's weights as they are now."""
        return self._packer.pack(self._generation, self._version)

    def warm_up(self, num_slots: int, num_steps: int) -> float:
        """Compiles the update and leaves everything as it was.

        Args:
            num_slots: Rows of the rollouts that updates will get, over all collectors.
            num_steps: Their length.

        Returns:
            Seconds that it took.
        """
        start = time.perf_counter()
        state = self.state()
        self._agent.train(self._agent.zero_rollout(num_slots, num_steps), 0.0)
        seal_compile_cache()
        self._assign(state)
        self._last_end = time.perf_counter()
        return self._last_end - start

    def update(self, progress: float, *rollouts: Rollout) -> tuple[Weights, dict[str, float]]:
        """Learns from rollouts.

        Args:
            progress: The share of the run that is over, in [0, 1].
            rollouts: Of one length; several may be of the same slots, one after the other.

        Returns:
            The next version's weights, and the agent's metrics with ``policy_lag`` (versions between the oldest
            behaviour policy and the learner), ``update_s`` and ``learner_wait_s``.

        Raises:
            DistPolicyError: If the losses are no longer finite.
        """
        start = time.perf_counter()
        wait_s = start - self._last_end
        batch = merge_rollouts(rollouts)
        lag = self._version - int(batch.weights_version[:, 1].min())
        metrics = self._agent.train(batch, progress)
        diverged = [name for name, value in metrics.items() if not np.isfinite(value)]
        if diverged:
            raise DistPolicyError(
                f"training diverged in update {self._version + 1}: {', '.join(diverged)} not finite; "
                "lower ppo.learning_rate, or normalise observations and rewards"
            )
        self._version += 1
        weights = self.weights()
        self._last_end = time.perf_counter()
        timings = {"policy_lag": float(lag), "update_s": self._last_end - start, "learner_wait_s": wait_s}
        return weights, {**metrics, **timings}

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a checkpoint has to hold, by path: networks, optimizer, normalisers, counters."""
        values = {item.path: item.variable.numpy() for item in self._agent.named_variables()}
        return {**values, "learner/version": np.asarray(self._version, np.int64)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes a state from :meth:`state`; the generation stays the learner's own.

        Raises:
            ConfigError: If it is not of this agent's layout; names the first difference. Nothing has changed then.
        """
        targets = {item.path: item.variable for item in self._agent.named_variables()}
        for path, variable in targets.items():
            if path not in state:
                raise ConfigError(
                    f"the checkpoint has no {path}: it was written with another network or other settings"
                )
            want, got = tuple(variable.shape), state[path].shape
            if want != got:
                raise ConfigError(
                    f"the checkpoint is from another architecture: {path} has shape {got} there and {want} here; "
                    "give the network settings it was trained with"
                )
        if "learner/version" not in state:
            raise ConfigError("the checkpoint has no learner/version: it was not written by a learner")
        for path in sorted(set(state) - set(targets) - {"learner/version"}):
            raise ConfigError(f"the checkpoint holds {path}, which these settings have no place for")
        self._assign(state)

    def _assign(self, state: dict[str, np.ndarray]) -> None:
        for item in self._agent.named_variables():
            item.variable.assign(state[item.path])
        self._version = int(state["learner/version"])

    def export_policy(self) -> dict[str, bytes]:
        """The deployment policy as a SavedModel: the bytes of each file by its path."""
        from distpolicy.policies.policy_saver import PolicySaver

        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "policy"
            PolicySaver(self._agent.policy).save(folder)
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def peak_memory_bytes(self) -> int:
        """The most memory that this process has had resident."""
        return peak_memory_bytes()

    def ping(self) -> int:
        """The generation; answers once the agent is built."""
        return self._generation


def merge_rollouts(rollouts: tuple[Rollout, ...]) -> Rollout:
    """One rollout of all rows, in order of their slots and then of time, whichever collectors they come from."""
    ordered = sorted(rollouts, key=lambda rollout: int(rollout.first_slot))
    if len(ordered) == 1:
        return ordered[0]
    first = ordered[0]
    # Versions are of steps, not of rows: the oldest of each step.
    versions = np.min([rollout.weights_version for rollout in ordered], axis=0)
    merged = {
        name: map_structure(_stack_rows, *(getattr(rollout, name) for rollout in ordered))
        for name in first._fields
        if name not in ("weights_version", "first_slot")
    }
    return Rollout(**merged, weights_version=versions, first_slot=first.first_slot)


def _stack_rows(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, axis=0)
