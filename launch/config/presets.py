"""The presets of training that are part of the package."""

from __future__ import annotations

from importlib import resources

import yaml

from distpolicy.errors import ConfigError
from launch.config.codec import from_dict
from launch.config.train import TrainConfig


def preset_names() -> list[str]:
    """Returns the names of the package's presets."""
    folder = resources.files("launch.config") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_preset(name: str) -> TrainConfig:
    """Returns a preset by its name.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; there are {', '.join(preset_names())}")
    text = (resources.files("launch.config") / "presets" / f"{name}.yaml").read_text()
    return from_dict(TrainConfig, yaml.safe_load(text), f"preset {name}")


def preset_for(env: str | None, agent: str) -> str | None:
    """Returns the name of the default preset of a run; None if the algorithm has no preset.

    Args:
        env: The environment's id; None for the default environment.
        agent: The algorithm's name.
    """
    fitting = [f"cartpole-{agent}"] if env in (None, "CartPole-v1") else []
    return next((name for name in [*fitting, agent] if name in preset_names()), None)
