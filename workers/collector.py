"""Collector: runs a policy in a batch of environment slots and returns rollouts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.trajectories.rollout import Rollout, zero_rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.array_nest import flatten, map_structure
from distpolicy.weights import Acknowledgement, Weights, WeightsReceiver
from workers.environment import Environment, Fault
from workers.environment_factory import EnvironmentFactory
from workers.evaluator import EvaluationResult, Evaluator
from workers.memory import peak_memory_bytes
from workers.seeding import slot_seeds
from workers.time_step_check import check_time_step


class PolicyPair(NamedTuple):
    """What a collector's policy factory makes; both share their variables.

    Attributes:
        collect: Acts in rollouts: takes and returns arrays, and has ``update`` and ``named_variables``.
        greedy: Acts in evaluations.
    """

    collect: Any
    greedy: Any


PolicyFactory = Callable[[TimeStep, Any], PolicyPair]


@dataclasses.dataclass(frozen=True)
class CollectorConfig:
    """The settings of one collector.

    Attributes:
        index: Its number.
        first_slot: Number over the whole run of its first environment slot.
        num_slots: B, the number of its slots.
        num_steps: T, the steps of a rollout.
        seed: The run's seed.
        epoch: How often the run was started.
        reward_discount: Discount of the running returns that rewards are normalised by.
    """

    index: int
    first_slot: int
    num_slots: int
    num_steps: int
    seed: int
    epoch: int = 0
    reward_discount: float = 0.99


@dataclasses.dataclass(frozen=True)
class RolloutReport:
    """What the driver learns about a rollout, without its data.

    Attributes:
        collector: Number of the collector.
        weights: Acknowledgement of the weights that the rollout was collected with; None if there were none.
        num_env_steps: Steps of environments; those that only reset are not counted.
        episode_returns: Of the episodes that ended, in order of step and slot.
        episode_lengths: Likewise.
        episode_ends: Row and step of the rollout in which each ended.
        env_s: Seconds in the environments.
        policy_s: Seconds in the policy.
        total_s: Seconds in all.
        wait_s: Seconds between the last rollout and this one.
        first_step_time: Clock time (``time.time``) of the collector's very first step.
        faults: Environments that failed and were replaced, with their slots' numbers over the whole run.
    """

    collector: int
    weights: Acknowledgement | None
    num_env_steps: int
    episode_returns: list[float]
    episode_lengths: list[int]
    episode_ends: list[tuple[int, int]]
    env_s: float
    policy_s: float
    total_s: float
    wait_s: float
    first_step_time: float
    faults: list[Fault] = dataclasses.field(default_factory=list)


class Collector:
    """Steps B environment slots with one policy call a step, T steps a rollout.

    The arrays of a rollout are allocated once and filled again by the next one: whoever keeps a rollout in the
    same process copies it. (A Ray call serialises it before the next one begins.) Episodes and recurrent state go
    on from one rollout to the next.

    Args:
        config: The settings.
        environment_factory: Makes the slots.
        policy_factory: Makes the policies from the specs of time steps and actions.
    """

    def __init__(
        self, config: CollectorConfig, environment_factory: EnvironmentFactory, policy_factory: PolicyFactory
    ) -> None:
        self._config = config
        self._environment_factory = environment_factory
        self._environment = environment_factory(config.num_slots)
        specs = (self._environment.time_step_spec, self._environment.action_spec)
        self._policy, self._greedy_policy = policy_factory(*specs)
        # While the learner is being built: envs need not wait for it later.
        self._policy.warm_up(config.num_slots)
        # A policy that has no variables is never given weights.
        has_variables = hasattr(self._policy, "named_variables")
        self._receiver = WeightsReceiver(self._policy, f"collector {config.index}") if has_variables else None
        self._seeds = slot_seeds(config.seed, config.first_slot, config.num_slots, config.epoch)
        self._buffers = zero_rollout(
            self._environment.time_step_spec.observation,
            self._environment.action_spec,
            self._policy.info_spec,
            config.num_slots,
            config.num_steps,
            config.first_slot,
        )
        self._cuts = np.zeros((config.num_slots, config.num_steps), np.bool_)
        self._num_steps_taken = 0
        self._policy_state = self._policy.get_initial_state(config.num_slots)
        # Of each slot's running episode: return, length, discounted return.
        self._sums = np.zeros((3, config.num_slots), np.float64)
        self._time_step: TimeStep | None = None
        self._first_step_time = 0.0
        self._last_end = time.perf_counter()

    def apply_weights(
        self,
        weights: Weights,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> Acknowledgement:
        """Updates the policy from weights; see :meth:`distpolicy.weights.WeightsReceiver.apply`."""
        if self._receiver is None:
            raise ConfigError(f"collector {self._config.index}: its policy has no variables to apply weights to")
        return self._receiver.apply(weights, tau, tau_non_trainable, sort_variables_by_name)

    @property
    def policy(self) -> Any:
        """The policy that acts in rollouts."""
        return self._policy

    @property
    def environment(self) -> Environment:
        """The slots."""
        return self._environment

    @property
    def cuts(self) -> np.ndarray:
        """bool ``[B, T]``: where the last rollout's episodes were cut by a fault; overwritten by the next one."""
        return self._cuts

    def rollout(self, weights: Weights | None = None) -> tuple[Rollout, RolloutReport]:
        """Applies weights and collects the next T steps of every slot.

        Args:
            weights: The weights to act with; None for those that the policy has.

        Raises:
            EnvironmentCrashedError: If an environment raises, or returns NaN or infinity.
            StaleWeightsError: If the weights are older than those held.
        """
        start = time.perf_counter()
        wait_s = start - self._last_end
        acknowledgement = None if weights is None else self.apply_weights(weights)
        if self._time_step is None:
            try:
                self._time_step = self._environment.reset(self._seeds.environment)
                check_time_step(self._time_step, self._environment.time_step_spec, self._environment.name)
            except EnvironmentCrashedError as error:
                raise self._located(error, self._num_steps_taken) from error
            self._first_step_time = time.time()
        rollout = self._buffers._replace(
            policy_state=map_structure(np.array, self._policy_state), discounted_return=self._sums[2].copy()
        )
        rollout.weights_version[:] = (0, 0) if weights is None else (weights.epoch, weights.version)
        env_s, policy_s = self._fill(rollout, self._time_step)
        returns, lengths, ends = self._finish_episodes(rollout)
        num_env_steps = int(np.count_nonzero(rollout.step_type[:, :-1] != StepType.LAST))
        self._last_end = time.perf_counter()
        report = RolloutReport(
            collector=self._config.index,
            weights=acknowledgement,
            num_env_steps=num_env_steps,
            episode_returns=returns,
            episode_lengths=lengths,
            episode_ends=ends,
            env_s=env_s,
            policy_s=policy_s,
            total_s=self._last_end - start,
            wait_s=wait_s,
            first_step_time=self._first_step_time,
            faults=self._take_faults(),
        )
        return rollout, report

    def _fill(self, rollout: Rollout, time_step: TimeStep) -> tuple[float, float]:
        """Steps policy and environments; seconds in the environments and in the policy."""
        clock, policy, environment = time.perf_counter, self._policy, self._environment
        spec, name = environment.time_step_spec, environment.name
        first_step = self._num_steps_taken
        seeds = policy.prepare_seeds(self._seeds.rows(first_step, self._config.num_steps))
        state = self._policy_state
        observation_leaves, action_leaves = flatten(rollout.observation), flatten(rollout.action)
        info_leaves = flatten(rollout.policy_info)
        env_s = policy_s = 0.0
        for t in range(self._config.num_steps):
            begin = clock()
            step = policy.action(time_step, state, seeds[t])
            between = clock()
            state = step.state
            _put(observation_leaves, t, time_step.observation)
            rollout.step_type[:, t] = time_step.step_type
            _put(action_leaves, t, step.action)
            _put(info_leaves, t, step.info)
            copied = clock()
            try:
                time_step = environment.step(step.action)
                check_time_step(time_step, spec, name)
            except EnvironmentCrashedError as error:
                raise self._located(error, first_step + t) from error
            rollout.reward[:, t] = time_step.reward
            rollout.discount[:, t] = time_step.discount
            self._cuts[:, t] = environment.cuts
            policy_s += between - begin
            env_s += clock() - copied
        _put(observation_leaves, self._config.num_steps, time_step.observation)
        rollout.step_type[:, -1] = time_step.step_type
        self._num_steps_taken += self._config.num_steps
        self._time_step, self._policy_state = time_step, state
        return env_s, policy_s

    def _take_faults(self) -> list[Fault]:
        """The faults since the last rollout, with their slots' numbers over the whole run."""
        found = [fault._replace(slot=self._config.first_slot + fault.slot) for fault in self._environment.faults]
        self._environment.faults.clear()
        return found

    def _finish_episodes(self, rollout: Rollout) -> tuple[list[float], list[int], list[tuple[int, int]]]:
        """Returns, lengths and places of the episodes that ended, and were not cut; carries the others' on."""
        # Steps first, and the sums side by side: most of the cost is the number of calls.
        rewards, next_types = rollout.reward.T.astype(np.float64), np.ascontiguousarray(rollout.step_type[:, 1:].T)
        begins = next_types == StepType.FIRST
        ended = (next_types == StepType.LAST) & ~self._cuts.T
        added = np.stack([rewards, np.ones_like(rewards), rewards], axis=1)
        factors = np.array([[1.0], [1.0], [self._config.reward_discount]])
        history = np.empty_like(added)
        sums = self._sums
        for t in range(self._config.num_steps):
            np.multiply(sums, factors, out=sums)
            np.add(sums, added[t], out=sums)
            np.copyto(sums, 0.0, where=begins[t])
            history[t] = sums
        steps, rows = np.nonzero(ended)
        returns, lengths = history[steps, 0, rows], history[steps, 1, rows].astype(np.int64)
        return returns.tolist(), lengths.tolist(), list(zip(rows.tolist(), steps.tolist(), strict=True))

    def _located(self, error: EnvironmentCrashedError, step: int) -> EnvironmentCrashedError:
        """The error with this collector's place in the run; its slot comes as a row of this collector."""
        row = error.slot
        return EnvironmentCrashedError(
            error.message,
            collector=self._config.index,
            slot=None if row is None else self._config.first_slot + row,
            step=step,
            seed=None if row is None else self._seeds.environment[row],
            traceback=error.traceback,
        )

    def evaluate(self, weights: Weights, num_episodes: int, first_episode: int, seed: int) -> EvaluationResult:
        """Runs whole episodes with the greedy policy, in environments of their own.

        Args:
            weights: The weights to act with.
            num_episodes: How many episodes.
            first_episode: Number of the first, over all collectors; decides its seed.
            seed: Seed of the evaluation.

        Raises:
            EnvironmentCrashedError: If an environment raises.
        """
        self.apply_weights(weights)
        factory = self._environment_factory.with_seed_for_each_slot()
        evaluator = Evaluator(factory, self._greedy_policy, self._config.index)
        return evaluator.evaluate(num_episodes, first_episode, seed)

    def peak_memory_bytes(self) -> int:
        """The most memory that this process has had resident."""
        return peak_memory_bytes()

    def ping(self) -> int:
        """The collector's number; answers once it is up."""
        return self._config.index

    def close(self) -> None:
        """Closes the environments."""
        self._environment.close()


def _put(targets: list[np.ndarray], t: int, nest: Any) -> None:
    """Copies a nest ``[B, ...]`` into step t of arrays ``[B, T, ...]``."""
    if isinstance(nest, np.ndarray):
        targets[0][:, t] = nest
        return
    for target, value in zip(targets, flatten(nest), strict=True):
        target[:, t] = value
