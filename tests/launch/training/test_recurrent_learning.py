"""Memory is learned through Ray: CartPole without velocities, which no policy without a state can balance."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy


def train(folder: Path, *options: str) -> str:
    result = distpolicy("train", "--run-dir", "run", "--eval-episodes", "0", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["stateless-cartpole-lstm", "stateless-cartpole-gru"])
def test_cartpole_without_velocities_is_learned_with_a_recurrent_state(preset: str, tmp_path: Path) -> None:
    assert "solved: mean return" in train(tmp_path, "--preset", preset, "--seed", "4")


@pytest.mark.slow
def test_cartpole_without_velocities_is_not_learned_without_a_state(tmp_path: Path) -> None:
    options = ("--preset", "stateless-cartpole-gru", "--network.recurrent", "none", "--target-return", "150")
    assert "target 150 not reached" in train(tmp_path, *options)
