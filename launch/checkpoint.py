"""Checkpoints: named parts and a manifest, whole or not there.

A checkpoint is a folder ``checkpoints/00000123`` (the number of updates) with one ``.npz`` a part and
``manifest.json``, which holds each part's SHA-256 and the run's counters. It is written beside its place and
renamed. Nothing in it is a pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.errors import CheckpointError
from launch.files import write_folder

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        updates: Updates of the learner.
        env_steps: Steps of environments.
        episodes: Episodes that ended.
        train_s: Seconds of training, over all starts of the run.
        recent_returns: Returns of the last 100 episodes.
        solved: Whether the target return was reached.
    """

    updates: int = 0
    env_steps: int = 0
    episodes: int = 0
    train_s: float = 0.0
    recent_returns: tuple[float, ...] = field(default=())
    solved: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read.

    Attributes:
        path: Its folder.
        epoch: The epoch of the learner that wrote it.
        progress: How far the run had come.
        state: The learner's state by path.
    """

    path: Path
    epoch: int
    progress: Progress
    state: dict[str, np.ndarray]


def save(folder: Path, state: dict[str, np.ndarray], progress: Progress, epoch: int, keep: int) -> Path:
    """Writes a checkpoint and removes the oldest above ``keep``.

    Args:
        folder: The run's ``checkpoints``.
        state: The learner's state by path; the first component of a path names its part.
        progress: How far the run has come.
        epoch: The learner's epoch.
        keep: How many to keep.

    Returns:
        The checkpoint's folder.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, value in state.items():
        parts.setdefault(name.split("/", 1)[0], {})[name] = value
    files = {f"{name}.npz": _npz(values) for name, values in parts.items()}
    manifest = {
        "format": FORMAT,
        "epoch": epoch,
        "progress": dataclasses.asdict(progress),
        "parts": {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()},
    }
    manifest["sha256"] = _digest(manifest)
    files["manifest.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{progress.updates:08d}"
    write_folder(path, files)
    for old in _folders(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def load_latest(folder: Path) -> Checkpoint:
    """The newest checkpoint.

    Raises:
        CheckpointError: If there is none, or it is damaged; names the file.
    """
    found = _folders(folder)
    if not found:
        raise CheckpointError(f"no checkpoint in {folder}: there is nothing to resume")
    return load(found[-1])


def load(path: Path) -> Checkpoint:
    """Reads and checks one checkpoint.

    Raises:
        CheckpointError: If a file is missing or damaged; names it.
    """
    damaged = f"{path / 'manifest.json'} is missing or damaged; remove {path} to use an older one"
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(damaged) from error
    if not isinstance(manifest, dict):
        raise CheckpointError(damaged)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {manifest.get('format')}; this version reads {FORMAT}")
    if manifest.pop("sha256", None) != _digest(manifest):
        raise CheckpointError(damaged)
    state: dict[str, np.ndarray] = {}
    for name, entry in manifest["parts"].items():
        state.update(_read_part(path / name, entry["sha256"]))
    values = dict(manifest["progress"])
    values["recent_returns"] = tuple(values["recent_returns"])
    return Checkpoint(path, int(manifest["epoch"]), Progress(**values), state)


def _digest(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest without its own."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _read_part(path: Path, sha256: str) -> dict[str, np.ndarray]:
    damaged = f"{path} is missing or damaged; remove {path.parent} to use an older checkpoint"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(damaged) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(damaged)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(damaged) from error


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(item for item in folder.iterdir() if item.is_dir() and item.name.isdigit())
