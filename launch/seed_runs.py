"""SeedRuns: a training run for each of several seeds, one after the other or side by side, with one report."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.atomic_files import write_file
from launch.config.codec import dump
from launch.config.seal import sealed
from launch.config.train import TrainConfig
from launch.output.folder_lock import used_alone
from launch.output.own_process import module_command, module_environment
from launch.output.run_directory import RunDirectory, check_free
from launch.output.run_record import read_record, run_state
from launch.output.seeds_folder import SEEDS_FILE, SETTINGS_FILE, Seeds, read_seeds, text_of_seeds
from launch.process_end import EXIT_BAD_INPUT
from launch.reports.groups import grouped
from launch.reports.page_writer import write_page
from launch.reports.picture import write_picture
from launch.reports.run_data import is_training_run, read_run
from launch.reports.run_list import text_of_runs

_POLL_S = 0.1


class SeedRuns:
    """Runs ``distpolicy train`` once for each seed, each in a process of its own.

    The folder holds ``seeds.yaml`` with the settings, ``seeds.json`` with the seeds, a run directory ``seed-N`` for
    each, and the report of all.

    Args:
        folder: The folder. It is new or empty, or holds runs that were begun before.
        config: The settings; the first run has their seed, and every other the next one. None for those in the folder.
        num_seeds: Number of seeds; None for those in the folder.
        num_at_once: Number of runs that go on at the same time.
        console: Where to print.
        options: Options that are no settings, which every run is given.
        preset: Name of the preset that the settings come from; None for the one that a run takes by itself.

    Raises:
        ConfigError: If the folder holds something else, or an argument is invalid.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig | None,
        num_seeds: int | None,
        num_at_once: int,
        console: Console,
        options: Sequence[str] = (),
        preset: str | None = None,
    ) -> None:
        self.folder = folder
        self._num_at_once, self._console, self._options = num_at_once, console, tuple(options)
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._codes: dict[int, int] = {}
        if config is None:
            seeds, preset = read_seeds(folder)
            more = () if num_seeds is None else range(seeds[0], seeds[0] + num_seeds)
            self.seeds = sorted({*seeds, *more})
        else:
            check_free(folder)
            self.seeds = list(range(config.seed, config.seed + (num_seeds or 1)))
        self._config, self._preset = config, preset

    def run(self) -> int:
        """Trains all seeds that are not done; returns 0 if all runs have ended well, else 1."""
        with used_alone(self.folder):
            if self._config is not None:
                write_file(self.folder / SETTINGS_FILE, sealed(dump(self._config)))
            write_file(self.folder / SEEDS_FILE, text_of_seeds(Seeds(self.seeds, self._preset)))
            try:
                self._run_all([seed for seed in self.seeds if not self._is_done(seed)])
            except BaseException as error:
                self._interrupt(getattr(error, "exit_code", 128 + signal.SIGINT) - 128)
                self._console.print(f"go on with: distpolicy train --resume {self.folder}")
                raise
            finally:
                self._report()
            self._console.print(text_of_runs(self.folder), end="")
            failed = [seed for seed, code in self._codes.items() if code]
            if failed:
                self._console.print(f"failed: seed {', '.join(map(str, failed))}")
            return 1 if failed else 0

    def _run_all(self, waiting: list[int]) -> None:
        for seed in set(self.seeds) - set(waiting):
            self._console.print(f"seed {seed} is done: {self._directory(seed)}")
        while waiting or self._running:
            while waiting and len(self._running) < self._num_at_once:
                self._start(waiting.pop(0))
            time.sleep(_POLL_S)
            ended = [seed for seed, process in self._running.items() if process.poll() is not None]
            for seed in ended:
                self._codes[seed] = self._running.pop(seed).returncode
                self._console.print(f"seed {seed}: {'done' if not self._codes[seed] else 'failed'}")
                if self._codes[seed] == EXIT_BAD_INPUT:
                    waiting.clear()  # The others have the same settings.
            if ended and (waiting or self._running):
                self._report()

    def _start(self, seed: int) -> None:
        directory = self._directory(seed)
        where = ["--resume", str(directory)]
        if not self._has_checkpoint(seed):
            if directory.exists():
                self._remove(directory)
            settings = ["--config", str(self.folder / SETTINGS_FILE), "--seed", str(seed)]
            where = [*settings, "--run-dir", str(directory)]
        process = subprocess.Popen(
            module_command("launch", "train", *where, *self._options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**module_environment(), "PYTHONUNBUFFERED": "1"},
            # A signal of the terminal comes here, and is handed on once.
            start_new_session=True,
        )
        self._running[seed] = process
        threading.Thread(target=self._tell, args=(seed, process), daemon=True).start()

    def _tell(self, seed: int, process: subprocess.Popen[str]) -> None:
        """Prints what a run prints, with its seed before each line."""
        assert process.stdout is not None
        for line in process.stdout:
            with self._lock:
                self._console.print(f"seed {seed}: {line.rstrip()}")

    def _interrupt(self, number: int) -> None:
        """Lets the runs save what they have, and waits for them. A second signal ends the saving."""
        for process in self._running.values():
            process.send_signal(number)
        try:
            for process in self._running.values():
                process.wait()
        except KeyboardInterrupt:
            for process in self._running.values():
                process.send_signal(number)
            for process in self._running.values():
                process.wait()

    def _report(self) -> None:
        """Writes the report of the runs that there are."""
        paths = [self._directory(seed) for seed in self.seeds if is_training_run(self._directory(seed))]
        if not paths:
            return
        groups = grouped([read_run(path) for path in paths])
        directory = RunDirectory(self.folder)
        write_page(directory.report_file, groups)
        write_picture(directory.picture_file, groups)
        self._console.print(f"report: {directory.report_file}")

    def _directory(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def _is_done(self, seed: int) -> bool:
        directory = RunDirectory(self._directory(seed))
        if not directory.config_file.is_file():
            return False
        return run_state(read_record(directory), directory) in ("solved", "ended")

    def _has_checkpoint(self, seed: int) -> bool:
        folder = RunDirectory(self._directory(seed)).checkpoints
        return folder.is_dir() and any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir())

    def _remove(self, directory: Path) -> None:
        """Removes the run directory of a run that has learned nothing that was saved."""
        if any(directory.iterdir()) and not is_training_run(directory):
            raise ConfigError(f"{directory} is not a run directory: move it away")
        try:
            shutil.rmtree(directory)
        except OSError as error:
            raise DistPolicyError(f"cannot remove {directory}: {error.strerror}") from error
