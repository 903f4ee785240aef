"""The configuration of what follows a run beside the files that every run has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackingConfig:
    """What follows a run. It is not part of the run's settings: a resumed run is told anew."""

    wandb: str | None = None
    """Project of Weights & Biases that gets the figures (pip install 'distpolicy[wandb]'). Its own variables say where
    and how: WANDB_MODE=offline writes into the run directory."""
    mlflow: str | None = None
    """Tracking URI of the MLflow that gets the figures (pip install 'distpolicy[mlflow]'): http://HOST:PORT,
    sqlite:///PATH or file:PATH."""
    profile: bool = False
    """Write a profile of ten updates into the run directory: TensorFlow's of the learner, and Ray's timeline."""
    videos: bool = False
    """Film the best and the worst of some episodes at the end, into the run directory and for TensorBoard (pip install
    'distpolicy[video]')."""

    @property
    def options(self) -> list[str]:
        """These settings as options of ``distpolicy train``."""
        values = {"--wandb": self.wandb, "--mlflow": self.mlflow}
        flags = {"--profile": self.profile, "--videos": self.videos}
        given = [word for name, value in values.items() if value is not None for word in (name, value)]
        return [*given, *(name for name, is_on in flags.items() if is_on)]
