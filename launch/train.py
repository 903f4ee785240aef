"""The train command: a run from its config to its run directory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from rich.console import Console

from distpolicy.errors import ConfigError
from launch import checkpoint, cluster, report
from launch.checkpoint import Checkpoint, Progress
from launch.config import TrainConfig
from launch.driver import Driver, Outcome
from launch.evaluation_text import describe_evaluation
from launch.files import write_folder
from launch.metrics import MetricsWriter
from launch.progress_line import ProgressLine
from launch.return_text import show_return
from launch.run_directory import RunDirectory, check_free
from launch.signals import handled, interrupt
from workers.environment_probe import probe
from workers.memory import peak_memory_bytes


def train(
    config: TrainConfig,
    console: Console,
    command_start: float,
    run_dir: Path | None = None,
    resume: Path | None = None,
    debug: bool = False,
) -> Progress:
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
        found = checkpoint.load_latest(run_directory.checkpoints)
        if found.progress.solved or found.progress.env_steps >= config.total_steps:
            raise ConfigError(
                f"{resume} is complete ({found.progress.env_steps:,} env steps"
                f"{', solved' if found.progress.solved else ''}): nothing to resume"
            )
    elif run_dir is not None:
        check_free(run_dir)
    started: Progress = found.progress if found else Progress()
    epoch = found.epoch + 1 if found else 0
    # Again once Ray is there, since it sets its own handler of SIGTERM.
    with handled(interrupt), cluster.connected(config.address, config.collectors, debug), handled(interrupt):
        driver = Driver(config, time_step_spec, action_spec, epoch, started)
        console.print(
            f"{config.env}: {config.collectors} collectors x {config.slots} slots, {factory.describe()}; "
            f"learner on {'GPU' if driver.learner_has_gpu else 'CPU (no GPU in this Ray)'}",
        )
        driver.start(found.state if found else None)
        if resume is None:
            run_directory = RunDirectory.create(run_dir, config)
        else:
            console.print(f"resuming {resume} at {started.env_steps:,} env steps, epoch {epoch}")
        run = _Run(config, console, driver, run_directory, epoch, command_start)
        try:
            return run.go(started)
        finally:
            driver.close()


class _Run:
    """One run: the driver's outcomes into files and onto the screen."""

    def __init__(
        self,
        config: TrainConfig,
        console: Console,
        driver: Driver,
        directory: RunDirectory,
        epoch: int,
        command_start: float,
    ) -> None:
        self._config = config
        self._console = console
        self._driver = driver
        self._directory = directory
        self._epoch = epoch
        self._command_start = command_start
        self._first_step_time: float | None = None

    def go(self, started: Progress) -> Progress:
        self._metrics = MetricsWriter(self._directory.path, first_update=started.updates + 1)
        try:
            with ProgressLine(self._console) as self._line:
                progress = self._driver.run(self._on_iteration, self._save)
            return self._finish(progress)
        except KeyboardInterrupt as interruption:
            self._interrupted()
            raise interruption
        finally:
            self._metrics.close()
            report.write(self._directory, self._config)

    def _on_iteration(self, outcome: Outcome) -> None:
        progress, row = outcome.progress, outcome.row
        if self._first_step_time is None:
            self._first_step_time = outcome.first_step_time
            self._say(f"first env step after {outcome.first_step_time - self._command_start:.1f} s")
        self._metrics.write(row)
        speed = float(row["steps_per_s"])
        self._line.show(
            env_steps=progress.env_steps,
            total_steps=self._config.total_steps,
            mean_return=row.get("return_mean_100"),
            target=self._config.target_return,
            steps_per_s=speed,
            policy_lag=int(row["policy_lag"]),
            eta_s=max(self._config.total_steps - progress.env_steps, 0) / speed if speed else math.inf,
        )

    def _save(self, state: dict[str, np.ndarray], progress: Progress) -> None:
        checkpoint.save(self._directory.checkpoints, state, progress, self._epoch, self._config.keep_checkpoints)

    def _interrupted(self) -> None:
        # A second Ctrl-C does not break the checkpoint that the first one asked for.
        with handled(None):
            self._say("interrupted: writing a checkpoint")
            self._driver.interrupt(self._on_iteration)
            progress = self._driver.progress
            if not progress.updates:
                self._say("nothing was learned yet, so there is none")
                return
            self._save(self._driver.learner_state(), progress)
            self._say(f"go on with: distpolicy train --resume {self._directory.path}")

    def _say(self, text: str) -> None:
        self._console.print(text)

    def _finish(self, progress: Progress) -> Progress:
        self._save(self._driver.learner_state(), progress)
        write_folder(self._directory.policy, self._driver.export_policy())
        self._print_end(progress)
        if self._config.eval_episodes:
            result = self._driver.evaluate(self._config.eval_episodes)
            self._metrics.write_evaluation(progress.env_steps, result.returns)
            self._say(describe_evaluation(result))
        memory = {"driver": peak_memory_bytes()}
        memory |= self._driver.peak_memory_bytes()
        shown = ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in memory.items())
        self._say(f"peak memory: {shown}")
        self._say(f"run directory: {self._directory.path}")
        return progress

    def _print_end(self, progress: Progress) -> None:
        mean = float(np.mean(progress.recent_returns)) if progress.recent_returns else math.nan
        if progress.solved:
            how = f"solved: mean return {show_return(mean)} over 100 episodes (target {self._config.target_return:g})"
        elif self._config.target_return is None:
            how = f"done: mean return {show_return(mean)} over the last {len(progress.recent_returns)} episodes"
        else:
            how = f"target {self._config.target_return:g} not reached: mean return {show_return(mean)}"
        self._say(
            f"{how} after {progress.env_steps:,} env steps in {progress.train_s:.1f} s from the first one "
            f"(compiling the update took {self._driver.warm_up_s():.1f} s)"
        )
