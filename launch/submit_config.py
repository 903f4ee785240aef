"""The configuration of a submitted job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
