"""ConsoleObserver: shows a training run on the terminal."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from rich.console import Console

from distpolicy.agents.experience_config import Replay
from distpolicy.errors import CheckpointError
from launch.config.train import TrainConfig
from launch.output.formatting import describe_evaluation, show_return
from launch.output.progress_line import duration
from launch.output.run_terminal import RunTerminal
from launch.supervision.faults import RunFault, fault_file
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult


class ConsoleObserver(TrainingObserver):
    """Prints a progress line and the run's events.

    Args:
        console: Where to print.
        command_start: Clock time at which the command began.
    """

    def __init__(self, console: Console, command_start: float) -> None:
        self._terminal, self._command_start = RunTerminal(console), command_start
        self._say = self._terminal.say
        self._run: ObservedRun | None = None
        self._has_stepped = False
        self._num_dropped = 0

    def on_preparing(self, what: str) -> None:
        self._say(what)

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        if run.generation:
            self._say(
                f"resuming {run.directory.path} at {run.config.count(run.totals.steps)}, generation {run.generation}"
            )
        if (told := _learns_nothing(run.config)) is not None:
            self._say(told)
        self._terminal.begin()

    def on_update(self, result: UpdateResult) -> None:
        assert self._run is not None
        config, steps = self._run.config, result.totals.steps
        if not self._has_stepped:
            self._has_stepped = True
            what = "first gradient step" if config.is_offline else "first env step"
            self._say(f"{what} after {result.first_step_time - self._command_start:.1f} s")
        self._num_dropped += round(result.metrics.get("rows_dropped", 0.0))
        speed = float(result.metrics["steps_per_s"])
        eta_s = max(config.total_steps - steps, 0) / speed if speed else math.inf
        if config.is_offline:
            self._terminal.line.show_text(
                f"{config.step_unit} {steps:,}/{config.total_steps:,} · loss {result.metrics['loss']:.4g} · "
                f"{speed:,.0f} steps/s · ETA {duration(eta_s)}"
            )
            return
        self._terminal.line.show(
            env_steps=steps,
            total_steps=config.total_steps,
            mean_return=result.metrics.get("return_mean_100"),
            target=config.target_return,
            steps_per_s=speed,
            lag=describe_lag(result, self._num_dropped),
            eta_s=eta_s,
        )

    def on_damaged_checkpoint(self, error: CheckpointError, used: Path) -> None:
        self._say(f"{error}: going on from {used}")

    def on_fault(self, fault: RunFault) -> None:
        assert self._run is not None
        path = fault_file(self._run.directory.faults, fault.name)
        is_noted = fault.recovery_s is None and fault.stacks and path.exists()
        self._say(f"{fault.line}; see {path}" if is_noted else fault.line)

    def on_recovery(self, fault: RunFault) -> None:
        assert self._run is not None
        told = "" if self._run.config.is_offline else f"; {fault.env_steps_lost:,} env steps were lost"
        self._say(f"{fault.what} is back after {fault.recovery_s:.1f} s{told}")

    def on_rollback(self, totals: TrainingTotals) -> None:
        assert self._run is not None
        self._say(f"going back to {self._run.config.count(totals.steps)}, the newest checkpoint")

    def on_replay_lost(self, num_transitions: int) -> None:
        assert self._run is not None
        self._say(
            f"the replay buffer is empty: {num_transitions:,} transitions were lost; {_refilled(self._run.config)}"
        )

    def on_trained(self, totals: TrainingTotals) -> None:
        assert self._run is not None
        self._terminal.end()
        config = self._run.config
        compiled = f"(compiling the update took {self._run.warm_up_s:.1f} s)"
        if config.is_offline:
            how = "done"
            if totals.solved_return is not None:
                how = f"solved: mean return {show_return(totals.solved_return)} in an evaluation"
            self._say(f"{how} after {config.count(totals.steps)} in {totals.train_s:.1f} s {compiled}")
            return
        target = config.target_return
        mean = float(np.mean(totals.recent_returns)) if totals.recent_returns else math.nan
        if totals.solved and target is not None:
            # Updates that were under way may have lowered it since.
            reached = mean if totals.solved_return is None or mean >= target else totals.solved_return
            by_evaluation = not self._run.config.agent.deploys_collect_policy and mean < target
            over = "in an evaluation" if by_evaluation else "over 100 episodes"
            how = f"solved: mean return {show_return(reached)} {over} (target {target:g})"
        elif target is None:
            how = f"done: mean return {show_return(mean)} over the last {len(totals.recent_returns)} episodes"
        else:
            how = f"target {target:g} not reached: mean return {show_return(mean)}"
        self._say(f"{how} after {totals.env_steps:,} env steps in {totals.train_s:.1f} s from the first one {compiled}")

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        self._say(describe_evaluation(result))

    def on_interrupt(self) -> None:
        self._terminal.interrupt("interrupted: writing a checkpoint")

    def on_end(self, end: RunEnd) -> None:
        assert self._run is not None
        self._terminal.end()
        path = self._run.directory.path
        if self._terminal.was_interrupted:
            self._tell_what_is_left(end, path)
        if end.error is None:
            memory = ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in end.peak_memory_bytes.items())
            self._say(f"peak memory: {memory}")
            self._say(f"run directory: {path}")

    def _tell_what_is_left(self, end: RunEnd, path: Path) -> None:
        assert self._run is not None
        count, newest = self._run.config.count, end.newest_checkpoint
        if newest is None:
            lost = f"what was learned in {count(end.totals.steps)} is lost"
            self._say(f"there is no checkpoint: {lost if end.totals.updates else 'nothing was learned yet'}")
            return
        if newest.updates < end.totals.updates:
            self._say(f"the newest checkpoint is of {count(newest.steps)}, and not of {count(end.totals.steps)}")
        self._say(f"go on with: distpolicy train --resume {path}")


def _learns_nothing(config: TrainConfig) -> str | None:
    """Returns why a run takes no gradient step, as far as its settings tell it; None if it takes some."""
    experience = config.agent.experience(config.shape)
    if not isinstance(experience, Replay):
        return None
    num_steps = math.ceil(config.total_steps / config.batch_size) * config.batch_size
    if experience.first_call_at <= num_steps:
        return None
    kind = config.agent.kind
    return (
        f"nothing will be learned: the first gradient steps of {kind} come after {experience.first_call_at:,} "
        f"transitions, and total_steps is {config.total_steps:,}; raise it, or lower {kind}.learning_starts or "
        f"{kind}.updates_per_call"
    )


def _refilled(config: TrainConfig) -> str:
    """Returns what a run does after its replay buffer was lost."""
    experience = config.agent.experience(config.shape)
    if isinstance(experience, Replay):
        return f"learning goes on after {experience.first_call_at:,} new ones"
    return "it is filled anew before learning goes on"


def describe_lag(result: UpdateResult, num_dropped: int = 0) -> str:
    """Returns the policy lag of an update as text; in asynchronous runs also the share of time that each side is busy.

    Args:
        result: The update.
        num_dropped: Number of rows that were dropped so far since they were too old.
    """
    metrics, reports = result.metrics, result.reports
    dropped = f" · {num_dropped:,} rows dropped" if num_dropped else ""
    if "policy_lag_mean" not in metrics:
        return f"lag {metrics['policy_lag']:.0f}{dropped}"
    learner = _busy(metrics["update_s"], metrics["learner_wait_s"])
    # Of all collectors together: a fast one may wait for long while the slowest one is always busy.
    collectors = _busy(sum(report.total_s for report in reports), sum(report.wait_s for report in reports))
    return (
        f"lag {metrics['policy_lag_mean']:.1f} (max {metrics['policy_lag']:.0f}){dropped} · "
        f"busy: learner {learner:.0%}, collectors {collectors:.0%}"
    )


def _busy(busy_s: float, wait_s: float) -> float:
    total_s = busy_s + wait_s
    return busy_s / total_s if total_s else 0.0
