"""The lists of presets are made from the presets themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy

from distpolicy.errors import ConfigError
from launch.config.presets import load_preset, preset_names
from launch.preset_list import list_envs, list_presets


def test_every_preset_has_a_line_with_its_settings_and_time() -> None:
    lines = {line.split()[0]: line for line in list_presets().splitlines() if line}
    assert set(preset_names()) <= set(lines)
    lstm = load_preset("stateless-cartpole-lstm")
    assert lstm.env in lines["stateless-cartpole-lstm"]
    assert f"{lstm.total_steps:,}" in lines["stateless-cartpole-lstm"]
    assert lines["stateless-cartpole-lstm"].endswith("about 18 s")
    assert lines["ppo"].split()[1:4] == ["any", "ppo", "-"]
    assert lines["ppo"].endswith("not measured")


def test_every_env_has_a_line_with_its_own_preset_first() -> None:
    lines = list_envs().splitlines()
    assert any(
        line.split()[:4] == ["CartPole-v1", "cartpole-ppo,", "cartpole-appo,", "cartpole-dqn,"] for line in lines
    )
    of_any = next(line.split()[1:] for line in lines if line.startswith("any "))
    assert of_any[0] == "ppo,"
    assert {"appo,", "bc,", "dqn,", "reinforce,"} <= set(of_any)
    assert any(line.split()[:2] == ["Acrobot-v1", "acrobot-ppo,"] for line in lines)
    assert all(any(name in line for line in lines) for name in preset_names())


def test_the_commands_print_the_lists(tmp_path: Path) -> None:
    assert distpolicy("presets", cwd=tmp_path).stdout == list_presets()
    assert distpolicy("envs", cwd=tmp_path).stdout == list_envs()
    assert distpolicy("presets", "--help", cwd=tmp_path).stdout.startswith("usage: distpolicy presets")
    refused = distpolicy("envs", "CartPole-v1", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_misspelt_preset_is_answered_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'cartpole-pp'.*; did you mean cartpole-ppo\?"):
        load_preset("cartpole-pp")
