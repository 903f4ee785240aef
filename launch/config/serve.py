"""The configuration of a served policy."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distpolicy.errors import ConfigError
from workers.inference.policy_source import Inference

# gRPC has no larger messages.
_MAX_REQUEST_MB = 2000

# Which of a run's policies.
PolicyChoice = Literal["newest", "best"]


@dataclass(frozen=True)
class ServeConfig:
    """The settings of a served policy."""

    policy: PolicyChoice = "newest"
    """Which of a run's policies: the newest, or the best of its evaluations."""
    stochastic: bool = False
    """Serve the policy that draws its actions, as in training (collect_policy), instead of the greedy one."""
    follow: bool = False
    """Take newer policies while the run writes them. Requests under way are answered."""
    trust_shared: bool = False
    """Serve a policy although other users may write to its folder. A SavedModel may read and write files."""
    host: str = "127.0.0.1"
    """Address to listen at. Any but a loopback address needs a token. 0.0.0.0: all of the machine's addresses."""
    port: int = 8000
    """Port of HTTP. 0: a free one, which is printed."""
    grpc_port: int | None = None
    """Port of gRPC. 0: a free one, which is printed. None: no gRPC."""
    token_file: Path | None = None
    """File with the token that requests have to send. It is made, for you alone to read, if it does not exist. The
    variable DISTPOLICY_TOKEN may hold the token instead."""
    replicas: int | None = None
    """Number of replicas. None: one for each CPU, or for each share of a GPU."""
    gpus_per_replica: float = 0.0
    """GPUs of each replica, such as 1 or 0.5. TensorFlow computes the actions there."""
    inference: Inference = "auto"
    """What computes actions: LiteRT (litert), TensorFlow (tf), or LiteRT if it can run the policy (auto)."""
    max_batch: int = 64
    """The most rows that are computed together, and that a request may have."""
    state: Literal["server", "client"] = "server"
    """Who keeps the state of a recurrent policy: the server, by sessions, or the client, which sends it back."""
    max_sessions: int = 10_000
    """The most sessions that a replica keeps. One with a batch counts as one for each row."""
    session_idle_s: float = 600.0
    """Seconds after which a session that nobody uses ends."""
    check_bounds: bool = True
    """Refuse observations outside the bounds of the policy's specs."""
    max_request_mb: float = 32.0
    """The largest request, in MB of 1,000,000 bytes."""
    seed: int | None = None
    """Seed of draws for requests without a seed. None: a random one."""
    address: str | None = None
    """Address of the Ray cluster to serve on, or auto. None: this machine alone."""

    def __post_init__(self) -> None:
        for name in ("port", "grpc_port"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 65536:
                raise ConfigError(f"{name} must be from 0 to 65535, but is {value}")
        if self.grpc_port is not None and self.grpc_port == self.port != 0:
            raise ConfigError(f"port and grpc_port must differ, but both are {self.port}")
        if not 1 <= self.max_batch <= 4096:
            raise ConfigError(f"max_batch must be from 1 to 4096, but is {self.max_batch}")
        for name in ("replicas", "max_sessions"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
        # NaN is not above 0 either.
        if not self.session_idle_s > 0:
            raise ConfigError(f"session_idle_s must be above 0, but is {self.session_idle_s}")
        if not 0 < self.max_request_mb <= _MAX_REQUEST_MB:
            raise ConfigError(
                f"max_request_mb must be above 0 and at most {_MAX_REQUEST_MB}, but is {self.max_request_mb}"
            )
        if not 0 <= self.gpus_per_replica < math.inf:
            raise ConfigError(f"gpus_per_replica must be 0 or more, but is {self.gpus_per_replica}")
        if self.gpus_per_replica > 0 and self.inference == "litert":
            raise ConfigError("gpus_per_replica is for TensorFlow: leave out --inference litert")
        if self.seed is not None and self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, but is {self.seed}")
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise ConfigError(f"host must be an IP address such as 127.0.0.1 or 0.0.0.0, but is {self.host}") from None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        return ipaddress.ip_address(self.host).is_loopback
