"""The settings of a training run from a preset, a file and the command line: for train and tune."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import tyro

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import ConfigError
from launch.commands.parsing import given_options
from launch.config.presets import load_preset, preset_for
from launch.config.seal import check_names_of_code
from launch.config.train import DEFAULT_AGENT, TrainConfig, load_train_config
from launch.option_values import absolute_path
from launch.output.seeds_folder import preset_of


def new_settings(known: argparse.Namespace, arguments: list[str]) -> TrainConfig:
    """Returns the settings that a new run begins from: those of a file, of a preset, or the defaults."""
    if known.config is None:
        return _beginning(known.preset, known.env, known.agent)
    if known.preset is not None or known.resume is not None:
        other = "--preset" if known.resume is None else "--resume"
        raise ConfigError(f"--config and {other} exclude each other: a run begins from the settings of one")
    file = absolute_path(known.config)
    written = load_train_config(file)
    check_names_of_code(file, written, given_options(arguments))
    return _chosen(written, known.env, known.agent)


def preset_of_settings(preset: str | None, file: Path | None) -> str | None:
    """Returns the preset that the settings come from; None for the one that a run takes by itself.

    Args:
        preset: The preset that is given; None for none.
        file: The file with the settings to begin from; None for none.
    """
    return preset or (None if file is None else preset_of(file))


def with_range(arguments: list[str]) -> list[str]:
    """Replaces ``--collectors MIN:MAX`` by the two options that it stands for."""
    found: list[str] = []
    for text in itertools.chain.from_iterable(
        text.split("=", 1) if text.startswith("--collectors=") else [text] for text in arguments
    ):
        least, colon, most = text.partition(":")
        if colon and found and found[-1] == "--collectors":
            found += [most, "--min-collectors", least]
        else:
            found.append(text)
    return found


def with_named_agent(config: TrainConfig) -> TrainConfig:
    """Returns the config as a subclass in which the agent's options begin with the algorithm's name: ``--ppo.…``."""
    named: Any = Annotated[type(config.agent), tyro.conf.arg(name=config.agent.kind)]
    kind = dataclasses.make_dataclass(
        "TrainConfig", [("agent", named, field(default=config.agent))], bases=(TrainConfig,), frozen=True
    )
    return kind(**train_fields(config))


def train_fields(config: TrainConfig) -> dict[str, Any]:
    """Returns the settings by name, without what a subclass has in addition."""
    return {item.name: getattr(config, item.name) for item in dataclasses.fields(TrainConfig)}


def agent_name(agent: AgentConfig) -> str:
    """Returns the value of ``--agent`` for an algorithm: its kind, or ``module:function``."""
    return agent.name if isinstance(agent, CustomAgentConfig) else agent.kind


def _beginning(preset: str | None, env: str | None, agent: str | None) -> TrainConfig:
    """Returns a new run's settings before the command line changes them."""
    name = preset or preset_for(env, DEFAULT_AGENT if agent is None else _agent_settings(agent).kind)
    return _chosen(TrainConfig() if name is None else load_preset(name), env, agent)


def _chosen(base: TrainConfig, env: str | None, agent: str | None) -> TrainConfig:
    """Returns settings with another environment or agent, if one is given. Another agent has its own defaults."""
    if agent is not None and agent_name(base.agent) != agent:
        base = dataclasses.replace(base, agent=_agent_settings(agent))
    return base if env is None else dataclasses.replace(base, env=env)


def _agent_settings(name: str) -> AgentConfig:
    if name == CustomAgentConfig.kind:
        raise ConfigError("--agent custom: give module:function instead, with a function of yours that makes an agent")
    return CustomAgentConfig(factory=name) if ":" in name else AgentConfig.of_kind(name)()
