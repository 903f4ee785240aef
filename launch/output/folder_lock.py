"""used_alone: makes sure that one command at a time writes into a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from distpolicy.errors import ConfigError


@contextlib.contextmanager
def used_alone(folder: Path) -> Iterator[None]:
    """Locks a folder for the time of the block. Makes it if there is none, and removes it again if it stays empty.

    The system frees the lock when the process ends, even by SIGKILL. File systems without such locks, such as some of
    those that hosts share, let two commands write at once.

    Raises:
        ConfigError: If another command, or another run of this process, has locked the folder, or it cannot be made.
    """
    made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error.strerror}; choose another folder") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()


def is_used(folder: Path) -> bool:
    """Returns True if a command writes into a folder now, as far as the file system's locks tell."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"{folder} is in use: another run writes into it; wait until that has ended, or choose another folder"
        ) from error
    except OSError:
        return  # The file system has no such locks.
