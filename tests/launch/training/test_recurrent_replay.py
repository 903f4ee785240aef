"""RepeatPrevious is learned through Ray, from replayed sequences."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy


@pytest.mark.slow
def test_what_was_shown_8_steps_ago_is_learned_from_replayed_sequences(tmp_path: Path) -> None:
    result = distpolicy("train", "--preset", "repeat-previous-r2d2", "--seed", "1", "--run-dir", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "in an evaluation (target 0.9)" in result.stdout
