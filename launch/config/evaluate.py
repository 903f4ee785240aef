"""The configuration of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from distpolicy.errors import ConfigError
from launch.config.common import EnvValue
from workers.environments.factory import Vectorization
from workers.inference.policy_source import Inference


@dataclass(frozen=True)
class EvaluateConfig:
    """An evaluation; env settings that are not given are the run's."""

    episodes: int = 100
    """Episodes, each with a seed of its own."""
    env: str | None = None
    """Gymnasium id of the environment; the run's if it is left out."""
    env_kwargs: dict[str, EnvValue] = field(default_factory=dict)
    """Arguments of the environment, as KEY VALUE pairs."""
    wrappers: tuple[str, ...] = ()
    """Wrappers around each env, the first innermost."""
    vectorization: Vectorization | None = None
    """How env slots are stepped; an env's own vectorised form, whose slots share one generator, is not used here."""
    seed: int = 0
    """Seed of the episodes."""
    inference: Inference = "auto"
    """What actions are computed by: litert, tf, or auto."""
    video: Path | None = None
    """Folder for mp4 files of the best and the worst episode."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"episodes must be 1 or more, but is {self.episodes}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, but is {self.seed}")
