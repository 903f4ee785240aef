"""Evaluator: runs whole episodes of a policy, with seeds that training does not use."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from workers.collection.seeding import slot_seeds
from workers.environments.base import Environment
from workers.environments.checks import OutOfSpaceError, check_time_step

# The stream of seeds for evaluation; training uses stream 0.
EVALUATION_STREAM = 1

# The longest episode of the Arcade Learning Environment's protocol: half an hour, at four frames a step.
MAX_EPISODE_STEPS = 27_000


# The greedy policy, or the one that draws its actions, as in rollouts.
EvaluatedPolicy = Literal["greedy", "stochastic"]


@dataclass(frozen=True)
class EvaluationJob:
    """The episodes that a collector runs for an evaluation.

    Attributes:
        num_episodes: Number of episodes.
        first_episode: Number of the first episode over all collectors; it decides the seeds.
        seed: Seed of the evaluation.
        policy: The policy that acts.
        num_envs: Maximum number of environments; None for as many as the collector has for rollouts.
        max_episode_steps: Number of steps after which an episode is ended and counted as it is.
        is_last: Whether the collector makes no rollouts afterwards. Then their environments are used.
    """

    num_episodes: int
    first_episode: int = 0
    seed: int = 0
    policy: EvaluatedPolicy = "greedy"
    num_envs: int | None = None
    max_episode_steps: int = MAX_EPISODE_STEPS
    is_last: bool = False


@dataclass(frozen=True)
class EvaluationResult:
    """The episodes of an evaluation, ordered by number. All lists have N items, one for each episode.

    Attributes:
        returns: Sum of the rewards of each episode.
        lengths: Number of steps of each episode.
        is_cut: Whether each episode was ended at the limit of steps.
        infos: The numbers in each episode's last ``info``, by name.
        num_repeated: Number of episodes that were played again because their environment failed.
        policy: The policy that acted.
        seeds: The seed of each episode's environment. That of an episode that was played again is the last one.
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    is_cut: list[bool] = field(default_factory=list)
    infos: list[dict[str, float]] = field(default_factory=list)
    num_repeated: int = 0
    policy: EvaluatedPolicy = "greedy"
    seeds: list[int] = field(default_factory=list)

    @property
    def num_cut(self) -> int:
        """Number of episodes that were ended at the limit of steps."""
        return sum(self.is_cut)

    @property
    def info_means(self) -> dict[str, float]:
        """The mean of each number in the infos, over the episodes that have it."""
        names = dict.fromkeys(name for info in self.infos for name in info)
        return {name: float(np.mean([info[name] for info in self.infos if name in info])) for name in names}

    @staticmethod
    def joined(parts: Sequence[EvaluationResult]) -> EvaluationResult:
        """Returns consecutive results as one."""
        return EvaluationResult(
            [value for part in parts for value in part.returns],
            [value for part in parts for value in part.lengths],
            [value for part in parts for value in part.is_cut],
            [value for part in parts for value in part.infos],
            sum(part.num_repeated for part in parts),
            seeds=[value for part in parts for value in part.seeds],
        )


@dataclass
class _Episode:
    """An episode that is being played, or has been.

    Attributes:
        number: Its number over the whole evaluation.
        policy_seed: The policy's seed at its first step, a uint64.
    """

    number: int
    environment_seed: int
    policy_seed: np.uint64
    total: float = 0.0
    length: int = 0
    is_cut: bool = False
    info: dict[str, float] = field(default_factory=dict)


