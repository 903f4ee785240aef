"""The presets of training that are part of the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import yaml

from distpolicy.errors import ConfigError
from distpolicy.utils.suggestions import did_you_mean
from launch.config.codec import from_dict
from launch.config.train import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A preset.

    Attributes:
        name: Its name.
        config: Its settings.
        has_env: Whether it is for one environment; otherwise it is for any.
        expected_s: Seconds from the first env step to the target on 2 cores; None if it was not measured.
    """

    name: str
    config: TrainConfig
    has_env: bool
    expected_s: float | None


def preset_names() -> list[str]:
    """Returns the names of the package's presets."""
    folder = resources.files("launch.config") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_preset(name: str) -> TrainConfig:
    """Returns a preset by its name.

    Raises:
        ConfigError: If the name is unknown.
    """
    return read_preset(name).config


def read_preset(name: str) -> Preset:
    """Returns a preset by its name, with what is known about it.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in preset_names():
        meant = did_you_mean(name, preset_names())
        raise ConfigError(f"unknown preset {name!r}; there are {', '.join(preset_names())}{meant}")
    text = (resources.files("launch.config") / "presets" / f"{name}.yaml").read_text()
    values = yaml.safe_load(text)
    expected_s = values.pop("expected_s", None)
    return Preset(name, from_dict(TrainConfig, values, f"preset {name}"), "env" in values, expected_s)


def preset_for(env: str | None, agent: str) -> str | None:
    """Returns the name of the default preset of a run; None if the algorithm has no preset.

    An environment's own preset is called by its id without namespace and version, and by the algorithm:
    ``mountaincar-ppo`` for ``MountainCar-v0``. It is for that version only.

    Args:
        env: The environment's id; None for the default environment.
        agent: The algorithm's name.
    """
    env, names = env or TrainConfig.env, preset_names()
    own = f"{env.rpartition('/')[2].rpartition('-v')[0].lower()}-{agent}"
    if own in names and load_preset(own).env == env:
        return own
    return agent if agent in names else None
