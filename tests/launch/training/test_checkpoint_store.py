from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.errors import CheckpointError
from launch.training import checkpoint_store
from launch.training.checkpoint_store import Checkpoint, CheckpointStore
from launch.training.totals import TrainingTotals

STATE: dict[str, np.ndarray] = {
    "policy/actor/kernel:0": np.arange(12, dtype=np.float32).reshape(3, 4),
    "policy/normalizer/count": np.array(7.5, np.float64),
    "value_network/bias": np.array([], np.float32),
    "optimizer/0": np.array(3, np.int64),
    "optimizer/1": np.array([[True, False]]),
    "train_step": np.array(5, np.int64),
    "learner/version": np.array(2**40, np.int64),
}


def totals(updates: int) -> TrainingTotals:
    return TrainingTotals(updates, 1000 * updates, 17, 12.75, (1.0, -2.5, 1e-7), solved=True)


def save(folder: Path, updates: int = 5, keep: int = 3, state: dict[str, np.ndarray] = STATE) -> Path:
    return CheckpointStore(folder, keep, lambda: 2).save(state, totals(updates))


def assert_is(found: Checkpoint, updates: int) -> None:
    assert found.totals == totals(updates)
    assert found.generation == 2
    assert found.state.keys() == STATE.keys()
    for name, value in STATE.items():
        read = found.state[name]
        assert (read.shape, read.dtype, read.tobytes()) == (value.shape, value.dtype, value.tobytes())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = save(tmp_path / "made" / "checkpoints")
    assert path.name == "00000005"
    found = checkpoint_store.load(path)
    assert found.path == path
    assert_is(found, 5)


def test_progress_of_a_new_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path, keep=1).save(STATE, TrainingTotals())
    assert checkpoint_store.load(path).totals == TrainingTotals()


def test_a_checkpoint_is_one_file_a_part_and_a_manifest_of_their_hashes(tmp_path: Path) -> None:
    path = save(tmp_path)
    parts = ["learner.npz", "optimizer.npz", "policy.npz", "train_step.npz", "value_network.npz"]
    assert names(path) == sorted([*parts, "manifest.json"])
    manifest = json.loads((path / "manifest.json").read_text())
    hashes = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in parts}
    assert {name: entry["sha256"] for name, entry in manifest["parts"].items()} == hashes


def test_a_part_holds_its_own_arrays_and_no_other(tmp_path: Path) -> None:
    # A NumPy that does not know an argument of savez stores it as an array.
    path = save(tmp_path)
    with zipfile.ZipFile(path / "policy.npz") as archive:
        assert sorted(archive.namelist()) == ["policy/actor/kernel:0.npy", "policy/normalizer/count.npy"]


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    for part in save(tmp_path).glob("*.npz"):
        with np.load(part, allow_pickle=False) as arrays:
            assert [arrays[name].dtype.hasobject for name in arrays.files] == [False] * len(arrays.files)


def test_an_object_array_is_refused_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, updates=4)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        save(tmp_path, state={**STATE, "policy/bad": np.array([{}, []], object)})
    assert names(tmp_path) == ["00000004"]


def test_a_part_that_holds_a_pickle_is_refused_though_its_hash_fits(tmp_path: Path) -> None:
    part = tmp_path / "policy.npz"
    np.savez(part, evil=np.array([print], object))
    with pytest.raises(CheckpointError, match=r"policy\.npz is missing or damaged"):
        checkpoint_store._read_part(part, hashlib.sha256(part.read_bytes()).hexdigest())


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    for updates in (2, 9, 100):
        save(tmp_path, updates)
    found = CheckpointStore(tmp_path, keep=1).load_latest()
    assert_is(found, 100)
    assert found.refused == ()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept_and_older_ones_removed(keep: int, tmp_path: Path) -> None:
    for updates in (5, 10, 15, 20):
        save(tmp_path, updates, keep)
    assert names(tmp_path) == ["00000005", "00000010", "00000015", "00000020"][-keep:]


