from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
from dataset_rollouts import CARTPOLE, FIRST, LAST, MID, manifest_of, random_stream, rollouts, write_dataset

from distpolicy.errors import CheckpointError, ConfigError, DistPolicyError
from workers.datasets import shard_journal
from workers.datasets.files import faults_folder
from workers.datasets.manifest import MANIFEST, DatasetManifest, prepare_resume, verify
from workers.datasets.reader import count_episodes, read_episodes, read_steps
from workers.datasets.shard_journal import JOURNAL, ShardJournal, ShardRecord, SlotRange
from workers.datasets.writer import DatasetWriter

ROOT = Path(__file__).resolve().parents[3]


def places(folder: Path) -> list[tuple[int, int]]:
    return [
        pair
        for steps in read_steps(folder)
        for pair in zip(steps["slot"].tolist(), steps["step"].tolist(), strict=True)
    ]


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


WRITE_FOR_EVER = """
import sys
from dataset_rollouts import CARTPOLE, manifest_of, rollouts
from workers.datasets.manifest import DatasetManifest, prepare_resume
from workers.datasets.shard_journal import ShardJournal
from workers.datasets.writer import DatasetWriter
import pathlib, time
folder = pathlib.Path(sys.argv[1])
if (folder / "_manifest.json").exists():
    manifest = prepare_resume(folder)
    manifest = manifest.with_generation(time.time(), manifest.generations[-1].seed_generation + 1)
else:
    manifest = manifest_of(CARTPOLE, 4)
    folder.mkdir(parents=True, exist_ok=True)
journal = ShardJournal(folder, 4, manifest.shards)
manifest.save_without_shards(folder)
generation = manifest.generations[-1]
writers = [
    DatasetWriter(folder, f"c{i}", CARTPOLE, rows_per_shard=100 + 70 * i, generation=generation.seed_generation,
                  next_steps=dict(enumerate(generation.next_steps)))
    for i in range(2)
]
parts = [rollouts(CARTPOLE, range(2 * i, 2 * i + 2), 16, 40, seed=generation.seed_generation) for i in range(2)]
for index in range(40 if len(sys.argv) > 2 else 10**9):
    for writer, part in zip(writers, parts):
        records = writer.write(part[index % 40])
        if journal.append(records):
            print(len(journal.shards), flush=True)
for writer in writers:
    journal.append(writer.flush())
"""


def test_after_kill_9_nothing_is_twice_and_nothing_named_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    named: list[ShardRecord] = []
    for shards in (3, 8):
        process = run_python(WRITE_FOR_EVER, str(folder))
        assert process.stdout is not None
        while int(process.stdout.readline()) < shards:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        manifest = prepare_resume(folder)
        assert list(manifest.shards[: len(named)]) == named
        named = list(manifest.shards)
        assert len(named) >= shards
        assert {path.name for path in folder.iterdir()} == {MANIFEST, JOURNAL, *(shard.file for shard in named)}
        verify(folder)
    done = run_python(WRITE_FOR_EVER, str(folder), "once")
    out, err = done.communicate()
    assert done.returncode == 0, out + err
    manifest = verify(folder)
    assert list(manifest.shards[: len(named)]) == named
    expected = [(slot, step) for slot, count in enumerate(manifest.next_steps()) for step in range(count)]
    assert sorted(places(folder)) == expected
    assert [generation.seed_generation for generation in manifest.generations] == [0, 1, 2]
    episodes = [steps["eps_id"][0] for steps in read_episodes(folder)]
    assert len(episodes) == len(set(episodes))


