"""Evaluator: runs whole episodes of a policy, with seeds that training does not use."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import StepType
from workers.collection.seeding import slot_seeds
from workers.environments.checks import check_time_step
from workers.environments.factory import EnvironmentFactory

# The stream of seeds for evaluation; training uses stream 0.
EVALUATION_STREAM = 1
MAX_SLOTS = 64


class EvaluationResult(NamedTuple):
    """The episodes of an evaluation, ordered by number.

    Attributes:
        returns: Sum of the rewards of each episode.
        lengths: Number of steps of each episode.
    """

    returns: list[float]
    lengths: list[int]


class Evaluator:
    """Runs a policy for a number of whole episodes.

    Each episode gets its seed and its environment before it begins. So short episodes do not count more often than
    long ones.

    Args:
        environment_factory: Makes the environments.
        policy: Policy that takes and returns arrays with a batch dimension.
        collector: Index of the collector that it runs in, for messages; None outside a collector.
    """

    def __init__(self, environment_factory: EnvironmentFactory, policy: Any, collector: int | None = None) -> None:
        self._collector = collector
        self._environment_factory = environment_factory
        self._policy = policy

    def evaluate(self, num_episodes: int, first_episode: int = 0, seed: int = 0) -> EvaluationResult:
        """Runs episodes ``first_episode`` to ``first_episode + num_episodes - 1``.

        Args:
            num_episodes: Number of episodes.
            first_episode: Number of the first episode. An episode's seed depends on its number.
            seed: Seed of the evaluation.

        Returns:
            The returns and lengths of the episodes.

        Raises:
            EnvironmentCrashedError: If an environment fails, or returns NaN or infinity.
        """
        result = EvaluationResult([], [])
        for begin in range(0, num_episodes, MAX_SLOTS):
            count = min(MAX_SLOTS, num_episodes - begin)
            part = self._run_together(count, first_episode + begin, seed)
            result.returns.extend(part.returns)
            result.lengths.extend(part.lengths)
        return result

    def _run_together(self, num_slots: int, first_episode: int, seed: int) -> EvaluationResult:
        """Runs one episode in each env slot."""
        environment = self._environment_factory.without_restarts()(num_slots)
        seeds = slot_seeds(seed, first_episode, num_slots, generation=0, stream=EVALUATION_STREAM)
        try:
            time_step = environment.reset(seeds.environment)
            state = self._policy.get_initial_state(num_slots)
            returns = np.zeros(num_slots, np.float64)
            lengths = np.zeros(num_slots, np.int64)
            running = np.ones(num_slots, np.bool_)
            step_count = 0
            while running.any():
                step = self._policy.action(time_step, state, seeds.rows(step_count, 1)[0])
                time_step, state = environment.step(step.action), step.state
                check_time_step(time_step, environment.time_step_spec, environment.name)
                returns[running] += time_step.reward[running]
                lengths[running] += 1
                running &= time_step.step_type != StepType.LAST
                step_count += 1
        except EnvironmentCrashedError as error:
            row = error.slot
            raise EnvironmentCrashedError(
                f"{error.message} (in an evaluation)",
                collector=self._collector,
                slot=row,
                seed=None if row is None else seeds.environment[row],
                traceback=error.traceback,
            ) from error
        finally:
            environment.close()
        return EvaluationResult(returns.tolist(), lengths.tolist())