@pytest.mark.parametrize("times", [1, 2, 11])
def test_saving_again_at_the_same_update_replaces_the_checkpoint(times: int, tmp_path: Path) -> None:
    save(tmp_path, 4)
    for _ in range(times):
        save(tmp_path, state={**STATE, "old/part": np.zeros(2)})
    path = save(tmp_path)
    assert names(tmp_path) == ["00000004", path.name]
    assert path.name == f"00000005-{times}"
    assert_is(CheckpointStore(tmp_path, keep=1).load_latest(), 5)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_run_that_went_back_behind_its_checkpoints_replaces_them(keep: int, tmp_path: Path) -> None:
    for updates in (10, 20, 30, 40):
        save(tmp_path, updates)
    assert names(tmp_path) == ["00000020", "00000030", "00000040"]
    save(tmp_path, 25, keep)
    assert names(tmp_path) == ["00000020", "00000025"][-keep:]
    assert_is(CheckpointStore(tmp_path, keep=1).load_latest(), 25)


@pytest.mark.parametrize("part", ["policy.npz", "learner.npz"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "empty", "missing", "a folder"])
def test_a_damaged_part_is_refused_by_its_name_and_the_checkpoint_before_is_loaded(
    damage: str, part: str, tmp_path: Path
) -> None:
    save(tmp_path, 4)
    file = save(tmp_path, 5) / part
    data = bytearray(file.read_bytes())
    if damage in ("missing", "a folder"):
        file.unlink()
        if damage == "a folder":
            file.mkdir()
    else:
        data[len(data) // 2] ^= 0x10 if damage == "flipped" else 0
        kept = {"truncated": data[:-1], "flipped": data, "longer": data + b"\0", "empty": b""}[damage]
        file.write_bytes(kept)
    found = CheckpointStore(tmp_path, keep=1).load_latest()
    assert_is(found, 4)
    assert [str(error) for error in found.refused] == [f"{file} is missing or damaged"]
    with pytest.raises(CheckpointError, match=rf"00000005/{part} is missing or damaged$"):
        checkpoint_store.load(file.parent)


def test_all_that_are_damaged_are_named_newest_first(tmp_path: Path) -> None:
    for updates in (3, 4, 5):
        save(tmp_path, updates)
    (tmp_path / "00000005" / "manifest.json").unlink()
    (tmp_path / "00000004" / "policy.npz").write_bytes(b"PK")
    found = CheckpointStore(tmp_path, keep=1).load_latest()
    assert_is(found, 3)
    assert [Path(str(error).split(" is ")[0]) for error in found.refused] == [
        tmp_path / "00000005" / "manifest.json",
        tmp_path / "00000004" / "policy.npz",
    ]


def test_no_checkpoint_that_is_whole_is_one_line_that_names_each_file(tmp_path: Path) -> None:
    for updates in (4, 5):
        (save(tmp_path, updates) / "optimizer.npz").unlink()
    with pytest.raises(
        CheckpointError, match=r"no checkpoint in .* can be read: [^;]*5/optimizer\.npz is.*; .*4/opt"
    ) as e:
        CheckpointStore(tmp_path, keep=1).load_latest()
    assert "\n" not in str(e.value)


def rewritten(path: Path, change: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(change(manifest)))


@pytest.mark.parametrize("content", [None, b"", b'{"format": 1,', b"\xff\xfe", b"[]", b"null", b"3", b"[" * 9999])
def test_a_missing_or_damaged_manifest_is_refused_by_its_name(content: bytes | None, tmp_path: Path) -> None:
    manifest = save(tmp_path) / "manifest.json"
    if content is None:
        manifest.unlink()
    else:
        manifest.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"00000005/manifest\.json is missing or damaged$"):
        CheckpointStore(tmp_path, keep=1).load_latest()


@pytest.mark.parametrize("key", ["parts", "totals", "generation"])
def test_a_manifest_that_lacks_an_entry_is_refused_by_its_name(key: str, tmp_path: Path) -> None:
    path = save(tmp_path)
    rewritten(path, lambda manifest: {name: value for name, value in manifest.items() if name != key})
    with pytest.raises(CheckpointError, match=r"00000005/manifest\.json is missing or damaged"):
        checkpoint_store.load(path)


def test_a_manifest_with_a_changed_digit_is_refused_by_its_name(tmp_path: Path) -> None:
    manifest = save(tmp_path) / "manifest.json"
    damaged = manifest.read_text().replace('"env_steps": 5000', '"env_steps": 1000')
    assert damaged != manifest.read_text()
    manifest.write_text(damaged)
    with pytest.raises(CheckpointError, match=r"00000005/manifest\.json is missing or damaged"):
        CheckpointStore(tmp_path, keep=1).load_latest()