def test_prepare_resume_leaves_other_files_alone(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    for name in ("notes.txt", "collector-0-000099.parquet", ".collector-0-000100.parquet.partial", "video.mp4"):
        (tmp_path / name).write_text("x")
    assert prepare_resume(tmp_path) == manifest
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {MANIFEST, JOURNAL, "notes.txt", "video.mp4", *(shard.file for shard in manifest.shards)}


def test_an_episode_that_a_resume_cut_is_flagged(tmp_path: Path) -> None:
    streams: list[dict[str, Any]] = [random_stream(CARTPOLE, 0, 4, seed) for seed in (0, 1)]
    for stream in streams:
        stream["step_type"] = np.array([FIRST, MID, MID, LAST, FIRST][:5], np.int32)
    streams[0]["step_type"] = np.array([FIRST, LAST, FIRST, MID, MID], np.int32)
    manifest = manifest_of(CARTPOLE, 1)
    for generation, stream in enumerate(streams):
        if generation:
            manifest = prepare_resume(tmp_path).with_generation(time.time(), generation)
        given = dict(enumerate(manifest.next_steps()))
        writer = DatasetWriter(tmp_path, "a", CARTPOLE, next_steps=given, generation=generation)
        writer.write(rollouts(CARTPOLE, range(1), 4, 1, streams={0: stream})[0])
        manifest = manifest.with_shards(writer.flush())
        manifest.save(tmp_path)
    assert [shard.file for shard in manifest.shards] == ["a-000000.parquet", "a-000001.parquet"]
    steps = list(read_steps(tmp_path))
    assert np.concatenate([part["step"] for part in steps]).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.concatenate([part["cut"] for part in steps]).tolist() == [False, False, True, False, False, False]
    assert len({int(eps_id) for part in steps for eps_id in part["eps_id"]}) == 3


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    changed = dataclasses.replace(manifest, weights_version=(1, 7), env_kwargs={"a": [1, "b"]}, finished=True)
    changed.save(tmp_path)
    assert DatasetManifest.load(tmp_path) == changed
    assert changed.num_rows == sum(changed.next_steps())
    assert not changed.with_generation(2.0, 1).finished


def test_a_seed_generation_cannot_come_back() -> None:
    with pytest.raises(ConfigError, match="seed generation 0"):
        manifest_of(CARTPOLE, 1).with_generation(2.0, 0)


@pytest.mark.parametrize("harm", ["byte", "cut", "gone"])
def test_verify_names_the_damaged_shard(tmp_path: Path, harm: str) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    path = tmp_path / manifest.shards[1].file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data if harm == "byte" else data[:-1])
    with pytest.raises(CheckpointError, match=path.name):
        verify(tmp_path)
    if harm != "byte":
        with pytest.raises(CheckpointError, match=path.name):
            prepare_resume(tmp_path)


def test_a_missing_or_cut_shard_is_named_when_it_is_read(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    path = tmp_path / manifest.shards[0].file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=path.name):
        list(read_steps(tmp_path))
    path.unlink()
    with pytest.raises(CheckpointError, match=path.name):
        list(read_steps(tmp_path))


def test_files_that_are_huge_or_never_end_are_named_and_not_read(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    shard = tmp_path / manifest.shards[0].file
    shard.unlink()
    os.mkfifo(shard)
    for read in (lambda: list(read_steps(tmp_path)), lambda: count_episodes(tmp_path, manifest.num_slots)):
        with pytest.raises(CheckpointError, match=f"{shard.name} is missing or damaged: it is not a regular file"):
            read()
    os.truncate(tmp_path / MANIFEST, 40 * 2**30)
    with pytest.raises(CheckpointError, match=rf"{MANIFEST} is damaged: it has 40\.0 GiB"):
        DatasetManifest.load(tmp_path)
    (tmp_path / MANIFEST).unlink()
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(CheckpointError, match=f"{MANIFEST} is damaged: it is not a regular file"):
        DatasetManifest.load(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "",
        "[]",
        "{}",
        '{"format": 99}',
        '{"format": 1, "sha256": "x"}',
        "not json",
        "\x80",
    ],
)
def test_a_damaged_manifest_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError) as error:
        DatasetManifest.load(tmp_path)
    assert str(tmp_path / MANIFEST) in str(error.value)
    assert "\n" not in str(error.value)


def test_one_changed_number_in_the_manifest_is_found(tmp_path: Path) -> None:
    write_dataset(tmp_path, CARTPOLE)
    value = json.loads((tmp_path / MANIFEST).read_text())
    value["seed"] = 1
    (tmp_path / MANIFEST).write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match="checksum"):
        DatasetManifest.load(tmp_path)


@pytest.mark.parametrize("tail", [b"", b"{", b'{"shard": {}}', b"\0\0\n", b'{"shard": {}, "check": ""}\n'])
def test_a_line_that_a_crash_left_incomplete_is_not_part_of_the_journal(tmp_path: Path, tail: bytes) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    assert DatasetManifest.load(tmp_path) == manifest
    more = ShardRecord("x", 1, 2, "", 0, (SlotRange(0, manifest.next_steps()[0], manifest.next_steps()[0] + 1),))
    grown = ShardJournal(tmp_path, manifest.num_slots, DatasetManifest.load(tmp_path).shards)
    assert grown.append([*manifest.shards, more]) == [more]
    grown.close()
    assert journal.read_bytes().startswith(whole)
    assert DatasetManifest.load(tmp_path).shards == (*manifest.shards, more)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("huge", r"it has 40\.0 GiB"),
        ("fifo", "it is not a regular file"),
        ("deep", "in line 1: it is nested more than 100 deep"),
        ("elsewhere", r"in line 1: it names the file \.\./secret\.parquet, which is not in its folder"),
    ],
)
def test_a_journal_of_others_is_not_read_for_ever_and_names_no_file_elsewhere(
    tmp_path: Path, harm: str, told: str
) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE, rows_per_shard=20)
    journal = tmp_path / JOURNAL
    if harm == "huge":
        os.truncate(journal, 40 * 2**30)
    elif harm == "fifo":
        journal.unlink()
        os.mkfifo(journal)
    elif harm == "deep":
        journal.write_bytes(b"[" * 100_000 + b"\n" + journal.read_bytes())
    else:
        first = dataclasses.replace(manifest.shards[0], file="../secret.parquet")
        dataclasses.replace(manifest, shards=(first, *manifest.shards[1:])).save(tmp_path)
    with pytest.raises(CheckpointError, match=rf"{JOURNAL} is damaged:? {told}") as error:
        DatasetManifest.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("harm", ["number", "line", "order", "end", "gone"])
