"""Collector: runs a policy in a batch of environment slots and returns rollouts."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.rollout import Rollout, zero_rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.memory import peak_memory_bytes
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import Acknowledgement, Weights, WeightsReceiver
from workers.collection.env_group import EnvGroup, GroupThreads, rows_of
from workers.collection.episode_statistics import EpisodeStatistics
from workers.collection.evaluator import EvaluationJob, EvaluationResult, Evaluator
from workers.collection.rollout_report import RolloutReport
from workers.collection.seeding import slot_seeds
from workers.collection.stop_guard import StopGuard
from workers.collection.watchdog import Watchdog
from workers.environments.base import Environment
from workers.environments.factory import EnvironmentFactory


class Policies(Protocol):
    """The policies that a collector's policy factory makes; they share their variables."""

    @property
    def collect(self) -> Any:
        """Acts in rollouts: takes and returns arrays, and has ``update`` and ``named_variables``.

        Two groups of slots call it one at a time, unless its ``is_thread_safe`` is true.
        """

    def greedy(self, program: Any = None) -> Any:
        """Returns the policy that acts in evaluations.

        Args:
            program: Its program, if it was sent with the evaluation.
        """


class PolicyPair(NamedTuple):
    """Two policies that exist already.

    Attributes:
        collect: Acts in rollouts.
        evaluated: Acts in evaluations.
    """

    collect: Any
    evaluated: Any

    def greedy(self, program: Any = None) -> Any:
        """Returns the policy that acts in evaluations."""
        return self.evaluated


PolicyFactory = Callable[[TimeStep, Any], Policies]


@dataclasses.dataclass(frozen=True)
class CollectorConfig:
    """The settings of one collector.

    Attributes:
        index: The collector's number.
        first_slot: The number of its first environment slot, counted over the whole run.
        num_slots: B, the number of its slots.
        num_steps: T, the steps of a rollout.
        seed: The run's seed.
        generation: The generation of its seeds.
        reward_discount: Discount of the running returns that rewards are normalised by.
        num_groups: Number of groups that the slots are split into, 1 or 2; see :class:`Collector`.
    """

    index: int
    first_slot: int
    num_slots: int
    num_steps: int
    seed: int
    generation: int = 0
    reward_discount: float = 0.99
    num_groups: int = 1

    def __post_init__(self) -> None:
        if self.num_groups not in (1, 2):
            raise ConfigError(f"collector {self.index}: num_groups must be 1 or 2, but is {self.num_groups}")
        if self.num_slots < self.num_groups:
            raise ConfigError(
                f"collector {self.index}: {self.num_groups} groups need a slot each, and num_slots is {self.num_slots}"
            )