@pytest.mark.parametrize("change", [b"\n ", b"\r", b"\r\n"])
def test_a_manifest_that_says_the_same_in_other_bytes_is_damaged(change: bytes, tmp_path: Path) -> None:
    manifest = save(tmp_path) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"\n", change, 1))
    with pytest.raises(CheckpointError, match=r"00000005/manifest\.json is missing or damaged$"):
        CheckpointStore(tmp_path, keep=1).load_latest()


@pytest.mark.parametrize("totals", [{"env_stepz": 3}, {"updates": 1, "more": None}, 3])
def test_a_manifest_of_unknown_progress_is_refused_by_its_name(totals: Any, tmp_path: Path) -> None:
    path = save(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["totals"] = totals
    del manifest["sha256"]
    manifest["sha256"] = checkpoint_store._digest(manifest)
    (path / "manifest.json").write_text(checkpoint_store._text(manifest))
    with pytest.raises(CheckpointError, match=r"00000005/manifest\.json is of another version: "):
        checkpoint_store.load(path)


@pytest.mark.parametrize("name", ["../00000004/learner.npz", "/etc/passwd", ""])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    path = save(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["parts"][name] = {"sha256": "0" * 64}
    del manifest["sha256"]
    manifest["sha256"] = checkpoint_store._digest(manifest)
    (path / "manifest.json").write_text(checkpoint_store._text(manifest))
    with pytest.raises(CheckpointError, match=r"manifest\.json names the file .*, which is not in its folder"):
        checkpoint_store.load(path)


@pytest.mark.parametrize("number", [0, 2, None])
def test_another_format_is_refused_with_both_numbers(number: int | None, tmp_path: Path) -> None:
    path = save(tmp_path)
    rewritten(path, lambda manifest: {**manifest, "format": number})
    with pytest.raises(CheckpointError, match=rf"00000005 has format {number}; this version reads 1"):
        checkpoint_store.load(path)


def test_a_crash_while_writing_leaves_the_older_checkpoint_to_load(tmp_path: Path) -> None:
    save(tmp_path, 4)
    whole = save(tmp_path, 5)
    partial = tmp_path / ".00000005.partial"
    whole.rename(partial)
    (partial / "manifest.json").unlink()
    assert_is(CheckpointStore(tmp_path, keep=1).load_latest(), 4)
    # The next attempt does not stumble over what is left.
    save(tmp_path, 5)
    assert_is(CheckpointStore(tmp_path, keep=1).load_latest(), 5)
    assert names(tmp_path) == ["00000004", "00000005"]


def test_what_a_killed_write_left_is_never_read_and_goes_with_the_next_save(tmp_path: Path) -> None:
    for updates in (4, 7):
        save(tmp_path, updates)
    (tmp_path / "00000007").rename(tmp_path / ".00000007-1.partial")
    (tmp_path / ".00000006.old").mkdir()
    assert_is(CheckpointStore(tmp_path, keep=1).load_latest(), 4)
    save(tmp_path, 5)
    assert names(tmp_path) == ["00000004", "00000005"]


def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / ".notes.partial").mkdir()
    (tmp_path / "00000099").write_text("a file, and no checkpoint")
    for updates in (1, 2):
        save(tmp_path, updates, keep=1)
    assert names(tmp_path) == [".notes.partial", "00000002", "00000099", "notes"]
    assert_is(CheckpointStore(tmp_path, keep=1).load_latest(), 2)


@pytest.mark.parametrize("made", [True, False])
def test_no_checkpoint_is_an_error_that_names_the_folder(made: bool, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    if made:
        folder.mkdir()
    store = CheckpointStore(folder, keep=1)
    assert store.load_latest() is None
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*checkpoints: there is nothing to resume"):
        store.latest_to_resume()


def test_files_that_are_huge_or_never_end_are_refused_and_not_read(tmp_path: Path) -> None:
    path = save(tmp_path)
    os.truncate(path / "policy.npz", 40 * 2**30)
    with pytest.raises(CheckpointError, match=r"policy\.npz is missing or damaged"):
        checkpoint_store.load(path)
    for name in ("policy.npz", "manifest.json"):
        (path / name).unlink()
        os.mkfifo(path / name)
        with pytest.raises(CheckpointError, match=f"{name} is missing or damaged"):
            checkpoint_store.load(path)