def test_a_damaged_journal_is_named_in_one_line(tmp_path: Path, harm: str) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE, rows_per_shard=20)
    assert len(manifest.shards) > 2
    journal = tmp_path / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    changed = {
        "number": [lines[0].replace('"num_rows": ', '"num_rows": 1'), *lines[1:]],
        "line": [lines[0], *lines[2:]],
        "order": [lines[1], lines[0], *lines[2:]],
        "end": lines[:-1],
        "gone": [],
    }[harm]
    journal.write_text("".join(changed))
    if harm == "gone":
        journal.unlink()
    with pytest.raises(CheckpointError, match=JOURNAL) as error:
        DatasetManifest.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_shard_costs_the_same_however_many_there_are(tmp_path: Path) -> None:
    journal = ShardJournal(tmp_path, 1, ())
    sizes = []
    for number in range(300):
        record = ShardRecord(f"a-{number:06d}.parquet", 1, 1, "0" * 64, 0, (SlotRange(0, number, number + 1),))
        before = (tmp_path / JOURNAL).stat().st_size
        assert journal.append([record]) == [record]
        sizes.append((tmp_path / JOURNAL).stat().st_size - before)
        assert (journal.next_steps, journal.num_bytes) == ([number + 1], number + 1)
    journal.close()
    assert max(sizes) < min(sizes) + 10


def as_earlier_versions_wrote(folder: Path) -> None:
    """Changes a dataset to the form of format 1: one manifest with all shards, under names without underscores."""
    value = json.loads((folder / MANIFEST).read_text())
    shards = [json.loads(line)["shard"] for line in (folder / JOURNAL).read_text().splitlines()]
    del value["sha256"], value["num_shards"]
    value |= {"format": 1, "shards": shards}
    value["sha256"] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(value) + "\n")
    (folder / MANIFEST).unlink()
    (folder / JOURNAL).unlink()


def test_datasets_of_earlier_versions_are_read_and_continued(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    as_earlier_versions_wrote(tmp_path)
    assert verify(tmp_path) == manifest
    assert len(places(tmp_path)) == manifest.num_rows
    continued = prepare_resume(tmp_path).with_generation(2.0, 1)
    continued.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST, JOURNAL, *(shard.file for shard in manifest.shards)}
    assert DatasetManifest.load(tmp_path) == continued


def test_pandas_and_pyarrow_read_the_folder(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    (tmp_path / "_config.yaml").write_text("env: CartPole-v1")
    faults_folder(tmp_path).mkdir()
    (faults_folder(tmp_path) / "generation0-collector0.txt").write_text("boom")
    (tmp_path / ".collector-0-000100.parquet.partial").write_text("x")
    table = pyarrow.dataset.dataset(tmp_path).to_table()
    assert table.num_rows == manifest.num_rows
    assert pyarrow.parquet.read_table(tmp_path).num_rows == manifest.num_rows
    if importlib.util.find_spec("pandas"):
        import pandas

        frame = pandas.read_parquet(f"{tmp_path}/")
        assert sorted(zip(frame["slot"], frame["step"], strict=True)) == sorted(places(tmp_path))


def test_no_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no"):
        prepare_resume(tmp_path)


@pytest.mark.parametrize("ranges", [[(0, 0, 5), (0, 6, 9)], [(0, 0, 5), (0, 4, 9)], [(0, 1, 3)], [(7, 0, 3)]])
def test_shards_with_a_gap_or_an_overlap_are_not_saved(tmp_path: Path, ranges: list[tuple[int, int, int]]) -> None:
    records = [ShardRecord("x", 1, 1, "", 0, (SlotRange(*part),)) for part in ranges]
    with pytest.raises(CheckpointError, match="do not follow"):
        manifest_of(CARTPOLE, 2).with_shards(records).save(tmp_path)
    assert not (tmp_path / MANIFEST).exists()


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="file/data"):
        DatasetWriter(tmp_path / "file" / "data", "a", CARTPOLE)
    with pytest.raises(DistPolicyError, match=r"nowhere/_"):
        manifest_of(CARTPOLE, 1).save(tmp_path / "nowhere")


