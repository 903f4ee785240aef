"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def scratch_path(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f".{path.name}.partial")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file beside its place, syncs it, and renames it.

    Raises:
        OSError: If it cannot be written; what was there is as it was.
    """
    scratch = scratch_path(path)
    try:
        scratch.write_bytes(data)
        put_in_place(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def put_in_place(path: Path) -> None:
    """Syncs the scratch file of ``path`` and renames it to ``path``.

    Raises:
        OSError: If it cannot be.
    """
    scratch = scratch_path(path)
    sync(scratch)
    os.replace(scratch, path)
    sync(path.parent)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Has what was written to a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
