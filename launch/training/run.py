"""The train command: a run from its config to its run directory."""

from __future__ import annotations

import contextlib
import functools
import math
from pathlib import Path

import numpy as np
from rich.console import Console

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.atomic_files import write_folder
from distpolicy.utils.memory import peak_memory_bytes
from launch.cluster import session
from launch.cluster.placement import training_actors
from launch.config.train import TrainConfig
from launch.output import html_report
from launch.output.formatting import describe_evaluation, show_return
from launch.output.metrics import MetricsWriter
from launch.output.progress_line import ProgressLine
from launch.output.run_directory import RunDirectory, check_free
from launch.signals import handled, interrupt
from launch.supervision.faults import FaultTable, RunFault, collector_name, note_fault
from launch.training import checkpoint_store
from launch.training.checkpoint_store import Checkpoint
from launch.training.observer import RunObserver, Saved
from launch.training.totals import TrainingTotals, UpdateResult
from launch.training.trainer import Trainer
from launch.training.workers import TrainingWorkers
from workers.collection.rollout_report import RolloutReport
from workers.environments.base import Fault
from workers.environments.probe import probe


def train(
    config: TrainConfig,
    console: Console,
    command_start: float,
    run_dir: Path | None = None,
    resume: Path | None = None,
    debug: bool = False,
) -> TrainingTotals:
    """Trains a policy and leaves a run directory.

    Args:
        config: The run's config.
        console: Where to print.
        command_start: Clock time at which the command began.
        run_dir: The run directory to make; None for one under ``runs/``.
        resume: The run directory to go on with.
        debug: Whether workers' output is shown.

    Returns:
        How far the run came.

    Raises:
        ConfigError: For input that cannot work; nothing has been written then.
        DistPolicyError: If the run fails.
        Interrupted: If SIGINT or SIGTERM ended it, after a checkpoint.
    """
    factory = config.environment_factory
    time_step_spec, action_spec = probe(factory)
    found: Checkpoint | None = None
    if resume is not None:
        run_directory = RunDirectory.open(resume)
        found = checkpoint_store.load_latest(run_directory.checkpoints)
        _tell_refused(found, console)
        if found.totals.solved or found.totals.env_steps >= config.total_steps:
            raise ConfigError(
                f"{resume} is complete ({found.totals.env_steps:,} env steps"
                f"{', solved' if found.totals.solved else ''}): nothing to resume"
            )
    elif run_dir is not None:
        check_free(run_dir)
    started: TrainingTotals = found.totals if found else TrainingTotals()
    generation = found.generation + 1 if found else 0
    # Again once Ray is there, since it sets its own handler of SIGTERM.
    actors = functools.partial(training_actors, config)
    with handled(interrupt), session.connected(config.address, actors, debug), handled(interrupt):
        workers = TrainingWorkers(config, time_step_spec, action_spec, generation)
        console.print(
            f"{config.env}: {config.describe_collectors()} x {config.envs_per_collector} envs, {factory.describe()}; "
            f"{_learners(config, workers.learner_has_gpu)}",
        )
        run = _Run(config, console, workers, started, command_start)
        try:
            run.start(found.state if found else None)
            if resume is None:
                run_directory = RunDirectory.create(run_dir, config)
            else:
                console.print(f"resuming {resume} at {started.env_steps:,} env steps, generation {generation}")
            return run.go(run_directory)
        finally:
            run.close()


def _learners(config: TrainConfig, on_gpu: bool) -> str:
    if config.learners == 1:
        return f"learner on {'GPU' if on_gpu else 'CPU (no GPU in this Ray)'}"
    return f"{config.learners} learners on {'a GPU each' if on_gpu else 'CPUs (not a GPU for each in this Ray)'}"


def _tell_refused(found: Checkpoint, console: Console) -> None:
    for refused in found.refused:
        console.print(f"{refused}: going on from {found.path}")