def test_arguments_of_an_env_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    manifest = dataclasses.replace(manifest_of(CARTPOLE, 1), env_kwargs={"a": {1, 2}})
    with pytest.raises(ConfigError, match="use JSON"):
        manifest.save(tmp_path)


def test_a_replaced_collector_cuts_its_own_slots_only(tmp_path: Path) -> None:
    inside = np.array([FIRST, MID, MID, MID, MID], np.int32)
    streams = {slot: {**random_stream(CARTPOLE, slot, 4, 0), "step_type": inside} for slot in (0, 1)}
    manifest = manifest_of(CARTPOLE, 2)
    for slot in (0, 1):
        writer = DatasetWriter(tmp_path, f"c{slot}", CARTPOLE)
        writer.write(rollouts(CARTPOLE, range(slot, slot + 1), 4, 1, streams=streams)[0])
        manifest = manifest.with_shards(writer.flush())
    manifest = manifest.with_generation(2.0, 1, slots=[1])
    assert manifest.generations[-1].next_steps == (-1, 4)
    manifest.save(tmp_path)
    assert [steps["cut"].tolist() for steps in read_steps(tmp_path)] == [[False] * 4, [False, False, False, True]]


FULL_DISK = """
import pathlib, resource, sys
from dataset_rollouts import CARTPOLE, manifest_of, rollouts
from distpolicy.errors import DistPolicyError
from workers.datasets.manifest import verify
from workers.datasets.writer import DatasetWriter
folder = pathlib.Path(sys.argv[1])
writer = DatasetWriter(folder, "a", CARTPOLE, rows_per_shard=200)
manifest = manifest_of(CARTPOLE, 4)
parts = rollouts(CARTPOLE, range(4), 100, 12)
for part in parts[:3]:
    manifest = manifest.with_shards(writer.write(part))
manifest = manifest.with_shards(writer.flush())
manifest.save(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
messages = []
for part in parts[3:]:
    for call in (lambda: writer.write(part), writer.flush):
        try:
            call()
        except DistPolicyError as error:
            messages.append(str(error))
writer.close()
assert len(messages) > 2, messages
print(messages[0])
assert verify(folder) == manifest and manifest.num_rows > 500
expected = ["_manifest.json", "_shards.jsonl", *(shard.file for shard in manifest.shards)]
assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
"""


def test_a_full_disk_is_named_and_what_the_manifest_names_is_whole(tmp_path: Path) -> None:
    done = run_python(FULL_DISK, str(tmp_path / "data"))
    out, err = done.communicate()
    assert done.returncode == 0, out + err
    assert "a-000003.parquet" in out
    assert "File too large" in out
    assert len(out.strip().splitlines()) == 1


def test_a_folder_that_goes_away_is_an_error_with_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    writer = DatasetWriter(folder, "a", CARTPOLE, rows_per_shard=1)
    folder.rmdir()
    writer.write(rollouts(CARTPOLE, range(2), 8, 1)[0])
    with pytest.raises(DistPolicyError, match=r"a-000000\.parquet"):
        writer.flush()
    with pytest.raises(DistPolicyError, match=r"a-000000\.parquet"):
        writer.write(rollouts(CARTPOLE, range(2), 8, 1)[0])


def test_closing_without_flush_leaves_no_file(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    # Enough for a row group, so that a file is begun.
    writer.write(rollouts(CARTPOLE, range(2), 20_000, 1)[0])
    writer.write(rollouts(CARTPOLE, range(2), 8, 1)[0])
    writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DistPolicyError, match="closed"):
        writer.write(rollouts(CARTPOLE, range(2), 8, 1)[0])


def test_a_journal_that_was_interrupted_while_a_shard_was_added_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shard(number: int) -> ShardRecord:
        return ShardRecord(f"{number}.parquet", 10, 100, "0", 0, (SlotRange(0, 10 * number, 10 * number + 10),))

    journal = ShardJournal(tmp_path, 1, [shard(0)])
    with monkeypatch.context() as patch:
        # Ctrl-C comes after the line was written.
        patch.setattr(shard_journal, "sync", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            journal.append([shard(1)])
    assert len(shard_journal.read_journal(tmp_path, 1)) == 2
    assert journal.append([shard(1), shard(2)]) == [shard(1), shard(2)]
    journal.close()
    assert shard_journal.read_journal(tmp_path, 3) == (shard(0), shard(1), shard(2))
