"""Settings of a training run by the names of their options: ``ppo.learning-rate``, ``network.actor-units``."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from distpolicy.agents.agent_config import agent_kinds
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.utils.files.bounded_files import parse_json
from distpolicy.utils.suggestions import did_you_mean
from launch.config.codec import from_dict, to_dict
from launch.config.train import TrainConfig
from workers.environments.atari import AtariConfig

# What a trial is, where it runs and what it writes; values of these would not be comparable, or mean nothing.
_FIXED = (
    "env",
    "seed",
    "total-steps",
    "target-return",
    "dataset",
    "address",
    "eval-episodes",
    "eval-every",
    "eval-envs",
    "eval-max-episode-steps",
    "checkpoint-every",
    "keep-checkpoints",
    "step-timeout-s",
    "timeout-s",
    "compile-cache",
    "atari",
)
_NOT_SEARCHED = (*_FIXED, "network", "agent")

# The settings that a search can change, beside those of the agent.
_SEARCHED: Mapping[str, type] = {"": TrainConfig, "network.": NetworkConfig}


def setting_hints(config: TrainConfig) -> dict[str, Any]:
    """Returns the type of every setting that a search can change, by the name of its option."""
    found = {}
    for prefix, kind in {**_SEARCHED, f"{config.agent.kind}.": type(config.agent)}.items():
        hints = typing.get_type_hints(kind)
        for name, field in _names(prefix, kind):
            if name not in _NOT_SEARCHED:
                found[name] = hints[field]
    return found


def searched_names() -> list[str]:
    """Returns the names of the settings that a search can change, with those of all agents."""
    return [name for name in _all_names(_SEARCHED) if name not in _NOT_SEARCHED]


def compared_names() -> list[str]:
    """Returns the names of all settings of runs, with those of all agents. ``agent`` stands for the agent's name."""
    return [name for name in _all_names({**_SEARCHED, "atari.": AtariConfig}) if name not in ("network", "atari")]


def _all_names(groups: Mapping[str, type]) -> list[str]:
    agents = {f"{kind}.": settings for kind, settings in agent_kinds().items()}
    return [name for prefix, kind in {**groups, **agents}.items() for name, _ in _names(prefix, kind)]


def _names(prefix: str, kind: Any) -> list[tuple[str, str]]:
    """Returns the name of each setting of a group, and of its field."""
    return [(prefix + item.name.replace("_", "-"), item.name) for item in dataclasses.fields(kind)]


def setting_name(text: str, config: TrainConfig) -> str:
    """Returns a setting's name as its option has it.

    Args:
        text: The name; ``_`` stands for ``-``.
        config: The config that has the setting.

    Raises:
        ConfigError: If there is no such setting, or a search cannot change it.
    """
    name, hints = text.removeprefix("--").replace("_", "-"), setting_hints(config)
    if name in hints:
        return name
    if name in _FIXED:
        raise ConfigError(f"a search cannot change {name}: it is the same for all trials; give --{name} once")
    group = name.partition(".")[0]
    others = (
        "" if "." not in name or group in ("network", config.agent.kind) else f" with the agent {config.agent.kind}"
    )
    raise ConfigError(f"unknown setting {text!r}{others}{did_you_mean(name, list(hints))}")


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Returns a config with other values of some settings.

    Args:
        config: The config.
        settings: The values by the names of the settings' options.

    Raises:
        ConfigError: If a name is unknown, a value is of the wrong type, or the values do not fit together.
    """
    values: dict[str, Any] = {}
    for text, value in settings.items():
        name = setting_name(text, config)
        group, _, field = name.rpartition(".")
        owner = values if not group else values.setdefault("network" if group == "network" else "agent", {})
        owner[field.replace("-", "_")] = value
    return from_dict(TrainConfig, values, "settings", config)


def settings_of(config: TrainConfig, names: typing.Iterable[str]) -> dict[str, Any]:
    """Returns the values of settings by name, as plain values."""
    plain = to_dict(config)
    found = {}
    for name in names:
        group, _, field = name.rpartition(".")
        owner = plain if not group else plain["network" if group == "network" else "agent"]
        found[name] = owner[field.replace("-", "_")]
    return found


def setting_value(text: str, hint: Any) -> Any:
    """Returns the value that a text stands for: JSON, Python's True, False or None, ``64,64`` for several, or a text.

    Args:
        text: The text.
        hint: The setting's type.

    Raises:
        ValueError: If it has a key twice, is nested too deeply, or a number is too large.
    """
    if _is_tuple(hint):
        text = text if text.startswith("[") else f"[{text}]"
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    try:
        return parse_json(text)
    except json.JSONDecodeError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def setting_text(value: Any) -> str:
    """Returns a value as :func:`setting_value` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(setting_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def option_texts(name: str, value: Any) -> list[str]:
    """Returns the words of a command line that give a setting a value."""
    if isinstance(value, bool):
        group, dot, field = name.rpartition(".")
        return [f"--{name}" if value else f"--{group}{dot}no-{field}"]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{name}", *(repr(item) if isinstance(item, float) else str(item) for item in values)]


def is_whole(hint: Any) -> bool:
    """Returns True if a setting's type is a whole number."""
    return int in _options(hint) and float not in _options(hint) and str not in _options(hint)


def is_number(hint: Any) -> bool:
    """Returns True if a setting's type is a number."""
    return bool({int, float} & set(_options(hint)))


def is_numeric(value: Any) -> bool:
    """Returns True if a setting's value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_tuple(hint: Any) -> bool:
    return any(typing.get_origin(option) is tuple for option in _options(hint))


def _options(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)
