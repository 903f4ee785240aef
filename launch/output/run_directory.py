"""RunDirectory: the folder of all files that a run writes."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from distpolicy.errors import ConfigError
from distpolicy.utils.atomic_files import write_file
from launch.config.codec import dump
from launch.output.writable import check_name

if TYPE_CHECKING:
    from launch.config.train import TrainConfig


class RunDirectory:
    """A run's folder: ``config.yaml``, ``run.json``, ``checkpoints/``, ``policy/``, ``metrics.csv``,
    ``evaluations.csv``, ``worker_times.csv``, ``faults.csv``, ``report.html``, ``report.png`` and TensorBoard events.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.faults = path / "faults"
        self.checkpoints = path / "checkpoints"
        self.policy = path / "policy"
        self.collect_policy = path / "collect_policy"
        self.metrics_file = path / "metrics.csv"
        self.faults_file = path / "faults.csv"
        self.evaluations_file = path / "evaluations.csv"
        self.worker_times_file = path / "worker_times.csv"
        self.record_file = path / "run.json"
        self.report_file = path / "report.html"
        self.picture_file = path / "report.png"

    @classmethod
    def create(cls, path: Path | None, env: str) -> RunDirectory:
        """Makes an empty folder for a new run.

        Args:
            path: The folder, or None for one under ``runs/`` that is named by environment and time.
            env: The run's environment.

        Raises:
            ConfigError: If it exists and is not empty, or cannot be made.
        """
        try:
            if path is None:
                return cls(fresh_folder(Path("runs"), env))
            check_free(path)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write to run directory {path or 'runs'}: {error.strerror}") from error
        return cls(path)

    def write_config(self, config: TrainConfig) -> None:
        """Writes the resolved config, with the user's seal.

        Raises:
            DistPolicyError: If it cannot be written.
        """
        # Imported here: reading a run directory needs no settings of runs.
        from launch.config.seal import sealed

        write_file(self.config_file, sealed(dump(config)))

    def remove_if_empty(self) -> None:
        """Removes the folder of a run that has written nothing."""
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Returns an existing run directory.

        Raises:
            ConfigError: If the folder is not a run directory.
        """
        run = cls(path)
        if not run.config_file.is_file():
            raise ConfigError(f"{path} is not a run directory: {why_not_a_run(path)}")
        return run


def why_not_a_folder(path: Path) -> str:
    """Returns in a few words why a path is not a folder."""
    return "it is a file" if path.exists() else "there is no such folder"


def why_not_a_run(path: Path) -> str:
    """Returns in a few words why a path is not a run directory."""
    # Imported here: reading a run directory needs no settings of searches.
    from launch.config.tune import holds_search

    if not path.is_dir():
        return why_not_a_folder(path)
    if holds_search(path):
        return f"it is the folder of a search, whose runs are in {path / 'trials'}"
    return "it has no config.yaml"


def policy_folder(path: Path, stochastic: bool, is_best: bool = False) -> Path:
    """Returns the folder of a policy, given a run directory or the folder itself.

    Args:
        path: A run directory, or the folder of a SavedModel.
        stochastic: Whether to take the policy that draws its actions; only a run directory has two.
        is_best: Whether to take the best policy of the run's evaluations instead of the newest one.

    Raises:
        ConfigError: If the run has not exported the policy yet, or there is nothing to choose from.
    """
    run = RunDirectory(path)
    if not run.config_file.is_file():
        if stochastic or is_best:
            option = "--stochastic" if stochastic else "--policy best"
            raise ConfigError(f"{option} is for a run directory: {path} is one policy, and acts as it is")
        return path
    if not run.policy.is_dir():
        raise ConfigError(
            f"{path} has no policy yet: a run writes it with its first checkpoint; continue it with distpolicy train "
            "--resume"
        )
    if stochastic and not run.collect_policy.is_dir():
        raise ConfigError(f"{path} has no policy that draws its actions: leave out --stochastic")
    newest = run.collect_policy if stochastic else run.policy
    if not is_best:
        return newest
    best = newest.with_name(f"best_{newest.name}")
    if not best.is_dir():
        raise ConfigError(
            f"{path} has no {best.name}: a run writes it with its first evaluation; leave out --policy best"
        )
    return best


def saved_policy_folder(path: Path, stochastic: bool, is_best: bool) -> Path:
    """Returns the folder of a policy like :func:`policy_folder`, and checks that there is a SavedModel.

    Raises:
        ConfigError: As :func:`policy_folder`, and if there is none.
    """
    folder = policy_folder(path, stochastic, is_best)
    if not any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        reason = why_not_a_run(path) if folder == path else f"its {folder.name} has no saved_model.pb"
        raise ConfigError(f"{path} is neither a run directory nor the folder of a policy's SavedModel: {reason}")
    return folder


def check_free(path: Path, what: str = "run directory", option: str = "--run-dir") -> None:
    """Checks that a path is free for a new run directory, or for another folder.

    Args:
        path: The path.
        what: What the folder is, for the message.
        option: The option that names it.

    Raises:
        ConfigError: If the path exists and is not an empty folder, or cannot be a path.
    """
    check_name(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{what} {path} exists: choose another {option}, or go on with it by --resume {path}")


def fresh_folder(parent: Path, env: str) -> Path:
    """Makes a folder that is named by environment and time.

    Args:
        parent: Where to make it.
        env: The environment's id; the name of its module is left out.

    Raises:
        OSError: If it cannot be made.
    """
    stem = "".join(char if char.isalnum() or char in "-." else "-" for char in env.rpartition(":")[2])
    name = f"{stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    path, count = parent / name, 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:  # Several runs may start within a second.
            count += 1
            path = parent / f"{name}-{count}"