class _Run(RunObserver):
    """One run: what its driver tells goes into files and onto the screen."""

    def __init__(
        self,
        config: TrainConfig,
        console: Console,
        workers: TrainingWorkers,
        started: TrainingTotals,
        command_start: float,
    ) -> None:
        self._config = config
        self._console = console
        self._workers = workers
        self._command_start = command_start
        self._first_step_time: float | None = None
        # Of workers that are lost before there is a run directory.
        self._early_faults: list[RunFault] = []
        self._faults: FaultTable | None = None
        self._trainer = Trainer(config, workers.pool, workers.learners, workers.next_generation, self, started)

    def start(self, state: dict[str, np.ndarray] | None) -> None:
        """Starts the workers."""
        self._trainer.start(state)

    def close(self) -> None:
        """Ends the workers."""
        self._trainer.close()

    def go(self, directory: RunDirectory) -> TrainingTotals:
        """Trains, and leaves all that belongs into a run directory."""
        self._directory = directory
        self._faults = FaultTable(directory.faults_file)
        for fault in self._early_faults:
            self._note(fault)
        self._metrics = MetricsWriter(directory.path, first_update=self._trainer.totals.updates + 1)
        try:
            with ProgressLine(self._console) as self._line:
                totals = self._trainer.run()
            totals = self._finish(totals)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self._interrupted()
            # What ended the run is what is told.
            with contextlib.suppress(DistPolicyError):
                self._end()
            raise
        self._end()
        return totals

    def _end(self) -> None:
        self._metrics.close()
        for fault in self._workers.pool.open_faults:
            self._note(fault)
        html_report.write(self._directory, self._config)

    def updated(self, outcome: UpdateResult) -> None:
        totals, row = outcome.totals, outcome.row
        if self._first_step_time is None:
            self._first_step_time = outcome.first_step_time
            self._say(f"first env step after {outcome.first_step_time - self._command_start:.1f} s")
        self._metrics.write(row)
        for item in outcome.reports:
            for fault in item.faults:
                self._environment_failed(item, fault)
        speed = float(row["steps_per_s"])
        self._line.show(
            env_steps=totals.env_steps,
            total_steps=self._config.total_steps,
            mean_return=row.get("return_mean_100"),
            target=self._config.target_return,
            steps_per_s=speed,
            policy_lag=int(row["policy_lag"]),
            eta_s=max(self._config.total_steps - totals.env_steps, 0) / speed if speed else math.inf,
        )

    def checkpoint(self, state: dict[str, np.ndarray], totals: TrainingTotals) -> None:
        generation, keep = self._workers.newest_generation, self._config.keep_checkpoints
        checkpoint_store.save(self._directory.checkpoints, state, totals, generation, keep)

    def newest_checkpoint(self) -> Saved | None:
        if not any(self._directory.checkpoints.glob("[0-9]*")):
            return None
        found = checkpoint_store.load_latest(self._directory.checkpoints)
        _tell_refused(found, self._console)
        return Saved(found.state, found.totals)

    def lost(self, fault: RunFault) -> None:
        line = f"{fault.what} was lost: {fault.reason}"
        path = note_fault(self._directory.path, fault.name, line, fault.stacks) if fault.stacks else None
        self._say(f"{line}; see {path}" if path else line)

    def recovered(self, fault: RunFault) -> None:
        self._note(fault)
        self._say(f"{fault.what} is back after {fault.recovery_s:.1f} s; {fault.env_steps_lost:,} env steps were lost")

    def went_back(self, totals: TrainingTotals) -> None:
        self._say(f"going back to {totals.env_steps:,} env steps, the newest checkpoint")
        self._metrics.close()
        self._metrics = MetricsWriter(self._directory.path, first_update=totals.updates + 1)

    def _environment_failed(self, item: RolloutReport, fault: Fault) -> None:
        line = f"env slot {fault.slot} failed in {fault.call} and was replaced: {fault.error}"
        self._say(line)
        note_fault(self._directory.path, collector_name(item.collector, item.generation), line, fault.traceback)
        self._note(RunFault(f"env slot {fault.slot}", fault.error, recovery_s=0.0))

    def _note(self, fault: RunFault) -> None:
        if self._faults is None:
            self._early_faults.append(fault)
        else:
            self._faults.add(fault, self._trainer.totals.updates)

    def _interrupted(self) -> None:
        # A second Ctrl-C does not break the checkpoint that the first one asked for.
        with handled(None):
            self._say("interrupted: writing a checkpoint")
            state = self._trainer.interrupt()
            totals, found = self._trainer.totals, self.newest_checkpoint()
            if state is not None and totals.updates > (0 if found is None else found.totals.updates):
                self.checkpoint(state, totals)
                found = Saved(state, totals)
            if found is None:
                self._say("nothing was learned yet, so there is none")
                return
            if found.totals.updates < totals.updates:
                self._say(f"the learner is busy: the newest checkpoint is of {found.totals.env_steps:,} env steps")
            self._say(f"go on with: distpolicy train --resume {self._directory.path}")

    def _say(self, text: str) -> None:
        self._console.print(text)

    def _finish(self, totals: TrainingTotals) -> TrainingTotals:
        write_folder(self._directory.policy, self._trainer.export_policy())
        self._print_end(totals)
        if self._config.eval_episodes:
            result = self._trainer.evaluate(self._config.eval_episodes)
            self._metrics.write_evaluation(totals.env_steps, result.returns)
            self._say(describe_evaluation(result))
        memory = {"driver": peak_memory_bytes()}
        memory |= self._trainer.peak_memory_bytes()
        shown = ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in memory.items())
        self._say(f"peak memory: {shown}")
        self._say(f"run directory: {self._directory.path}")
        return totals

    def _print_end(self, totals: TrainingTotals) -> None:
        mean = float(np.mean(totals.recent_returns)) if totals.recent_returns else math.nan
        if totals.solved:
            how = f"solved: mean return {show_return(mean)} over 100 episodes (target {self._config.target_return:g})"
        elif self._config.target_return is None:
            how = f"done: mean return {show_return(mean)} over the last {len(totals.recent_returns)} episodes"
        else:
            how = f"target {self._config.target_return:g} not reached: mean return {show_return(mean)}"
        self._say(
            f"{how} after {totals.env_steps:,} env steps in {totals.train_s:.1f} s from the first one "
            f"(compiling the update took {self._trainer.warm_up_s():.1f} s)"
        )
