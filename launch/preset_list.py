"""The lists of the presets, by name and by environment."""

from __future__ import annotations

from launch.config.presets import Preset, preset_for, preset_names, read_preset
from launch.config.train import DEFAULT_AGENT
from launch.output.text_table import text_table

_ANY = "any"


def list_presets() -> str:
    """Returns a table of the presets: name, environment, agent, target, steps, and the expected time."""
    rows = [("preset", "env", "agent", "target", "steps, at most", "time to the target")]
    for preset in map(read_preset, preset_names()):
        config = preset.config
        target = "-" if config.target_return is None else f"{config.target_return:g}"
        rows.append((preset.name, _env(preset), config.agent.kind, target, f"{config.total_steps:,}", _time(preset)))
    return (
        text_table(rows)
        + "\ndistpolicy train --preset NAME trains one of them. Times are on 2 cores, from the first step.\n"
    )


def list_envs() -> str:
    """Returns a table of the environments that have presets. The preset that a run takes by itself comes first."""
    presets = [read_preset(name) for name in preset_names()]
    rows = [("env", "presets")]
    for env in [*sorted({preset.config.env for preset in presets if preset.has_env}), _ANY]:
        default = preset_for(env, DEFAULT_AGENT)
        names = [preset.name for preset in presets if _env(preset) == env]
        names.sort(key=lambda name: (name != default, name))
        rows.append((env, ", ".join(names)))
    return text_table(rows) + (
        "\ndistpolicy train --env ENV takes any Gymnasium id, or module:factory. An env without a preset of its own "
        f"begins from {preset_for(_ANY, DEFAULT_AGENT)}.\n"
    )


def _env(preset: Preset) -> str:
    return preset.config.env if preset.has_env else _ANY


def _time(preset: Preset) -> str:
    return "not measured" if preset.expected_s is None else f"about {preset.expected_s:g} s"
