"""The configuration of the commands for clusters: submit and doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class SubmitConfig:
    """How a job is submitted and followed."""

    working_dir: Path | None = None
    """Folder whose Python modules the job can import, such as environments; it is uploaded."""
    no_wait: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave the job once it is submitted."""
    dashboard_port: int = 8265
    """Port of the dashboard on the head, for a cluster file."""
    stop_timeout_s: int = 30
    """Seconds that the job has to write its checkpoint after Ctrl-C."""
    connect_timeout_s: float = 60.0
    """Seconds to wait for the head of a cluster file."""

    def __post_init__(self) -> None:
        if self.working_dir is not None and not self.working_dir.is_dir():
            raise ConfigError(f"working_dir {self.working_dir} is no folder")
        if not 0 < self.dashboard_port < 65536:
            raise ConfigError(f"dashboard_port must be a port, but is {self.dashboard_port}")
        for name in ("stop_timeout_s", "connect_timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, but is {getattr(self, name)}")


@dataclass(frozen=True)
class DoctorConfig:
    """Checks every node of a cluster, a line each; the exit code is 0 if nothing has failed, else 1."""

    address: str | None = None
    """Address of a Ray cluster, or auto for the one that runs here; None starts one on this machine."""
    cpus: int | None = None
    """CPUs that must have joined."""
    gpus: int | None = None
    """GPUs that must have joined."""
    nodes: int | None = None
    """Nodes that must have joined, the head among them."""
    deadline_s: Annotated[float, tyro.conf.arg(name="deadline")] = 60.0
    """Seconds in which they must have joined."""
    timeout_s: float = 300.0
    """Seconds after which a node that has not answered counts as lost."""

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
        if self.deadline_s < 0:
            raise ConfigError(f"deadline must be 0 or more, but is {self.deadline_s}")
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout_s must be above 0, but is {self.timeout_s}")
