"""Groups of runs: those that differ by their seed only, or that have one value of a setting in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distpolicy.errors import ConfigError
from distpolicy.utils.suggestions import did_you_mean
from launch.config.flat_settings import flat
from launch.reports.run_data import RunData

# Settings that say where a run is and how it is watched, and not what it learns.
_NOT_COMPARED = frozenset({"seed", "address", "checkpoint_every", "keep_checkpoints", "compile_cache", "timeout_s"})

_MAX_NAMED = 3

_MISSING = object()


@dataclass(frozen=True)
class Group:
    """Runs that are shown as one curve with an interval.

    Attributes:
        name: What they have in common, and other groups have not.
        runs: The runs.
    """

    name: str
    runs: tuple[RunData, ...]


def grouped(runs: Sequence[RunData], by: str | None = None) -> list[Group]:
    """Returns the groups of runs, in the order of their first runs.

    Args:
        runs: The runs.
        by: A setting, such as ``agent``, ``env``, ``seed``, ``collectors`` or ``ppo.learning_rate``; None to group
            runs that differ by their seed only.

    Raises:
        ConfigError: If no run has the setting.
    """
    settings = [flat(run.config) for run in runs]
    if by is not None:
        values = [_value_of(by, found) for found in settings]
        if all(value is _MISSING for value in values):
            known = sorted({key for found in settings for key in found})
            raise ConfigError(f"no run has the setting {by}{did_you_mean(by.replace('-', '_'), known)}")
        label = "" if by in ("agent", "env") else f"{by} "
        return _collected(runs, [f"{label}{'-' if value is _MISSING else _shown(value)}" for value in values])
    compared = [{key: value for key, value in found.items() if key not in _NOT_COMPARED} for found in settings]
    if all(found == compared[0] for found in compared):
        return [Group(runs[0].agent, tuple(runs))]
    keys = list(dict.fromkeys(key for found in compared for key in found))
    differing = [key for key in keys if any(found.get(key) != compared[0].get(key) for found in compared)]
    return _collected(runs, _names(compared, differing))


def _names(compared: Sequence[Mapping[str, Any]], differing: Sequence[str]) -> list[str]:
    """Returns a name for each run: environment and agent if they differ, and what else differs between runs of both."""
    heads = [key for key in ("env", "agent") if key in differing]
    names = [" · ".join(_shown(found.get(key)) for key in heads) for found in compared]
    for head in dict.fromkeys(names):
        alike = [index for index, name in enumerate(names) if name == head]
        first = compared[alike[0]]
        keys = [key for key in first if any(compared[index].get(key) != first[key] for index in alike)]
        for index in alike:
            parts = [head] if head else []
            parts += [f"{key.rpartition('.')[2]} {_shown(compared[index].get(key, '-'))}" for key in keys[:_MAX_NAMED]]
            names[index] = " · ".join(parts)
    return _numbered(names, compared)


def _numbered(names: Sequence[str], compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns names with a number where runs of different settings have the same."""
    known: dict[str, list[str]] = {}
    found = []
    for name, settings in zip(names, compared, strict=True):
        whole = json.dumps(settings, sort_keys=True, default=str)
        others = known.setdefault(name, [])
        if whole not in others:
            others.append(whole)
        place = others.index(whole)
        found.append(name if not place else f"{name} ({place + 1})")
    return found


def _collected(runs: Sequence[RunData], names: Sequence[str]) -> list[Group]:
    found: dict[str, list[RunData]] = {}
    for run, name in zip(runs, names, strict=True):
        found.setdefault(name, []).append(run)
    return [Group(name, tuple(members)) for name, members in found.items()]


def _value_of(by: str, found: Mapping[str, Any]) -> Any:
    """Returns a run's value of a setting: of its whole name, or of the name after the agent's kind."""
    name = by.removeprefix("--").replace("-", "_")
    keys = [key for key in found if key == name or key.endswith(f".{name}")]
    return found[keys[0]] if keys else _MISSING


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "×".join(map(str, value)) or "none"
    return str(value)
