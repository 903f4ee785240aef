"""Functions that write files and folders whole or not at all, so that a crash or a full disk never damages them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from distpolicy.errors import DistPolicyError


def scratch_path(path: Path) -> Path:
    """Returns the path of the scratch file that is later renamed to ``path``."""
    return path.with_name(f".{path.name}.partial")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a scratch file, syncs it, and renames it to ``path``.

    Raises:
        OSError: If the file cannot be written. An earlier file stays unchanged.
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
        OSError: If this fails.
    """
    scratch = scratch_path(path)
    sync(scratch)
    os.replace(scratch, path)
    sync(path.parent)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as hexadecimal digits.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flushes a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a scratch file, syncs it, and renames it to ``path``.

    Raises:
        DistPolicyError: If the file cannot be written. An earlier file stays unchanged.
    """
    with writing(path):
        write_whole(path, data.encode() if isinstance(data, str) else data)


def write_folder(path: Path, files: Mapping[str, bytes], links: Mapping[str, Path] = MappingProxyType({})) -> None:
    """Writes a scratch folder, syncs it, and puts it in the place of an earlier folder.

    A folder cannot be renamed over another, so replacing one takes two renames. A crash between them leaves the earlier
    folder as ``.NAME.old``. The next successful write removes it.

    Args:
        path: The folder.
        files: Contents by path within the folder.
        links: Files of other folders that the folder holds as well, by path within it. They share their bytes on the
            disk where it can do that, and must not be written to.

    Raises:
        DistPolicyError: If the folder cannot be written. The message names the file.
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
            for name, source in links.items():
                with writing(path / name):
                    _link(source, scratch / name)
            # The names in a folder reach the disk only when the folder itself is synced.
            for folder in {scratch, *(parent for name in files for parent in (scratch / name).parents)}:
                if folder.is_relative_to(scratch):
                    sync(folder)
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.rename(path, old)
            os.rename(scratch, path)
            sync(path.parent)
    finally:
        # A failed write must not take up disk space.
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, target)
        sync(target)


# What file systems without hard links answer, or with too many links to a file.
_CANNOT_LINK = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP)


class GrowingFile:
    """A file that grows by whole pieces. A crash may leave the last piece incomplete.

    Args:
        path: The file. An earlier file is replaced.
        data: The first bytes of the file.

    Raises:
        DistPolicyError: If the file cannot be written.
    """

    def __init__(self, path: Path, data: bytes = b"") -> None:
        self._path = path
        write_file(path, data)
        with writing(path):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  # closed by close()

    def append(self, data: bytes) -> None:
        """Appends a piece.

        Raises:
            DistPolicyError: If the piece cannot be written. The file then ends as before.
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
        """Closes the file. Further calls do nothing."""
        self._file.close()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns errors of the block into errors that name the file.

    Raises:
        DistPolicyError: If the block raises an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise DistPolicyError(f"cannot write {path}: {error.strerror or error}") from error
