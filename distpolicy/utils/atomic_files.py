"""Writing files and folders whole or not at all, so that a crash at any moment or a full disk damages nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from distpolicy.errors import DistPolicyError


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


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a file beside its place, syncs it, and renames it.

    Raises:
        DistPolicyError: If it cannot be written; what was there is as it was.
    """
    with writing(path):
        write_whole(path, data.encode() if isinstance(data, str) else data)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files beside its place, syncs it, and puts it in place of what was there.

    A folder cannot be renamed over another: a crash between the two renames that replace one leaves what was there
    under the name ``.NAME.old``, and it goes once another is whole.

    Args:
        path: The folder.
        files: Contents by path within it.

    Raises:
        DistPolicyError: If it cannot be written; names the file.
    """
    scratch, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    try:
        with writing(path):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            for name, data in files.items():
                with writing(path / name):
                    (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                    (scratch / name).write_bytes(data)
                    sync(scratch / name)
            # The names in a folder are on the disk once the folder itself is synced.
            for folder in {scratch, *(parent for name in files for parent in (scratch / name).parents)}:
                if folder.is_relative_to(scratch):
                    sync(folder)
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.rename(path, old)
            os.rename(scratch, path)
            sync(path.parent)
    finally:
        # What could not be written takes no room.
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


class GrowingFile:
    """A file that grows by whole pieces; a crash may leave the last one cut off.

    Args:
        path: The file; what was there is replaced.
        data: What it begins with.

    Raises:
        DistPolicyError: If it cannot be written.
    """

    def __init__(self, path: Path, data: bytes = b"") -> None:
        self._path = path
        write_file(path, data)
        with writing(path):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  # closed by close()

    def append(self, data: bytes) -> None:
        """Writes a piece.

        Raises:
            DistPolicyError: If it cannot be written; the file ends as before.
        """
        with writing(self._path):
            size = self._file.tell()
            try:
                while data:
                    data = data[self._file.write(data) :]
            except OSError:
                self._file.truncate(size)
                raise

    def close(self) -> None:
        """Closes the file; may be called twice."""
        self._file.close()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells of a file that cannot be written by its name.

    Raises:
        DistPolicyError: For an ``OSError`` in the block.
    """
    try:
        yield
    except OSError as error:
        raise DistPolicyError(f"cannot write {path}: {error.strerror or error}") from error
