"""Pendulum is learned through Ray, from a replay buffer, by agents with actions of floats."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["pendulum-sac", "pendulum-td3"])
def test_pendulum_is_learned_from_replay(preset: str, tmp_path: Path) -> None:
    result = distpolicy("train", "--preset", preset, "--seed", "3", "--run-dir", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "in an evaluation (target -200)" in result.stdout
