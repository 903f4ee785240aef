"""A disk that fills up under a training run; metrics and other files are in test_metrics.py and test_files.py."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import QUICK, distpolicy, no_process_left, read_metrics
from small_disk import enlarge, small_disk

from launch.training import checkpoint_store
from launch.training.checkpoint_store import CheckpointStore

__all__ = ["no_process_left"]

# Checkpoints of 800 kB or so, because of the critic, and small policies: there is room for three checkpoints, or for
# two and the report where its process is quick enough to write it, and none for another.
LARGE = ("--ppo.value-units", "256", "256", "--checkpoint-every", "2", "--keep-checkpoints", "3")
ENDLESS = ("--total-steps", "100000000", "--target-return", "None", "--eval-episodes", "0")


class Stopped(NamedTuple):
    """A run that a full disk has ended."""

    disk: Path
    run: Path
    result: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    folder = tmp_path_factory.mktemp("full")
    with small_disk(folder, "3300k") as disk:
        run = disk / "run"
        yield Stopped(disk, run, distpolicy("train", "--run-dir", str(run), *QUICK, *LARGE, *ENDLESS, cwd=folder))


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_full_disk_ends_a_run_in_one_line_and_leaves_the_checkpoints_before(stopped: Stopped) -> None:
    result, run = stopped.result, stopped.run
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = result.stderr.strip().splitlines()
    # Paths are shown from the folder in which the command ran.
    shown = run.relative_to(stopped.disk.parent)
    assert line.startswith(f"distpolicy: error: cannot write {shown}/checkpoints/0000000")
    assert line.endswith(": No space left on device")

    folders = sorted((run / "checkpoints").iterdir())
    newest = CheckpointStore(run / "checkpoints", keep=1).load_latest().totals.updates
    assert newest >= 4
    assert [folder.name for folder in folders] == [f"{update:08d}" for update in range(2, newest + 2, 2)]
    assert [checkpoint_store.load(folder).path for folder in folders] == folders
    assert f"/{newest + 2:08d}/" in line
    assert int(read_metrics(run)[-1]["update"]) >= newest


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_resume_goes_on_once_there_is_room_from_the_newest_checkpoint_that_is_not_damaged(stopped: Stopped) -> None:
    run = stopped.run
    enlarge(stopped.disk, "16m")
    damaged = CheckpointStore(run / "checkpoints", keep=1).load_latest().path
    part = damaged / "optimizer.npz"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 0x04
    part.write_bytes(data)
    found = CheckpointStore(run / "checkpoints", keep=1).load_latest()
    assert found.path < damaged

    steps = found.totals.env_steps + 300
    result = distpolicy("train", "--resume", str(run), "--total-steps", str(steps), cwd=stopped.disk)
    assert result.returncode == 0, result.stdout + result.stderr
    shown, shown_before = (path.relative_to(stopped.disk) for path in (part, found.path))
    assert f"{shown} is missing or damaged: going on from {shown_before}" in result.stdout.splitlines()
    last = CheckpointStore(run / "checkpoints", keep=1).load_latest()
    assert last.totals.env_steps >= steps
    assert not last.refused
    assert not damaged.exists()
    updates = [int(row["update"]) for row in read_metrics(run)]
    assert updates == list(range(1, last.totals.updates + 1))
    assert (run / "report.html").is_file()