class Collector:
    """Steps B environment slots with one policy call a step, T steps a rollout.

    The arrays of a rollout are allocated once, and the next rollout overwrites them. Code in the same process that
    keeps a rollout must copy it. (A Ray call serialises it before the next one begins.) Episodes and recurrent state
    continue from one rollout to the next.

    With two groups, the slots are halved. Each half is stepped in its own thread, with policy calls for half the rows:
    while the policy acts for one half, the environments of the other half are stepped. This helps if a CPU is free, and
    environments and policy both compute outside Python, such as Atari and a convolutional network. Otherwise it does
    not: Python runs in one thread at a time, and a small policy takes as long for half the rows as for all. Every slot
    keeps its seeds and therefore its data. The exception is a vectorised form whose slots share one random generator:
    with two groups, there are two generators. Environments must not share state with each other.

    If ``stacks_file`` is given, a step of all slots in a rollout (policy call, environments, resets) that takes longer
    than ``environment_factory.step_timeout_s`` ends this process; see :class:`workers.collection.watchdog.Watchdog`.
    This does not apply to ``async``, which watches its own processes. In all forms, a :class:`StopGuard` ends this
    process if it is stopped (SIGSTOP) for that long.

    Args:
        config: The settings.
        environment_factory: Makes the slots.
        policy_factory: Makes the policies from the specs of time steps and actions.
        stacks_file: The file for the stacks of this process's threads if it hangs; a relative path begins at this
            machine's folder of temporary files. None to not look for hangs.
    """

    def __init__(
        self,
        config: CollectorConfig,
        environment_factory: EnvironmentFactory,
        policy_factory: PolicyFactory,
        stacks_file: Path | None = None,
    ) -> None:
        self._config = config
        self._environment_factory = environment_factory
        sizes = [len(rows) for rows in np.array_split(np.arange(config.num_slots), config.num_groups)]
        self._threads = GroupThreads(config.num_groups)
        environments = self._threads.run([partial(environment_factory, size) for size in sizes])
        self._time_step_spec, self._action_spec = environments[0].time_step_spec, environments[0].action_spec
        self._policies = policy_factory(self._time_step_spec, self._action_spec)
        self._policy = self._policies.collect
        # Done now, while the learner is being built, so that the environments do not wait for it later.
        for size in set(sizes):
            self._policy.warm_up(size)
        # A policy without variables does not receive weights.
        has_variables = hasattr(self._policy, "named_variables")
        self._receiver = WeightsReceiver(self._policy, f"collector {config.index}") if has_variables else None
        self._rollout = zero_rollout(
            self._time_step_spec.observation,
            self._action_spec,
            self._policy.info_spec,
            config.num_slots,
            config.num_steps,
            config.first_slot,
        )
        self._groups = self._make_groups(environments)
        self._episodes = EpisodeStatistics(config.num_slots, config.num_steps, config.reward_discount)
        self._evaluator: Evaluator | None = None
        self._watch: Watchdog | None = None
        self._guard: StopGuard | None = None
        if stacks_file is not None:
            path, timeout_s = Path(tempfile.gettempdir()) / stacks_file, environment_factory.step_timeout_s
            self._guard = StopGuard(path, timeout_s)
            if environment_factory.resolved_vectorization() != "async":
                self._watch = Watchdog(path, timeout_s, lambda: self.steps_begun)
        self._first_step_time = 0.0
        self._num_rollouts = 0
        self._closed = False
        # When the last rollout ended, and the seconds of evaluations since then.
        self._last_end, self._evaluation_s = time.perf_counter(), 0.0

    def _make_groups(self, environments: list[Environment]) -> list[EnvGroup]:
        config, groups, first = self._config, [], 0
        is_thread_safe = getattr(self._policy, "is_thread_safe", False)
        policy_lock: Any = contextlib.nullcontext() if is_thread_safe else threading.Lock()
        for environment in environments:
            num_slots, first_slot = environment.num_slots, config.first_slot + first
            seeds = slot_seeds(config.seed, first_slot, num_slots, config.generation)
            rows = rows_of(self._rollout, slice(first, first + num_slots))
            groups.append(EnvGroup(config.index, first_slot, environment, self._policy, policy_lock, seeds, rows))
            first += num_slots
        return groups

    def apply_weights(
        self,
        weights: Weights,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> Acknowledgement:
        """Updates the policy from weights; see :meth:`distpolicy.weights.WeightsReceiver.apply`."""
        return self._weights_receiver.apply(weights, tau, tau_non_trainable, sort_variables_by_name)

    @property
    def _weights_receiver(self) -> WeightsReceiver:
        if self._receiver is None:
            raise ConfigError(f"collector {self._config.index}: its policy has no variables to apply weights to")
        return self._receiver

    @property
    def policy(self) -> Any:
        """The policy that acts in rollouts."""
        return self._policy

    @property
    def time_step_spec(self) -> TimeStep:
        """Array specs of one slot's time step."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """Nest of array specs of one slot's action."""
        return self._action_spec

    @property
    def steps_begun(self) -> int:
        """Number of steps that were begun, including the current one. Each of two groups counts its own."""
        evaluated = 0 if self._evaluator is None else self._evaluator.steps_begun
        return sum(group.steps_begun for group in self._groups) + evaluated

    def rollout(self, weights: Weights | None = None) -> tuple[Rollout, RolloutReport]:
        """Applies weights and collects the next T steps of every slot.

        Args:
            weights: The weights to act with; None to keep the policy's current ones.

        Raises:
            EnvironmentCrashedError: If an environment raises, or returns NaN or infinity.
            StaleWeightsError: If the weights are older than the current ones.
            DistPolicyError: If the file for stacks cannot be made.
        """
        start = time.perf_counter()
        wait_s = max(start - self._last_end - self._evaluation_s, 0.0)
        acknowledgement = None if weights is None else self.apply_weights(weights)
        sync_s = _seconds_since_made(weights, acknowledgement)
        groups = self._groups
        with self._watch or contextlib.nullcontext():
            if not self._first_step_time:
                self._threads.run([group.reset for group in groups])
                self._first_step_time = time.time()
            rollout = self._rollout._replace(
                policy_state=map_structure(_joined, *[group.policy_state for group in groups]),
                discounted_return=self._episodes.discounted_return,
            )
            rollout.weights_version[:] = (0, 0) if weights is None else (weights.generation, weights.version)
            rollout.first_step[:] = self._config.generation, self._num_rollouts * self._config.num_steps
            self._threads.run([group.fill for group in groups])
        ended = self._episodes.add(rollout)
        faults = [fault for group in groups for fault in group.take_faults()]
        infos = {
            (group.first_slot - self._config.first_slot + row, t): numbers
            for group in groups
            for (row, t), numbers in group.ended_infos.items()
        }
        self._last_end, self._evaluation_s = time.perf_counter(), 0.0
        report = RolloutReport(
            collector=self._config.index,
            generation=self._config.generation,
            number=self._num_rollouts,
            weights=acknowledgement,
            num_env_steps=int(np.count_nonzero(rollout.step_type[:, :-1] != StepType.LAST)),
            episode_returns=ended.returns,
            episode_lengths=ended.lengths,
            episode_ends=ended.places,
            env_s=sum(group.env_s for group in groups) / len(groups),
            policy_s=sum(group.policy_s for group in groups) / len(groups),
            total_s=self._last_end - start,
            wait_s=wait_s,
            first_step_time=self._first_step_time,
            faults=sorted(faults, key=lambda fault: fault.step),
            episode_infos=[infos.get(place, {}) for place in ended.places],
            sync_s=sync_s,
        )
        self._num_rollouts += 1
        return rollout, report

    def evaluate(self, weights: Weights, job: EvaluationJob, greedy_program: Any = None) -> EvaluationResult:
        """Runs whole episodes, in environments of their own unless this is the collector's last work.

        Args:
            weights: The weights to act with.
            job: The episodes to run.
            greedy_program: The program of the greedy policy, if there is one.

        Raises:
            EnvironmentCrashedError: If an environment fails more often than its restart budget allows.
        """
        start = time.perf_counter()
        try:
            with self._weights_receiver.lent(weights):
                return self._evaluated(job, greedy_program)
        finally:
            self._evaluation_s += time.perf_counter() - start

    def _evaluated(self, job: EvaluationJob, greedy_program: Any) -> EvaluationResult:
        factory = self._environment_factory.with_seed_for_each_slot()
        environment = self._environment_to_reuse(factory) if job.is_last else None
        policy = self._policy if job.policy == "stochastic" else self._policies.greedy(greedy_program)
        num_envs = min(job.num_envs or self._config.num_slots, job.num_episodes)
        evaluator = Evaluator(factory, policy, num_envs, job.max_episode_steps, self._config.index, environment)
        self._evaluator = evaluator
        return evaluator.evaluate(job.num_episodes, job.first_episode, job.seed, self._watch)

    def _environment_to_reuse(self, factory: EnvironmentFactory) -> Environment | None:
        """Returns environments of the rollouts for an evaluation after the last of them.

        Some simulators, licences and devices allow only so many environments at a time. If those of the rollouts
        cannot play episodes one by one, they are closed.
        """
        environment = self._groups[0].environment
        if factory is self._environment_factory and environment.can_restart_slots:
            return environment
        self._threads.run([group.close for group in self._groups])
        return None

    def peak_memory_bytes(self) -> int:
        """Returns the peak resident memory of this process."""
        return peak_memory_bytes()

    def ping(self) -> int:
        """Returns the collector's number; answers once the collector is up."""
        return self._config.index

    def close(self) -> None:
        """Closes the environments and ends the threads; may be called twice."""
        if not self._closed:
            self._closed = True
            if self._guard is not None:
                self._guard.close()
            if self._watch is not None:
                self._watch.close()
            self._threads.run([group.close for group in self._groups])
            self._threads.close()


def _joined(*states: Any) -> np.ndarray:
    """Joins a leaf of the groups' states to one array ``[B, ...]``; always returns a copy."""
    return np.concatenate([np.asarray(state) for state in states])


def _seconds_since_made(weights: Any, acknowledgement: Acknowledgement | None) -> float | None:
    made = getattr(weights, "made", 0.0)
    return time.time() - made if made and acknowledgement is not None and acknowledgement.applied else None
