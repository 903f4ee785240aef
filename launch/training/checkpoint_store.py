"""CheckpointStore: a run's checkpoints. A checkpoint is either complete or not there.

A checkpoint is a folder ``checkpoints/00000123``, named for the number of updates. It holds one ``.npz`` file for each
part of the state, and ``manifest.json`` with each part's SHA-256 and the run's counters. It is written under another
name and then renamed; older checkpoints are removed only after that. If there is a checkpoint with that number already,
the new one is ``00000123-1``, since a folder cannot replace another one in one step. Nothing in it is a pickle.

Parts that never change once written, such as the rows of a replay buffer, are written once. Later checkpoints hold the
same file, until the learner joins such parts to a new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.errors import CheckpointError
from distpolicy.utils.atomic_files import sync, write_folder, writing
from distpolicy.utils.files.bounded_files import is_in_its_folder, parse_json, read_bytes, sha256_of
from launch.training.totals import TrainingTotals
from workers.learning.learner import SEGMENT, SEGMENTS

FORMAT = 1
_MAX_MANIFEST_BYTES = 16 * 2**20
# For parts of earlier versions, whose manifest does not say how large they are.
_MAX_PART_BYTES = 16 * 2**30
_NAME = re.compile(r"(\d+)(?:-(\d+))?")
_LEFTOVER = re.compile(rf"\.{_NAME.pattern}\.(partial|old)")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: Its folder.
        generation: The highest generation of the run's workers by then.
        totals: The run's totals by then.
        state: The learner's state by path, without its segments.
        parts: The entry of each file in the manifest, by its name.
        refused: The errors of newer checkpoints that are damaged.
    """

    path: Path
    generation: int
    totals: TrainingTotals
    state: dict[str, np.ndarray]
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: tuple[CheckpointError, ...] = ()

    def segments(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields the arrays of each segment of the state by path, and reads them only then: they may be large.

        Raises:
            CheckpointError: If a file was damaged since; names it.
        """
        for name in _segment_files(self.state):
            if name in self.parts:
                yield _read_part(self.path / name, *_expected(self.parts[name]))


class CheckpointStore:
    """A run's checkpoints.

    Args:
        folder: The run's ``checkpoints``.
        keep: How many to keep.
        newest_generation: Returns the highest generation of the run's workers so far.
    """

    def __init__(self, folder: Path, keep: int, newest_generation: Callable[[], int] = lambda: 0) -> None:
        self._folder, self._keep, self._newest_generation = folder, keep, newest_generation
        # The folder of the checkpoint that the learner saved last or went back to, and the entries of its parts.
        self._last: tuple[Path, dict[str, dict[str, Any]]] | None = None

    @property
    def kept_parts(self) -> tuple[str, ...]:
        """Names of the parts that the learner need not hand out again."""
        return () if self._last is None else tuple(name.removesuffix(".npz") for name in self._last[1])

    @property
    def newest_folder(self) -> Path | None:
        """Folder of the newest checkpoint, which may be damaged; None if none was written yet."""
        return next(reversed(_folders(self._folder)), None)

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Takes a checkpoint that another store has read as the one that the learner went back to."""
        self._last = checkpoint.path, checkpoint.parts

    def save(self, state: dict[str, np.ndarray], totals: TrainingTotals) -> Path:
        """Writes a checkpoint, then removes the oldest ones above the number to keep.

        Also removes the remains of writes that were killed, and other checkpoints with this number of updates or more:
        the run has gone back to an earlier state, and they are no longer part of it.

        Args:
            state: The learner's state by path; the first component of a path names its part. Parts that it only names
                (:data:`workers.learning.learner.SEGMENTS`) are those of the last checkpoint.
            totals: The run's totals.

        Returns:
            The checkpoint's folder.

        Raises:
            DistPolicyError: If it cannot be written; names the file. Earlier checkpoints are kept.
        """
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, value in state.items():
            parts.setdefault(name.split("/", 1)[0], {})[name] = value
        files = {f"{name}.npz": _npz(values) for name, values in parts.items()}
        entries = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "num_bytes": len(data)} for name, data in files.items()
        }
        links: dict[str, Path] = {}
        for name in _segment_files(state):
            if name not in files:
                assert self._last is not None
                links[name], entries[name] = self._last[0] / name, self._last[1][name]
        manifest = {
            "format": FORMAT,
            "generation": self._newest_generation(),
            "totals": dataclasses.asdict(totals),
            "parts": entries,
        }
        manifest["sha256"] = _digest(manifest)
        files["manifest.json"] = _text(manifest).encode()
        _prepare(self._folder)
        before = _folders(self._folder)
        taken = [again for updates, again in map(_number, before) if updates == totals.updates]
        path = self._folder / (f"{totals.updates:08d}" + (f"-{max(taken) + 1}" if taken else ""))
        write_folder(path, files, links)
        self._last = path, entries
        older = [item for item in before if _number(item)[0] < totals.updates]
        for item in before:
            if item not in older[max(len(older) - self._keep + 1, 0) :]:
                shutil.rmtree(item, ignore_errors=True)
        return path

    def load_latest(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is not damaged; None if none was written yet.

        Raises:
            CheckpointError: If all are damaged; names the files.
        """
        refused: list[CheckpointError] = []
        for path in reversed(_folders(self._folder)):
            try:
                found = load(path)
            except CheckpointError as error:
                refused.append(error)
            else:
                self._last = path, found.parts
                return dataclasses.replace(found, refused=tuple(refused))
        if refused:
            raise CheckpointError(f"no checkpoint in {self._folder} can be read: {'; '.join(map(str, refused))}")
        return None

    def latest_to_resume(self) -> Checkpoint:
        """Returns the newest checkpoint that is not damaged.

        Raises:
            CheckpointError: If there is none, or all are damaged.
        """
        found = self.load_latest()
        if found is None:
            raise CheckpointError(f"no checkpoint in {self._folder}: there is nothing to resume")
        return found


def load(path: Path) -> Checkpoint:
    """Reads and checks one checkpoint.

    Raises:
        CheckpointError: If a file is missing or damaged; names it.
    """
    damaged = f"{path / 'manifest.json'} is missing or damaged"
    try:
        data = read_bytes(path / "manifest.json", _MAX_MANIFEST_BYTES)
        manifest = parse_json(data.decode())
    except (OSError, ValueError) as error:
        raise CheckpointError(damaged) from error
    if not isinstance(manifest, dict):
        raise CheckpointError(damaged)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {manifest.get('format')}; this version reads {FORMAT}")
    as_written = _text(manifest).encode()
    if manifest.pop("sha256", None) != _digest(manifest) or as_written != data:
        raise CheckpointError(damaged)
    try:
        generation, totals = int(manifest["generation"]), TrainingTotals(**manifest["totals"])
        parts = {name: _expected(entry) for name, entry in manifest["parts"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path / 'manifest.json'} is of another version: {error}") from error
    if elsewhere := [name for name in parts if not is_in_its_folder(name)]:
        raise CheckpointError(f"{path / 'manifest.json'} names the file {elsewhere[0]}, which is not in its folder")
    state: dict[str, np.ndarray] = {}
    # Segments are not read with the others.
    for name, expected in parts.items():
        if name.startswith(SEGMENT):
            _check_part(path / name, *expected)
        else:
            state.update(_read_part(path / name, *expected))
    totals = dataclasses.replace(totals, recent_returns=tuple(totals.recent_returns))
    return Checkpoint(path, generation, totals, state, manifest["parts"])


def _segment_files(state: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the names of the files that hold a state's segments, in their order."""
    return [f"{segment}.npz" for segment in state.get(SEGMENTS, ())]


def _expected(entry: Mapping[str, Any]) -> tuple[str, int]:
    """Returns the SHA-256 and the most bytes of a file, by its entry in the manifest."""
    return str(entry["sha256"]), int(entry.get("num_bytes", _MAX_PART_BYTES))


def _text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2) + "\n"


