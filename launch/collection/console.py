"""ConsoleObserver: shows a collect job on the terminal."""

from __future__ import annotations

import time

from rich.console import Console

from launch.collection.observer import CollectionEnd, CollectionObserver, ObservedRun
from launch.collection.progress import CollectionProgress
from launch.collection.summary import describe_progress, summary
from launch.config.common import counted
from launch.output.run_terminal import RunTerminal
from launch.supervision.faults import RunFault, fault_file
from workers.datasets.files import faults_folder

# Most environments end their episodes within so many steps. Longer ones are collected as they are.
_STEPS_WITHOUT_END = 10_000


class ConsoleObserver(CollectionObserver):
    """Prints a progress line and the job's events.

    Args:
        console: Where to print.
        command_start: Clock time at which the command began.
    """

    def __init__(self, console: Console, command_start: float) -> None:
        self._terminal, self._command_start = RunTerminal(console), command_start
        self._say = self._terminal.say
        self._run: ObservedRun | None = None
        self._has_told_of_no_end = False

    def on_preparing(self, what: str) -> None:
        self._say(what)

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        config, description = run.config, run.description
        collectors = counted(config.collectors, "collector")
        self._say(f"{config.env}: {collectors}, {counted(config.num_envs, 'env')}, {description.vectorization}")
        self._say(f"policy {config.policy}, inference by {description.inference}")
        if run.generation:
            self._say(f"going on after {run.manifest.num_rows:,} steps, generation {run.generation}")
        self._say(f"ready after {time.time() - self._command_start:.1f} s")
        self._terminal.begin()

    def on_progress(self, progress: CollectionProgress) -> None:
        assert self._run is not None
        if (
            not self._has_told_of_no_end
            and progress.unit == "episodes"
            and self._run.config.max_episode_steps is None
            and progress.steps_without_end >= _STEPS_WITHOUT_END
        ):
            self._has_told_of_no_end = True
            self._say(
                f"no episode has ended in the last {progress.steps_without_end:,} steps of each env of a collector; if "
                f"they have no end, press Ctrl-C and go on with: distpolicy collect --resume {self._run.folder} "
                "--max-episode-steps N"
            )
        self._terminal.line.show_text(describe_progress(progress))

    def on_fault(self, fault: RunFault) -> None:
        assert self._run is not None
        if fault.recovery_s is not None:
            self._say(fault.line)
            return
        line, path = fault.line, fault_file(faults_folder(self._run.folder), fault.name)
        if path.exists():
            line += f"; see {path}"
        if self._terminal.was_interrupted:
            self._say(f"{line}; what it had not made whole is lost")
        else:
            self._say(f"{line}; replaced, {fault.env_steps_lost:,} steps are collected again")

    def on_recovery(self, fault: RunFault) -> None:
        self._say(f"{fault.what} is back after {fault.recovery_s:.1f} s")

    def on_interrupt(self) -> None:
        self._terminal.interrupt("interrupted: writing what has been collected")

    def on_end(self, end: CollectionEnd) -> None:
        assert self._run is not None
        self._terminal.end()
        if end.manifest.finished:
            for line in summary(end.totals, end.server, end.manifest, self._run.folder):
                self._say(line)
        elif self._terminal.was_interrupted:
            num_steps = end.manifest.num_rows
            self._say(f"{num_steps:,} steps are whole; go on with: distpolicy collect --resume {self._run.folder}")
