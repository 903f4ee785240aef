"""Driver: the loop that puts collectors and learner together. It moves references, never data."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import ray

from distpolicy.errors import DistPolicyError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.weights import Acknowledgement
from launch import answers
from launch.checkpoint import Progress
from launch.config import TrainConfig
from launch.factories import AgentFactory, PolicyFactory
from launch.placement import training_actors
from launch.shares import shares
from workers.actors import start_collector, start_learner
from workers.collector import CollectorConfig
from workers.evaluator import EvaluationResult
from workers.rollout_report import RolloutReport

# Iterations that are submitted but not yet accounted for. Two let the workers go on while the driver reads
# reports and writes metrics; what is in flight stays bounded.
PIPELINE_DEPTH = 2

# Seconds that an interrupted run waits for what is under way.
GRACE_S = 3.0


class Iteration(NamedTuple):
    """References of one submitted iteration: a rollout of every collector, and the update that learns from them.

    Attributes:
        update: Number of the update.
        reports: References of each collector's report.
        metrics: Reference of the update's metrics.
        state: Reference of the learner's state after the update, if a checkpoint is due; else None.
    """

    update: int
    reports: list[Any]
    metrics: Any
    state: Any


class Outcome(NamedTuple):
    """What an iteration came to.

    Attributes:
        progress: How far the run has come.
        row: The iteration's metrics.
        first_step_time: Clock time of the earliest first env step.
    """

    progress: Progress
    row: dict[str, Any]
    first_step_time: float


class Driver:
    """Runs a training loop on Ray.

    With ``max_policy_lag`` 0 each update learns from rollouts of exactly the newest weights. Iterations are
    submitted ahead: a collector's next rollout waits, inside Ray, for the weights of the update before.

    Args:
        config: The run's config.
        time_step_spec: Array specs of one time step.
        action_spec: Array specs of one action.
        epoch: How often the run was started before.
        progress: How far the run has come.
    """

    def __init__(
        self,
        config: TrainConfig,
        time_step_spec: TimeStep,
        action_spec: Any,
        epoch: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self._config = config
        self._progress = progress or Progress()
        self._returns: deque[float] = deque(self._progress.recent_returns, maxlen=100)
        learner, collectors = training_actors(config, ray.cluster_resources())
        self._learner_has_gpu = "GPU" in learner.resources
        # All start at once: each spends seconds importing TensorFlow.
        self._learner = start_learner(AgentFactory(config, time_step_spec, action_spec), epoch, learner.resources)
        self._collectors = [
            start_collector(
                CollectorConfig(
                    index=index,
                    first_slot=index * config.slots,
                    num_slots=config.slots,
                    num_steps=config.rollout_steps,
                    seed=config.seed,
                    epoch=epoch,
                    reward_discount=config.ppo.discount,
                ),
                config.environment_factory,
                PolicyFactory(config),
                collectors.resources,
            )
            for index in range(config.collectors)
        ]
        self._weights: Any = None
        self._submitted = self._progress.updates
        self._session_steps = 0
        self._pending: deque[Iteration] = deque()
        self._train_s_before = self._progress.train_s

    @property
    def learner_has_gpu(self) -> bool:
        """Whether the learner has asked for a GPU."""
        return self._learner_has_gpu

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._progress

    @property
    def newest_weights(self) -> Any:
        """Reference of the newest weights, or of those that the updates submitted so far will make."""
        return self._weights

    @property
    def collectors(self) -> Sequence[Any]:
        """The collectors' actors."""
        return tuple(self._collectors)

    def start(self, state: dict[str, np.ndarray] | None = None) -> None:
        """Restores the learner, if there is a state, and has the update compiled while collectors start.

        Raises:
            ConfigError: If the state is of another architecture.
            WorkerLostError: If the learner does not come up.
        """
        if state is not None:
            self.get(self._learner.restore.remote(state))
        self._weights = self._learner.weights.remote()
        self._warm_up = self._learner.warm_up.remote(
            self._config.collectors * self._config.slots, self._config.rollout_steps
        )

    def get(self, references: Any) -> Any:
        """``ray.get`` with the run's deadline, and errors in our terms."""
        return answers.get(references, self._config.timeout_s)

    def broadcast(
        self,
        weights: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> list[Acknowledgement]:
        """Has every collector apply weights, and waits until all have.

        Args:
            weights: Reference of the weights, put once.
            tau: As in ``policy.update``.
            tau_non_trainable: As in ``policy.update``.
            sort_variables_by_name: As in ``policy.update``.

        Returns:
            One acknowledgement of each collector, in their order.
        """
        return self.get(
            [
                collector.apply_weights.remote(weights, tau, tau_non_trainable, sort_variables_by_name)
                for collector in self._collectors
            ]
        )

    def collect(self, weights: Any) -> list[Any]:
        """Has every collector apply weights and collect a rollout; nothing is waited for.

        Args:
            weights: Reference of the weights.

        Returns:
            For each collector the references of its rollout and of its report.
        """
        return [collector.rollout.options(num_returns=2).remote(weights) for collector in self._collectors]

    def _submit(self) -> Iteration:
        """Submits one iteration; nothing is waited for."""
        parts = self.collect(self._weights)
        self._submitted += 1
        done = self._progress.env_steps + (self._submitted - self._progress.updates) * self._config.batch_size
        share = done / self._config.total_steps
        weights, metrics = self._learner.update.options(num_returns=2).remote(share, *(part[0] for part in parts))
        self._weights = weights
        due = self._submitted % self._config.checkpoint_every == 0
        # Its place in the learner's queue makes it the state after this very update.
        state = self._learner.state.remote() if due else None
        return Iteration(self._submitted, [part[1] for part in parts], metrics, state)

    def run(
        self, on_iteration: Callable[[Outcome], None], on_checkpoint: Callable[[dict[str, np.ndarray], Progress], None]
    ) -> Progress:
        """Trains until the target or the step budget is reached.

        Args:
            on_iteration: Called with every iteration's outcome.
            on_checkpoint: Called with a state of the learner and the progress it belongs to.

        Returns:
            How far the run has come.
        """
        while True:
            while len(self._pending) < PIPELINE_DEPTH and not self._finished():
                self._pending.append(self._submit())
            if not self._pending:
                return self._progress
            iteration = self._pending[0]
            on_iteration(self._settle(iteration))
            self._pending.popleft()
            if iteration.state is not None:
                on_checkpoint(self.get(iteration.state), self._progress)

    def interrupt(self, on_iteration: Callable[[Outcome], None]) -> None:
        """Ends collecting at once; what the learner has learned from by then is accounted for.

        Args:
            on_iteration: Called with the outcome of every iteration that came to its end.
        """
        open_metrics = [iteration.metrics for iteration in self._pending]
        if open_metrics:
            ray.wait(open_metrics, num_returns=len(open_metrics), timeout=GRACE_S)
        for collector in self._collectors:
            # Updates that still wait for a rollout fail with it and leave the learner as it is.
            ray.kill(collector)
        for iteration in self._pending:
            if iteration.update <= self._progress.updates:
                continue  # the interruption came between settling it and forgetting it
            try:
                outcome = self._settle(iteration)
            except DistPolicyError:
                break
            on_iteration(outcome)

    def _finished(self) -> bool:
        expected = self._progress.env_steps + len(self._pending) * self._config.batch_size
        return self._progress.solved or expected >= self._config.total_steps

    def _settle(self, iteration: Iteration) -> Outcome:
        reports: Sequence[RolloutReport]
        # The update's error, if any, is that of the rollout it depends on.
        *reports, metrics = self.get([*iteration.reports, iteration.metrics])
        ended_returns = [value for report in reports for value in report.episode_returns]
        ended_lengths = [value for report in reports for value in report.episode_lengths]
        self._returns.extend(ended_returns)
        steps = sum(report.num_env_steps for report in reports)
        self._session_steps += steps
        first_step_time = min(report.first_step_time for report in reports)
        session_s = time.time() - first_step_time
        mean = float(np.mean(self._returns)) if self._returns else float("nan")
        target = self._config.target_return
        solved = target is not None and len(self._returns) == 100 and mean >= target
        self._progress = Progress(
            updates=iteration.update,
            env_steps=self._progress.env_steps + steps,
            episodes=self._progress.episodes + len(ended_returns),
            train_s=self._train_s_before + session_s,
            recent_returns=tuple(self._returns),
            solved=self._progress.solved or solved,
        )
        row = {
            "update": iteration.update,
            "env_steps": self._progress.env_steps,
            "episodes": self._progress.episodes,
            "steps_per_s": self._session_steps / max(session_s, 1e-9),
            "train_s": self._progress.train_s,
            "rollout_s": max(report.total_s for report in reports),
            "env_s": float(np.mean([report.env_s for report in reports])),
            "policy_s": float(np.mean([report.policy_s for report in reports])),
            "collector_wait_s": float(np.mean([report.wait_s for report in reports])),
            **metrics,
        }
        if self._returns:
            row["return_mean_100"] = mean
        if ended_returns:
            row["episode_return"] = float(np.mean(ended_returns))
            row["episode_length"] = float(np.mean(ended_lengths))
        return Outcome(self._progress, row, first_step_time)

    def warm_up_s(self) -> float:
        """Seconds that compiling the update took."""
        return self.get(self._warm_up)

    def learner_state(self) -> dict[str, np.ndarray]:
        """The learner's state after all that was submitted."""
        return self.get(self._learner.state.remote())

    def export_policy(self) -> dict[str, bytes]:
        """The deployment policy's files."""
        return self.get(self._learner.export_policy.remote())

    def evaluate(self, num_episodes: int) -> EvaluationResult:
        """Runs the greedy policy on seeds of its own, shared out over the collectors.

        Args:
            num_episodes: How many episodes, at most.
        """
        references, first = [], 0
        for collector, count in zip(self._collectors, shares(num_episodes, len(self._collectors)), strict=True):
            if count:
                references.append(collector.evaluate.remote(self._weights, count, first, self._config.seed))
            first += count
        parts = self.get(references)
        return EvaluationResult(
            [value for part in parts for value in part.returns], [value for part in parts for value in part.lengths]
        )

    def peak_memory_bytes(self) -> dict[str, int]:
        """The most memory that each worker has had resident."""
        workers = [("learner", self._learner)]
        workers += [(f"collector {index}", actor) for index, actor in enumerate(self._collectors)]
        sizes = self.get([actor.peak_memory_bytes.remote() for _, actor in workers])
        return {name: size for (name, _), size in zip(workers, sizes, strict=True)}

    def close(self) -> None:
        """Ends the workers; may be called twice."""
        for actor in [self._learner, *self._collectors]:
            ray.kill(actor)
        self._collectors = []