def _digest(manifest: dict[str, Any]) -> str:
    """Returns the SHA-256 of a manifest, without the entry that holds it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _check_part(path: Path, sha256: str, max_bytes: int) -> None:
    try:
        is_whole = sha256_of(path, max_bytes) == sha256
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged") from error
    if not is_whole:
        raise CheckpointError(f"{path} is missing or damaged")


def _read_part(path: Path, sha256: str, max_bytes: int = _MAX_PART_BYTES) -> dict[str, np.ndarray]:
    damaged = f"{path} is missing or damaged"
    try:
        data = read_bytes(path, max_bytes)
    except (OSError, ValueError) as error:
        raise CheckpointError(damaged) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(damaged)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile and NumPy raise many kinds of errors for a damaged file
        raise CheckpointError(damaged) from error


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _prepare(folder: Path) -> None:
    """Makes the folder, or removes the remains of killed writes from it."""
    with writing(folder):
        if not folder.is_dir():
            folder.mkdir(parents=True)
            sync(folder.parent)
        for item in folder.iterdir():
            if _LEFTOVER.fullmatch(item.name):
                shutil.rmtree(item, ignore_errors=True)


def _number(path: Path) -> tuple[int, int]:
    """Returns a checkpoint's number of updates, and its number among the checkpoints with that many updates."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _folders(folder: Path) -> list[Path]:
    """Returns the checkpoints in the order in which they were written."""
    if not folder.is_dir():
        return []
    return sorted((item for item in folder.iterdir() if item.is_dir() and _NAME.fullmatch(item.name)), key=_number)
