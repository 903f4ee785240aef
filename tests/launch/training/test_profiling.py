"""`--profile` leaves a profile of the learner that TensorFlow's tools read, and Ray's timeline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import QUICK, distpolicy, no_process_left  # noqa: F401


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_profile_of_some_updates_is_written_and_the_line_says_how_to_open_it(tmp_path: Path) -> None:
    options = (*QUICK, "--total-steps", "2000", "--eval-episodes", "0", "--run-dir", "run", "--target-return", "None")
    done = distpolicy("train", *options, "--profile", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    line = re.search(r"^profile of updates 6 to 15: tensorboard --logdir (\S+)", done.stdout, re.MULTILINE)
    assert line is not None, done.stdout
    assert line[1] == "run/profile"
    (planes,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    assert b"train" in planes.read_bytes()
    events = json.loads((tmp_path / "run" / "profile" / "timeline.json").read_text())
    names = {event["name"] for event in events if event.get("ph") == "X"}
    assert any(name.endswith("rollout") for name in names), names
    assert any(name.endswith("update") for name in names), names


@pytest.mark.slow
def test_a_serial_run_has_the_learner_s_profile_and_a_short_one_says_that_there_is_none(tmp_path: Path) -> None:
    options = (*QUICK, "--serial", "--eval-episodes", "0", "--target-return", "None", "--profile")
    done = distpolicy("train", *options, "--total-steps", "1200", "--run-dir", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "profile of updates 6 to 15: tensorboard --logdir run/profile" in done.stdout
    assert not (tmp_path / "run" / "profile" / "timeline.json").exists()
    done = distpolicy("train", *options, "--total-steps", "200", "--run-dir", "short", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: no profile was written: it needs 15 updates" in done.stderr
