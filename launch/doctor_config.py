"""The configuration of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from distpolicy.errors import ConfigError


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
