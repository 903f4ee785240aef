"""The configuration of the commands submit and doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from distpolicy.errors import ConfigError
from distpolicy.utils.time_limits import time_limit


@dataclass(frozen=True)
class SubmitConfig:
    """How a job is submitted and followed."""

    working_dir: Path | None = None
    """Folder with Python modules that the job imports, such as environments. It is uploaded. None: nothing is
    uploaded."""
    no_wait: tyro.conf.FlagCreatePairsOff[bool] = False
    """Return as soon as the job is submitted, instead of following its output."""
    dashboard_port: int = 8265
    """Port of the dashboard on the head. It is used if CLUSTER is a cluster file."""
    stop_timeout_s: int = 30
    """Seconds that the job has after Ctrl-C to write its checkpoint."""
    connect_timeout_s: float = 60.0
    """Seconds to wait for a connection to the head. It is used if CLUSTER is a cluster file."""

    def __post_init__(self) -> None:
        if self.working_dir is not None and not self.working_dir.is_dir():
            raise ConfigError(f"working_dir {self.working_dir} is not a folder")
        if not 0 < self.dashboard_port < 65536:
            raise ConfigError(f"dashboard_port must be from 1 to 65535, but is {self.dashboard_port}")
        for name in ("stop_timeout_s", "connect_timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, but is {getattr(self, name)}")


@dataclass(frozen=True)
class DoctorConfig:
    """Checks every node of a cluster and prints a line for each check. Exits with 0 if no check failed, else with 1."""

    address: str | None = None
    """Address of a Ray cluster, or auto for the one on this machine. None: starts Ray on this machine and checks it."""
    cpus: int | None = None
    """Number of CPUs that must have joined. None: any number."""
    gpus: int | None = None
    """Number of GPUs that must have joined. None: any number."""
    nodes: int | None = None
    """Number of nodes that must have joined, including the head. None: any number."""
    deadline_s: Annotated[float, tyro.conf.arg(name="deadline")] = 60.0
    """Seconds to wait for the CPUs, GPUs and nodes to join."""
    timeout_s: float = 300.0
    """Seconds that each check of a node may take."""

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
        if self.deadline_s < 0:
            raise ConfigError(f"deadline must be 0 or more, but is {self.deadline_s}")
        object.__setattr__(self, "timeout_s", time_limit("timeout_s", self.timeout_s))
