"""Segments: parts of a checkpoint that never change, which are written once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from distpolicy.utils import atomic_files
from launch.training import checkpoint_store
from launch.training.checkpoint_store import Checkpoint, CheckpointStore
from launch.training.totals import TrainingTotals

SEGMENTS = "learner/segments"


def state(names: list[str], written: list[str], version: int) -> dict[str, np.ndarray]:
    """A learner's state with these segments, some of which are only named."""
    arrays = {f"{name}/reward": np.full(3, index, np.float32) for index, name in enumerate(names) if name in written}
    return {"learner/version": np.asarray(version), SEGMENTS: np.array(names), **arrays}


def whole_state(found: Checkpoint | None) -> dict[str, np.ndarray]:
    """The state of a checkpoint with its segments."""
    assert found is not None
    whole = dict(found.state)
    for segment in found.segments():
        whole |= segment
    return whole


def totals(updates: int) -> TrainingTotals:
    return TrainingTotals(updates, 1000 * updates, 17, 12.75, (1.0,))


def test_a_segment_is_written_once_and_later_checkpoints_hold_the_same_file(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    assert store.kept_parts == ()
    first = store.save(state(["segment-a"], ["segment-a"], 1), totals(1))
    assert "segment-a" in store.kept_parts
    second = store.save(state(["segment-a", "segment-b"], ["segment-b"], 2), totals(2))
    assert os.stat(first / "segment-a.npz").st_ino == os.stat(second / "segment-a.npz").st_ino
    found = whole_state(checkpoint_store.load(second))
    np.testing.assert_array_equal(found["segment-a/reward"], np.zeros(3))
    np.testing.assert_array_equal(found["segment-b/reward"], np.ones(3))


def test_a_checkpoint_keeps_its_segments_when_those_that_wrote_them_are_removed(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.save(state(["segment-a"], ["segment-a"], 1), totals(1))
    store.save(state(["segment-a"], [], 2), totals(2))
    store.save(state(["segment-a"], [], 3), totals(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000003"]
    assert "segment-a/reward" in whole_state(CheckpointStore(tmp_path, keep=1).latest_to_resume())


def test_a_run_that_goes_on_adds_to_the_segments_that_it_has_read(tmp_path: Path) -> None:
    CheckpointStore(tmp_path, keep=1).save(state(["segment-a"], ["segment-a"], 1), totals(1))
    store = CheckpointStore(tmp_path, keep=1)
    store.go_on_from(CheckpointStore(tmp_path, keep=1).latest_to_resume())
    assert "segment-a" in store.kept_parts
    store.save(state(["segment-a", "segment-b"], ["segment-b"], 2), totals(2))
    assert {"segment-a/reward", "segment-b/reward"} <= set(whole_state(store.latest_to_resume()))


def test_a_learner_that_went_back_does_not_meet_segments_of_the_time_after(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=3)
    store.save(state(["segment-a"], ["segment-a"], 1), totals(1))
    newer = store.save(state(["segment-a", "segment-b"], ["segment-b"], 2), totals(2))
    (newer / "manifest.json").write_text("damaged")
    found = store.load_latest()
    assert found is not None
    assert found.totals.updates == 1
    assert "segment-b" not in store.kept_parts


@pytest.mark.parametrize("links", [True, False])
def test_a_file_system_without_links_gets_a_copy(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(atomic_files.os, "link", refuse)
    (tmp_path / "source").write_bytes(b"rows")
    atomic_files.write_folder(tmp_path / "folder", {"a": b"1"}, {"b": tmp_path / "source"})
    assert (tmp_path / "folder" / "b").read_bytes() == b"rows"
    assert (os.stat(tmp_path / "source").st_nlink == 2) is links
