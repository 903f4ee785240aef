"""``distpolicy presets`` and ``distpolicy envs``."""

from __future__ import annotations

from collections.abc import Callable

from distpolicy.errors import ConfigError
from launch.preset_list import list_envs, list_presets


def run_presets(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy presets``; returns the exit code."""
    return _list("presets", arguments, list_presets)


def run_envs(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy envs``; returns the exit code."""
    return _list("envs", arguments, list_envs)


def _list(command: str, arguments: list[str], make: Callable[[], str]) -> int:
    if arguments and not {"-h", "--help", "--help-all"} & set(arguments):
        raise ConfigError(f"distpolicy {command} takes no options, but got {' '.join(arguments)}")
    print(make() if not arguments else f"usage: distpolicy {command}\n\n{make.__doc__}\n", end="")
    return 0
