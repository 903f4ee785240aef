"""Off-policy agents learn through Ray, on fixed seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy


def train(folder: Path, *options: str) -> str:
    result = distpolicy("train", "--run-dir", "run", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_cartpole_is_learned_by_dqn(tmp_path: Path) -> None:
    output = train(tmp_path, "--agent", "dqn", "--seed", "1", "--eval-episodes", "20")
    assert "solved: mean return" in output
    assert "in an evaluation (target 475)" in output
    assert (tmp_path / "run" / "best_policy").is_dir()
    assert not (tmp_path / "run" / "collect_policy").exists(), "it only adds noise"


@pytest.mark.slow
def test_cartpole_is_learned_by_dqn_from_older_data(tmp_path: Path) -> None:
    assert "solved: mean return" in train(tmp_path, "--agent", "dqn", "--seed", "1", "--max-policy-lag", "2")
