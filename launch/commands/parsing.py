"""Parsing of a command's arguments by tyro: errors in one line, and the short help."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.errors import ConfigError
from distpolicy.utils.suggestions import did_you_mean
from launch.config.environment import EnvironmentConfig
from launch.option_values import REGISTRY
from launch.short_help import Choice, short_help

_T = TypeVar("_T")
_WithEnv = TypeVar("_WithEnv", bound=EnvironmentConfig)

# Options that take several values.
_LISTS = ("env-kwargs", "wrappers", "info-metrics", "dataset", "custom.kwargs", "custom.replay")


UsualOptions = Mapping[str, Sequence[str]]
"""The options of a short help by the titles of their groups. An option is named by its place in the arguments."""


def parse(kind: type[_T], arguments: list[str], defaults: _T | None, command: str, usual: UsualOptions) -> _T:
    """Parses the arguments with tyro; turns its boxes of several lines into one-line errors."""
    if {"-h", "--help"} & set(arguments):
        print(_short_help(kind, defaults, command, usual), end="")
        raise SystemExit(0)
    _check_lists_are_given_once(arguments)
    arguments = ["--help" if text == "--help-all" else text for text in arguments]
    output = io.StringIO()
    given: Any = {} if defaults is None else {"default": defaults}
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(kind, args=arguments, prog=f"distpolicy {command}", registry=REGISTRY, **given)
    except SystemExit as end:
        if not end.code:
            raise
        message = _without_box(output.getvalue())
        if message.startswith("Unrecognized options"):
            message = _unknown_options(message, _option_names(kind, given))
        raise ConfigError(f"{message} (distpolicy {command} --help lists the options)") from None


def _check_lists_are_given_once(arguments: list[str]) -> None:
    """Refuses an option of several values that is given twice: the last one would count, and nobody would notice.

    An option of one value may be given again, as scripts do to change a default.
    """
    names = _given(arguments)
    for name in _LISTS:
        if names.count(name) > 1:
            raise ConfigError(f"--{name} is given twice: give all its values after one --{name}")


def _without_box(text: str) -> str:
    """Returns the error in one of tyro's boxes, without the help below it; the box may be of ASCII."""
    lines = [line.strip("│| ") for line in text.splitlines()[1:]]
    lines = list(itertools.dropwhile(lambda line: line.startswith("---"), lines))
    message = " ".join(itertools.takewhile(lambda line: not line.startswith(("─", "╰", "---", "+-")), lines))
    # Of a value that fits none of several types: the last one is the one that people give.
    message = re.sub(r"^(Error parsing \S+:) no type matching .* - <class '\w+'>: ", r"\1 ", message)
    # What a whole group of settings refuses has the setting's name in it.
    message = re.sub(r"^Error parsing config(\.\w+)?: ", "", message)
    return re.sub(r"^Missing value for argument '(\S+)'\. Expected 1 values?\.", r"\1 needs a value", message)


def given_options(arguments: list[str]) -> set[str]:
    """Returns the names of the options that are given."""
    return set(_given(arguments))


def _given(arguments: list[str]) -> list[str]:
    # tyro takes --env_kwargs for --env-kwargs.
    return [text[2:].partition("=")[0].replace("_", "-") for text in arguments if text.startswith("--")]


def with_env_kwargs_of(base: _WithEnv, config: _WithEnv) -> _WithEnv:
    """Returns settings that keep the environment's arguments of ``base`` which the command line has not changed."""
    if config.env != base.env:
        return config
    return dataclasses.replace(config, env_kwargs={**base.env_kwargs, **config.env_kwargs})


def known_options(arguments: list[str], *options: str) -> argparse.Namespace:
    """Returns the values of some options before all are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in options:
        parser.add_argument(option)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error


def _option_names(kind: Any, given: dict[str, Any]) -> list[str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], registry=REGISTRY, **given)
    return re.findall(r"^\W*(--[a-z][\w.-]*)", output.getvalue(), re.MULTILINE)


def _unknown_options(message: str, names: list[str]) -> str:
    """Returns tyro's message on options that do not exist, with the ones that were meant."""
    unknown = [text.split("=")[0] for text in message.partition(": ")[2].split(", ")]
    unknown = [text for text in unknown if text.startswith("--")]
    if not unknown:
        return f"unexpected argument {message.partition(': ')[2].split(', ')[0]}: options begin with --"
    return "unknown option" + ", ".join(f" {text}{did_you_mean(text, names)}" for text in unknown)


def _short_help(kind: type, defaults: Any, command: str, usual: UsualOptions) -> str:
    """Returns the help on the most used options."""
    groups = {}
    for title, places in usual.items():
        if title == "the algorithm":
            agent = defaults.config.agent
            title = f"the algorithm (more: --{agent.kind}.… and --network.…)"
            places = tuple(f"config.agent.{name}" for name in agent.common)
        groups[title] = [_choice(kind, defaults, place) for place in places]
    return short_help(command, " ".join((kind.__doc__ or "").split()), groups)


def _choice(kind: type, defaults: Any, place: str) -> Choice:
    *path, name = place.split(".")
    owner, value = kind, defaults
    for part in path:
        value = None if value is None else getattr(value, part)
        owner = type(value) if value is not None else typing.get_type_hints(owner)[part]
    prefix = f"{value.kind}." if isinstance(value, AgentConfig) else ""
    default = getattr(value, name, None)
    if value is None:
        default = next(item.default for item in dataclasses.fields(owner) if item.name == name)
    option = {
        "source": "RUN",
        "runs": "RUN...",
        "run": "RUN",
        "runs_folder": "FOLDER",
        "every_s": "--every",
        "target": "CLUSTER",
        "shell": "SHELL",
        "folder": "OUT",
        "deadline_s": "--deadline",
        "config_file": "--config",
    }.get(name)
    return Choice(option or f"--{prefix}{name.replace('_', '-')}", owner, name, default)
