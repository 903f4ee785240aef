"""Pendulum is learned through Ray, from a replay buffer, by agents with actions of floats."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy


def train(folder: Path, *options: str) -> str:
    result = distpolicy("train", "--seed", "3", "--run-dir", "run", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_most_of_pendulum_is_learned_by_sac(tmp_path: Path) -> None:
    # Chance is about -1,200.
    output = train(tmp_path, "--preset", "pendulum-sac", "--target-return", "-300")
    assert "in an evaluation (target -300)" in output


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["pendulum-sac", "pendulum-td3"])
def test_pendulum_is_learned_from_replay(preset: str, tmp_path: Path) -> None:
    assert "in an evaluation (target -200)" in train(tmp_path, "--preset", preset)
