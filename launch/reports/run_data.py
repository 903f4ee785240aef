"""RunData: what a run directory holds, as plain arrays. Nothing of it is executed, and no run has to be loaded."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from launch.config.codec import load_yaml
from launch.output.growing_table import read_table
from launch.output.metrics import read_rows
from launch.output.run_directory import RunDirectory
from launch.output.run_record import read_record, run_state

# Rows of a CSV file: each column's texts by its name.
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class RunData:
    """What a run directory holds. Files that a run has not written, or not yet, are empty here.

    Attributes:
        path: The run directory.
        name: The name of the run on a page with several.
        config: The settings as in ``config.yaml``.
        columns: The columns of ``metrics.csv``: float64 ``[N]`` each, with NaN where a row has no value.
        evaluations: The rows of ``evaluations.csv``.
        faults: The rows of ``faults.csv``.
        worker_times: The rows of ``worker_times.csv``.
        record: What ``run.json`` holds.
        state: ``running``, ``solved``, ``ended``, ``stopped``, ``failed`` or ``interrupted``.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    columns: Mapping[str, np.ndarray]
    evaluations: Rows
    faults: Rows
    worker_times: Rows
    record: Mapping[str, Any]
    state: str

    @property
    def env(self) -> str:
        """The environment's id."""
        return str(self.config.get("env", "?"))

    @property
    def agent(self) -> str:
        """The algorithm: its kind, or the function that makes it."""
        agent = self.config.get("agent")
        agent = agent if isinstance(agent, dict) else {}
        return str(agent.get("factory") or agent.get("kind", "?"))

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.config.get("seed", 0))

    @property
    def target_return(self) -> float | None:
        """The mean return at which the run ends; None if there is none, or it is infinite."""
        target = self.config.get("target_return")
        return None if target is None or not math.isfinite(float(target)) else float(target)

    @property
    def is_offline(self) -> bool:
        """Whether the run learns from a dataset, and counts gradient steps."""
        return bool(self.config.get("dataset"))

    @property
    def step_unit(self) -> str:
        """What :attr:`steps` counts."""
        return "gradient steps" if self.is_offline else "env steps"

    @property
    def num_rows(self) -> int:
        """N, the number of updates in ``metrics.csv``."""
        return int(self.columns["update"].size) if "update" in self.columns else 0

    @functools.cached_property
    def steps(self) -> np.ndarray:
        """The steps after each update, float64 ``[N]``."""
        return self.column("gradient_steps" if self.is_offline else "env_steps")

    @functools.cached_property
    def seconds(self) -> np.ndarray:
        """The seconds of training after each update, float64 ``[N]``."""
        return self.column("train_s")

    def column(self, name: str) -> np.ndarray:
        """Returns a column of ``metrics.csv``, float64 ``[N]``; NaN where there is no value."""
        if name in self.columns:
            return self.columns[name]
        return np.full(self.num_rows, np.nan)

    def column_after_starts(self, name: str) -> np.ndarray:
        """Returns a column without the first update of each start, whose workers have waited for each other to start.

        Args:
            name: The column.

        Returns:
            float64 ``[N]``, with NaN there.
        """
        starts = [float(start.get("updates", 0)) + 1 for start in self.record.get("starts") or [{}]]
        return np.where(np.isin(self.column("update"), starts), np.nan, self.column(name))

    def last(self, name: str) -> float | None:
        """Returns the last value of a column; None if it has none."""
        values = self.column(name)
        values = values[np.isfinite(values)]
        return float(values[-1]) if values.size else None

    @property
    def num_steps(self) -> float | None:
        """The steps so far; None before the first update."""
        return self.last("gradient_steps" if self.is_offline else "env_steps")

    @property
    def train_s(self) -> float | None:
        """The seconds of training: those that the run has told at its end, else those of the last update.

        The end's are more if an evaluation after the last update has solved the run. None if there are neither.
        """
        told = (self.record.get("end") or {}).get("train_s")
        return self.last("train_s") if told is None else float(told)

    def steps_of_update(self, update: float) -> float:
        """Returns the steps after an update, or after the nearest one before it; 0 before the first."""
        before = np.flatnonzero((self.column("update") <= update) & np.isfinite(self.steps))
        return float(self.steps[before[-1]]) if before.size else 0.0


def read_run(path: Path, name: str | None = None) -> RunData:
    """Reads a run directory, of a run that goes on or has ended.

    Args:
        path: The run directory.
        name: The name of the run; None for the folder's.

    Raises:
        ConfigError: If the folder is not a run directory, or a later version of the project has written it.
        DistPolicyError: If a file cannot be read.
    """
    directory = RunDirectory.open(path)
    config = _settings(directory)
    if config is None:
        raise ConfigError(f"{path} is not the directory of a training run: its config.yaml has no env or no agent")
    record = read_record(directory)
    return RunData(
        path=path,
        name=name or path.resolve().name,
        config=config,
        columns=_columns(directory.metrics_file),
        evaluations=read_table(directory.evaluations_file),
        faults=read_table(directory.faults_file),
        worker_times=read_table(directory.worker_times_file),
        record=record,
        state=run_state(record, directory),
    )


def is_training_run(path: Path) -> bool:
    """Returns True if a folder is the directory of a training run, as far as its ``config.yaml`` tells."""
    directory = RunDirectory(path)
    with contextlib.suppress(ConfigError, OSError):
        return directory.config_file.is_file() and _settings(directory) is not None
    return False


def _settings(directory: RunDirectory) -> dict[str, Any] | None:
    """Returns the settings of a training run; None if they are of something else."""
    config = load_yaml(directory.config_file)
    return config if isinstance(config, dict) and "env" in config and "agent" in config else None


def _columns(path: Path) -> dict[str, np.ndarray]:
    rows = read_rows(path)
    names = [name for name in rows[0] if name] if rows else []
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def number(row: Mapping[str, str], name: str) -> float:
    """Returns a number of a row; NaN if it has none there."""
    try:
        return float(row.get(name) or "nan")
    except ValueError:
        return float("nan")
