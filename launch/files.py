"""Writing files whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from workers.whole_file import sync, write_whole


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a file beside its place, syncs it, and renames it."""
    write_whole(path, data.encode() if isinstance(data, str) else data)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files beside its place, syncs it, and puts it in place of what was there."""
    scratch = path.with_name(f".{path.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    for name, data in files.items():
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync(scratch)
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    os.rename(scratch, path)
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)
