"""Checkpoints of a process that is killed at any step, of a machine that loses power, and of a disk that lies."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from killed_saves import mark_and_segments, mark_of, save

from distpolicy.errors import CheckpointError
from launch.training import checkpoint_store
from launch.training.checkpoint_store import CheckpointStore
from launch.training.totals import TrainingTotals

PARTS = ("policy.npz", "optimizer.npz", "learner.npz", "segment-5.npz")


# The folders of checkpoints of 2, 3 and 4 updates.
OLDER = ("00000002", "00000003", "00000004")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where there is such a file system: syncs cost nothing, and a kill is the same."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process at its system calls by Linux' ptrace")
@pytest.mark.parametrize(
    ("before", "updates", "keep", "folders"),
    [
        ([], 5, 2, {(), ("00000005",)}),
        # Before the new one is whole the old one stays, though only one is to be kept.
        ([4], 5, 1, {("00000004",), ("00000004", "00000005"), ("00000005",)}),
        ([5], 5, 2, {("00000005",), ("00000005", "00000005-1"), ("00000005-1",)}),
        # A replay buffer's rows: two segments of the one before are linked to, and a third one no longer.
        ([2, 3, 4], 5, 1, {tuple(f"{number:08d}" for number in range(first, 6)) for first in range(2, 6)} | {OLDER}),
    ],
)
def test_a_save_that_is_killed_at_any_system_call_leaves_the_old_checkpoint_or_the_new_one_whole(
    before: list[int], updates: int, keep: int, folders: set[tuple[str, ...]], memory_path: Path
) -> None:
    script = Path(__file__).parents[1] / "killed_saves.py"
    command = [
        sys.executable,
        str(script),
        str(memory_path / "checkpoints"),
        json.dumps(before),
        str(updates),
        str(keep),
    ]
    root = str(Path(__file__).parents[3])
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    if "Operation not permitted" in result.stderr:
        pytest.skip("this machine does not permit ptrace")
    assert result.returncode == 0, result.stderr
    saves = [json.loads(line) for line in result.stdout.splitlines()]
    assert [item["killed"] for item in saves] == [True] * (len(saves) - 1) + [False]
    assert len(saves) > 100
    found = [item["found"] for item in saves]
    old = float(before[-1]) if before else None
    assert found == [old] * found.count(old) + [99.0] * found.count(99.0)
    assert found.count(old) > 50
    assert found.count(99.0) > 2
    rows = {(item["found"], *item["segments"]) for item in saves}
    assert rows == {(old, *before), (99.0, *before[-2:], 99.0)}
    assert {tuple(name for name in item["left"] if not name.startswith(".")) for item in saves} == folders
    assert any(name.endswith(".partial") for item in saves for name in item["left"])
    # The next save is as if nothing had happened, and clears what is left.
    assert all(item["after"] == [50.0, "00000050"] for item in saves)


class Disk:
    """What is on the disk of a folder that is written to: what has been synced, and no more.

    It stands in for a machine that loses power, after which a name may be on the disk without the file's content, and a
    file without its name.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._lost = folder, 0
        self._synced: dict[int, Any] = {}  # by inode: a file's bytes, or the names and inodes in a folder
        self.images: list[Path] = []
        self._sync_all(folder)
        for name in ("fsync", "rename", "replace", "rmdir", "unlink"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), is_sync=name == "fsync"))

    def _sync_all(self, folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            self._synced[path.stat().st_ino] = self._now(path)

    def _now(self, path: Path) -> Any:
        return {item.name: item.stat().st_ino for item in path.iterdir()} if path.is_dir() else path.read_bytes()

    def _watched(self, call: Any, is_sync: bool) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            self._lose_power()
            result = call(*arguments, **options)
            if is_sync:
                path = Path(os.readlink(f"/proc/self/fd/{arguments[0]}"))
                self._synced[path.stat().st_ino] = self._now(path)
            self._lose_power()
            return result

        return watched

    def _lose_power(self) -> None:
        """Notes what is found afterwards: of names and of contents the latest ones or only those synced."""
        if not self._folder.exists():
            return
        paths = {path.stat().st_ino: path for path in (self._folder, *self._folder.rglob("*"))}
        for names_are_late in (False, True):
            for contents_are_late in (False, True):
                image = self._folder.with_name(f"{self._folder.name} {len(self.images)}")
                self._restore(self._folder.stat().st_ino, image, paths, names_are_late, contents_are_late)
                self.images.append(image)

    def _restore(
        self, inode: int, target: Path, paths: dict[int, Path], names_are_late: bool, contents_are_late: bool
    ) -> None:
        path, synced = paths.get(inode), self._synced.get(inode)
        is_folder = isinstance(synced, dict) or (path is not None and path.is_dir())
        late = names_are_late if is_folder else contents_are_late
        value = self._now(path) if late and path is not None else synced
        if is_folder:
            target.mkdir()
            for name, child in (value or {}).items():
                self._restore(child, target / name, paths, names_are_late, contents_are_late)
        else:
            target.write_bytes(value or b"")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the files that are synced in /proc")
@pytest.mark.parametrize(("before", "updates"), [(4, 5), (5, 5)])
def test_a_save_that_a_power_cut_ends_leaves_the_old_checkpoint_or_the_new_one_whole(
    before: int, updates: int, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = memory_path / "checkpoints"
    save(folder, before, mark=4, keep=1)
    with monkeypatch.context() as patches:
        disk = Disk(folder, patches)
        save(folder, updates, mark=5, keep=1)
    found = [mark_of(image) for image in disk.images]
    assert set(found) == {4, 5}
    assert found[-4:] == [5] * 4  # what the save has returned from is on the disk
    assert len(found) > 60


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of 4 and of 5 updates."""
    folder = tmp_path_factory.mktemp("pair") / "checkpoints"
    for updates in (4, 5):
        save(folder, updates, mark=updates)
    return folder


@contextlib.contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        yield shutil.copytree(folder, Path(parent) / "checkpoints")


def check_refused(damaged: Path, file: str, pair: Path) -> None:
    """The newest is refused by the file's name, and the one before is loaded."""
    found = CheckpointStore(damaged, keep=1).load_latest()
    assert found is not None
    assert (found.path.name, found.totals) == ("00000004", TrainingTotals(4, train_s=4))
    assert mark_and_segments(dataclasses.replace(found, refused=())) == (4, [4])
    (error,) = found.refused
    assert isinstance(error, CheckpointError)
    newest = damaged / "00000005"
    by_its_format = file == "manifest.json" and str(error).startswith(f"{newest} has format")
    assert by_its_format or str(error) == f"{newest / file} is missing or damaged"


FILES = st.sampled_from([*PARTS, "manifest.json"])


@settings(max_examples=200)
@given(file=FILES, place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
@example(file="manifest.json", place=0.0, bits=1)
def test_a_byte_of_any_file_that_is_changed_has_the_checkpoint_refused_by_the_files_name(
    file: str, place: float, bits: int, pair: Path
) -> None:
    with copy_of(pair) as damaged:
        path = damaged / "00000005" / file
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= bits
        path.write_bytes(data)
        check_refused(damaged, file, pair)


def test_a_bit_of_the_manifest_that_is_flipped_has_it_refused_wherever_it_is(pair: Path) -> None:
    with copy_of(pair) as damaged:
        path = damaged / "00000005" / "manifest.json"
        data = path.read_bytes()
        for place in range(len(data)):
            flipped = data[place] ^ (1 << place % 8)
            path.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
            with pytest.raises(CheckpointError, match=r"00000005"):
                checkpoint_store.load(path.parent)


@settings(max_examples=100)
@given(file=FILES, share=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=3))
@example(file="manifest.json", share=0.999999, tail=b"")
def test_any_file_that_is_cut_off_has_the_checkpoint_refused_by_its_name(
    file: str, share: float, tail: bytes, pair: Path
) -> None:
    with copy_of(pair) as damaged:
        path = damaged / "00000005" / file
        data = path.read_bytes()
        cut = data[: int(share * len(data))] + tail
        path.write_bytes(cut if cut != data else b"")
        check_refused(damaged, file, pair)


@settings(max_examples=50)
@given(file=FILES, data=st.binary(max_size=200))
def test_any_file_that_holds_something_else_has_the_checkpoint_refused_by_its_name(
    file: str, data: bytes, pair: Path
) -> None:
    with copy_of(pair) as damaged:
        (damaged / "00000005" / file).write_bytes(data)
        check_refused(damaged, file, pair)


@pytest.mark.parametrize("file", [*PARTS, "manifest.json"])
def test_any_file_that_is_gone_has_the_checkpoint_refused_by_its_name(file: str, pair: Path) -> None:
    with copy_of(pair) as damaged:
        (damaged / "00000005" / file).unlink()
        check_refused(damaged, file, pair)


@settings(max_examples=200)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_an_archive_that_is_damaged_though_its_hash_fits_is_refused_or_read_and_nothing_else(
    place: float, byte: int, cut: bool, pair: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray((pair / "00000005" / "policy.npz").read_bytes())
    index = int(place * len(data))
    data[index] = byte
    path = tmp_path_factory.getbasetemp() / "policy.npz"
    path.write_bytes(data[:index] if cut else data)
    try:
        arrays = checkpoint_store._read_part(path, hashlib.sha256(path.read_bytes()).hexdigest())
    except CheckpointError:
        return
    assert not any(value.dtype.hasobject for value in arrays.values())
