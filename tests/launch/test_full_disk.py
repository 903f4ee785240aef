"""A disk that fills up under a training run; metrics and other files are in test_metrics.py and test_files.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_disk import enlarge, small_disk
from test_train_command import QUICK, distpolicy, no_process_left, read_metrics

from launch import checkpoint

__all__ = ["no_process_left"]

# Checkpoints of 220 kB or so: there is room for three, and none for the fourth.
LARGE = ("--network.actor-units", "128", "128", "--checkpoint-every", "2", "--keep-checkpoints", "3")
ENDLESS = ("--total-steps", "100000000", "--target-return", "None", "--eval-episodes", "0")


@pytest.mark.usefixtures("no_process_left")
def test_a_full_disk_ends_a_run_in_one_line_and_resume_goes_on_from_the_checkpoint_before_once_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, "800k") as disk:
        run = disk / "run"
        result = distpolicy("train", "--run-dir", str(run), *QUICK, *LARGE, *ENDLESS, cwd=tmp_path)
        assert result.returncode == 1, result.stdout + result.stderr
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith(f"distpolicy: error: cannot write {run}/checkpoints/0000000")
        assert line.endswith(": No space left on device")

        folders = sorted(path.name for path in (run / "checkpoints").iterdir())
        assert len(folders) == 3
        found = checkpoint.load_latest(run / "checkpoints")
        assert found.path.name == folders[-1]
        assert not found.refused
        assert f"/{found.progress.updates + 2:08d}/" in line
        assert int(read_metrics(run)[-1]["update"]) >= found.progress.updates

        enlarge(disk, "8m")
        steps = found.progress.env_steps + 300
        goal = ("--total-steps", str(steps))
        result = distpolicy("train", "--resume", str(run), *goal, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert checkpoint.load_latest(run / "checkpoints").progress.env_steps >= steps
        updates = [int(row["update"]) for row in read_metrics(run)]
        assert updates == list(range(1, len(updates) + 1))
        assert (run / "report.html").is_file()
