"""session_folder: a private folder for a Ray that a command starts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import ray

from distpolicy.errors import ConfigError, DistPolicyWarning
from distpolicy.utils.files.private_paths import why_others_may_change

# The path of a socket has at most 107 bytes. Ray's longest begins with the folder and ends like this.
_MAX_SOCKET_BYTES = 107
_LONGEST_SOCKET = "session_2026-11-28_21-24-01_123456_4194304/sockets/plasma_store"
_INNER = "ray"
_RAY_PROGRAMS = str(Path(ray.__file__).parent)
_END_TIMEOUT_S = 3.0
_NEW_S = 10.0


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """Yields an empty folder for Ray's sockets and logs that only this user can enter, and removes it at the end.

    Ray opens its own folder to all users, who could put other sockets into the place of its own. Folders that killed
    commands have left are removed before, and the processes that Ray has left with them are ended.

    Raises:
        ConfigError: If the folder cannot be made.
    """
    parent = _parent()
    _remove_leftovers(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=parent))
    except OSError as error:
        raise ConfigError(f"cannot make a folder for Ray in {parent}: {error.strerror}; set RAY_TMPDIR") from error
    with _locked(folder):
        try:
            if reason := why_others_may_change(folder):
                raise ConfigError(f"Ray needs a folder that only you may change, but {reason}; set RAY_TMPDIR")
            yield folder / _INNER
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _prefix() -> str:
    return f"dp-{os.getuid()}-"


def _parent() -> Path:
    """Returns the folder that Ray would use, or /tmp if that is too long for the names of sockets."""
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        if value := os.environ.get(variable):
            longest = Path(value, f"{_prefix()}12345678", _INNER, _LONGEST_SOCKET)
            if len(os.fsencode(longest)) <= _MAX_SOCKET_BYTES:
                return Path(value)
            if variable == "RAY_TMPDIR":
                warnings.warn(
                    f"RAY_TMPDIR is too long for the names of Ray's sockets: Ray uses /tmp, not {value}",
                    DistPolicyWarning,
                    stacklevel=2,
                )
    return Path("/tmp")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Marks a folder as used. The mark goes when the block or this process ends, whatever ends it.

    Raises:
        BlockingIOError: If a process has marked it.
        OSError: If it is not a folder, or a link.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(parent: Path) -> None:
    for folder in parent.glob(f"{_prefix()}*"):
        # It is in use, another user's, or another command has just removed it.
        with contextlib.suppress(OSError):
            found = os.lstat(folder)
            is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if is_own and not _is_new(found):
                with _locked(folder):
                    _end_processes_of(folder)
                    shutil.rmtree(folder)


def _is_new(found: os.stat_result) -> bool:
    """Returns True if the folder may be another command's that has not marked it yet."""
    return time.time() - found.st_mtime < _NEW_S


def _end_processes_of(folder: Path) -> None:
    """Ends the processes of Ray that were started with a folder. Its agents outlive a killed command by minutes."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            is_of_ray = any(text.startswith(_RAY_PROGRAMS) for text in command[:4])
            if is_of_ray and process.uids().real == os.getuid() and any(str(folder) in text for text in command):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=_END_TIMEOUT_S)