class Evaluator:
    """Runs a policy for a number of whole episodes.

    Each episode has its own seed, and the episodes to play are fixed before the first one begins. So short episodes do
    not count more often than long ones, and the result does not depend on the number of environments. An environment
    whose episode is over plays the next one; once there is none left, it is not stepped again. A vectorised form cannot
    restart one environment alone: its environments play one episode each, and are made again for the next ones.

    If an environment fails, it is replaced within its restart budget, and its episode is played again from the start.

    Args:
        make_environment: Makes a batch of environments from their number.
        policy: Policy that takes and returns arrays with a batch dimension.
        num_envs: Maximum number of environments that play at a time.
        max_episode_steps: Number of steps after which an episode is ended and counted as it is.
        collector: Index of the collector that it runs in, for messages; None outside a collector.
        environment: Environments to use instead of making some. They are not closed.

    Attributes:
        steps_begun: Number of steps of all environments that have begun; for a watchdog.
    """

    def __init__(
        self,
        make_environment: Callable[[int], Environment],
        policy: Any,
        num_envs: int = 64,
        max_episode_steps: int = MAX_EPISODE_STEPS,
        collector: int | None = None,
        environment: Environment | None = None,
    ) -> None:
        if num_envs < 1 or max_episode_steps < 1:
            raise ConfigError(
                f"num_envs and max_episode_steps must be 1 or more, but are {num_envs} and {max_episode_steps}"
            )
        self._make_environment, self._given = make_environment, environment
        self._policy, self._num_envs, self._max_steps = policy, num_envs, max_episode_steps
        self._collector = collector
        self.steps_begun = 0

    def evaluate(
        self,
        num_episodes: int,
        first_episode: int = 0,
        seed: int = 0,
        watch: AbstractContextManager[Any] | None = None,
    ) -> EvaluationResult:
        """Runs episodes ``first_episode`` to ``first_episode + num_episodes - 1``.

        Args:
            num_episodes: Number of episodes.
            first_episode: Number of the first episode. An episode's seed depends on its number.
            seed: Seed of the evaluation.
            watch: Is entered while environments are stepped, and not while they are made: a
                :class:`workers.collection.watchdog.Watchdog` of ``steps_begun``, for example.

        Raises:
            EnvironmentCrashedError: If an environment fails more often than its restart budget allows, or returns NaN
                or infinity.
        """
        seeds = slot_seeds(seed, first_episode, num_episodes, generation=0, stream=EVALUATION_STREAM)
        open_episodes = deque(
            _Episode(first_episode + index, environment_seed, seeds.policy[index])
            for index, environment_seed in enumerate(seeds.environment)
        )
        done: list[_Episode] = []
        num_repeated = 0
        environment = self._given
        while open_episodes:
            if environment is None:
                environment = self._make_environment(min(self._num_envs, len(open_episodes)))
            try:
                with watch or contextlib.nullcontext():
                    num_repeated += self._play(environment, open_episodes, done)
            finally:
                if environment is not self._given:
                    environment.close()
            environment = None
        done.sort(key=lambda episode: episode.number)
        return EvaluationResult(
            [episode.total for episode in done],
            [episode.length for episode in done],
            [episode.is_cut for episode in done],
            [episode.info for episode in done],
            num_repeated,
            seeds=[episode.environment_seed for episode in done],
        )

    def _play(self, environment: Environment, open_episodes: deque[_Episode], done: list[_Episode]) -> int:
        """Plays episodes until none is running; returns the number of those that were repeated.

        Args:
            environment: The environments. If they cannot be restarted one by one, each plays one episode.
            open_episodes: The episodes to play; those that are played are removed.
            done: The list to add them to.
        """
        num_slots, can_restart = environment.num_slots, environment.can_restart_slots
        # Environments that were given may be more than are to be used.
        running = [
            open_episodes.popleft() if open_episodes and row < self._num_envs else None for row in range(num_slots)
        ]
        # Rows without an episode get the seed of the first one.
        filled = [episode or running[0] for episode in running]
        num_repeated = 0
        try:
            time_step = environment.reset([episode.environment_seed for episode in filled if episode is not None])
            for row, episode in enumerate(running):
                if episode is None and can_restart:
                    environment.rest_slot(row)
            num_repeated += self._repeat(self._failed_rows(environment, time_step, running), running)
            state = self._policy.get_initial_state(num_slots)
            while any(episode is not None for episode in running):
                step = self._policy.action(time_step, state, _policy_seeds(running))
                self.steps_begun += 1
                time_step, state = environment.step(step.action), step.state
                failed = self._failed_rows(environment, time_step, running)
                num_repeated += self._repeat(failed, running)
                self._count(environment, time_step, failed, running, open_episodes, done)
        except EnvironmentCrashedError as error:
            raise self._located(error, running) from error
        finally:
            environment.faults.clear()
        return num_repeated

    def _repeat(self, failed: Sequence[int], running: list[_Episode | None]) -> int:
        """Makes the episodes of failed rows begin again; their new environments have other seeds."""
        for row in failed:
            episode = running[row]
            assert episode is not None
            running[row] = dataclasses.replace(episode, total=0.0, length=0)
        return len(failed)

    def _count(
        self,
        environment: Environment,
        time_step: TimeStep,
        failed: Sequence[int],
        running: list[_Episode | None],
        open_episodes: deque[_Episode],
        done: list[_Episode],
    ) -> None:
        """Adds a step to the episodes that are running, and begins the next ones."""
        rewards, step_types = time_step.reward.tolist(), time_step.step_type.tolist()
        for row, episode in enumerate(running):
            if episode is None or row in failed or step_types[row] == StepType.FIRST:
                continue
            episode.total += rewards[row]
            episode.length += 1
            has_ended = step_types[row] == StepType.LAST
            episode.is_cut = not has_ended and episode.length >= self._max_steps
            if not has_ended and not episode.is_cut:
                continue
            episode.info = environment.ended_infos.get(row, {})
            episode.environment_seed = environment.new_seeds.get(row, episode.environment_seed)
            done.append(episode)
            running[row] = None
            if environment.can_restart_slots:
                if open_episodes:
                    running[row] = following = open_episodes.popleft()
                    environment.restart_slot(row, following.environment_seed)
                else:
                    environment.rest_slot(row)

    def _failed_rows(
        self, environment: Environment, time_step: TimeStep, running: Sequence[_Episode | None]
    ) -> list[int]:
        """Returns the rows whose environment has failed and is replaced; others may return what they like.

        Raises:
            EnvironmentCrashedError: If an environment has returned NaN or infinity and cannot be replaced, or an
                integer that is not in its space.
        """
        rows = [row for row, episode in enumerate(running) if episode is not None]
        failed = [row for row in rows if environment.cuts[row]] if environment.faults else []
        rows = [row for row in rows if row not in failed]
        while rows:
            part = time_step
            if len(rows) < environment.num_slots:
                part = map_structure(lambda leaf: leaf[rows], time_step)
            try:
                check_time_step(part, environment.time_step_spec, environment.name)
                break
            except EnvironmentCrashedError as error:
                row = None if error.slot is None else rows[error.slot]
                if row is None or isinstance(error, OutOfSpaceError) or not environment.can_restart_slots:
                    raise EnvironmentCrashedError(error.message, slot=row) from error
                environment.fail_slot(row, error.message.removeprefix(f"env {environment.name} "))
                failed.append(row)
                rows.remove(row)
        return failed

    def _located(self, error: EnvironmentCrashedError, running: Sequence[_Episode | None]) -> EnvironmentCrashedError:
        episode = None if error.slot is None else running[error.slot]
        return EnvironmentCrashedError(
            f"{error.message} (in an evaluation)",
            collector=self._collector,
            slot=error.slot,
            step=None if episode is None else episode.length,
            seed=None if episode is None else episode.environment_seed,
            traceback=error.traceback,
        )


def _policy_seeds(running: Sequence[_Episode | None]) -> np.ndarray:
    """Returns the policy's seeds of the next step, int32 ``[B, 2]``; 0 in rows without an episode."""
    seeds = np.array([0 if episode is None else episode.policy_seed for episode in running], np.uint64)
    steps = np.array([0 if episode is None else episode.length for episode in running], np.uint64)
    return (seeds + steps).view(np.int32).reshape(-1, 2)
