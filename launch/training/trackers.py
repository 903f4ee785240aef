"""WandbTracker and MlflowTracker: a run's figures for Weights & Biases, and for MLflow."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distpolicy.errors import ConfigError
from distpolicy.utils.atomic_files import write_file
from distpolicy.utils.files.bounded_files import read_text
from launch.training.observer import ObservedRun
from launch.training.tracking import Tracker

# The file of a run directory that names a service's run, so that a resumed run goes on with that one.
_FILE = "{}_run.txt"
_MAX_BYTES = 2**10
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# The figure that Weights & Biases has on its x axes.
_STEPS = "steps"

# By default it tries a server that is gone for minutes, and tells its makers that it is used.
_MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

# Limits of MLflow: parameters of a call, characters of a parameter.
_MAX_PARAMETERS, _MAX_CHARACTERS = 100, 500


class WandbTracker(Tracker):
    """Sends a run's figures and settings to Weights & Biases. Where and how is told by its own variables (WANDB_MODE).

    Args:
        project: Name of the project.

    Raises:
        ConfigError: If wandb is not installed, or the name is empty.
    """

    service, library, extra = "Weights & Biases", "wandb", "wandb"

    def __init__(self, project: str) -> None:
        super().__init__()
        if not project:
            raise ConfigError("--wandb needs the name of a project")
        self._project = project
        self._run: Any = None

    def begin(self, run: ObservedRun, settings: Mapping[str, Any]) -> None:
        import wandb

        path = run.directory.path
        run_id = _known_id(path, self.library) or secrets.token_hex(4)
        self._run = wandb.init(
            project=self._project,
            name=_run_name(path),
            id=run_id,
            resume="allow",
            dir=str(path),
            config=dict(settings),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        _note_id(path, self.library, run_id)
        # Steps go back when a run is resumed or goes back to a checkpoint, and its own must not.
        self._run.define_metric(_STEPS)
        self._run.define_metric("*", step_metric=_STEPS)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log({_STEPS: step, **{name: float(value) for name, value in figures.items()}})

    def finish(self, error: BaseException | None) -> None:
        import wandb

        self._run.finish(exit_code=0 if error is None else 1)
        if wandb.run is None:
            # Its process writes the rest of the file; the command would end it before that.
            wandb.teardown()


class MlflowTracker(Tracker):
    """Sends a run's figures and settings to MLflow. The experiment is named for the environment.

    Args:
        uri: The tracking URI: ``http://HOST:PORT`` of a server, ``sqlite:///PATH``, or ``file:PATH``.

    Raises:
        ConfigError: If mlflow is not installed, or the URI is empty.
    """

    service, library, extra = "MLflow", "mlflow", "mlflow"

    def __init__(self, uri: str) -> None:
        super().__init__()
        if not uri:
            raise ConfigError("--mlflow needs a tracking URI, such as http://localhost:5000 or sqlite:///mlflow.db")
        self._uri = uri
        self._client: Any = None
        self._run_id = ""

    def begin(self, run: ObservedRun, settings: Mapping[str, Any]) -> None:
        for name, value in _MLFLOW_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri)
        path = run.directory.path
        known = _known_id(path, self.library)
        if known is not None:
            with contextlib.suppress(Exception):  # It may have been deleted there; then a new one begins.
                self._client.update_run(known, status="RUNNING")
                self._run_id = known
                return
        found = self._client.get_experiment_by_name(run.config.env)
        experiment = self._client.create_experiment(run.config.env) if found is None else found.experiment_id
        self._run_id = self._client.create_run(experiment, run_name=_run_name(path)).info.run_id
        _note_id(path, self.library, self._run_id)
        parameters = [Param(name, str(value)[:_MAX_CHARACTERS]) for name, value in settings.items()]
        for begin in range(0, len(parameters), _MAX_PARAMETERS):
            self._client.log_batch(self._run_id, params=parameters[begin : begin + _MAX_PARAMETERS])

    def log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now_ms, step) for name, value in figures.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self, error: BaseException | None) -> None:
        status = "FINISHED" if error is None else "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        self._client.set_terminated(self._run_id, status)


def _run_name(path: Path) -> str:
    """Returns a run's name. The trials of all searches are numbered alike: theirs begins with the search's."""
    return f"{path.parent.parent.name}-{path.name}" if path.parent.name == "trials" else path.name


def _known_id(folder: Path, service: str) -> str | None:
    """Returns the id of a service's run that a run directory belongs to; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        text = read_text(folder / _FILE.format(service), _MAX_BYTES).strip()
        return text if _ID.fullmatch(text) else None
    return None


def _note_id(folder: Path, service: str, run_id: str) -> None:
    write_file(folder / _FILE.format(service), run_id + "\n")
