"""RepeatPrevious is learned through Ray, from replayed sequences."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy

# One symbol at a time to remember, for 8 steps. Chance is -0.5.
NEAR = (
    *("--preset", "repeat-previous-far-r2d2", "--env-kwargs", "delay", "8", "spacing", "8", "episode_length", "33"),
    *("--envs-per-collector", "32", "--rollout-steps", "16", "--r2d2.sequence-length", "24"),
    *("--network.actor-units", "32", "--network.recurrent-units", "32"),
    *("--total-steps", "150000", "--target-return", "0.8"),
)


def train(folder: Path, *options: str) -> str:
    result = distpolicy("train", "--seed", "1", "--run-dir", "run", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_symbol_is_remembered_for_8_steps(tmp_path: Path) -> None:
    assert "in an evaluation (target 0.8)" in train(tmp_path, *NEAR)


@pytest.mark.slow
def test_what_was_shown_8_steps_ago_is_learned_from_replayed_sequences(tmp_path: Path) -> None:
    assert "in an evaluation (target 0.9)" in train(tmp_path, "--preset", "repeat-previous-r2d2")
