"""check_writable, check_name: refuse a folder that cannot be written, or named, before anything is started."""

from __future__ import annotations

import tempfile
from pathlib import Path

from distpolicy.errors import ConfigError

_MAX_SHOWN = 120


def check_writable(folder: Path) -> None:
    """Checks that a folder can be made and written into; leaves nothing behind.

    Raises:
        ConfigError: If it cannot; says why.
    """
    check_name(folder)
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        if folder == nearest:
            with tempfile.TemporaryFile(dir=folder):
                return
        with tempfile.TemporaryDirectory(dir=nearest):
            return
    except OSError as error:
        raise ConfigError(
            f"cannot write into {folder}: {nearest}: {error.strerror or error}; choose another folder"
        ) from error


def check_name(path: Path) -> None:
    """Checks that a path can be looked up and written down.

    Raises:
        ConfigError: If it is not in UTF-8, since the files of a run could not name it, or cannot be looked up, for
            example because a name is too long.
    """
    shown = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
    shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
    try:
        str(path.absolute()).encode()
        path.exists()
    except UnicodeEncodeError:
        raise ConfigError(f"the path {shown} is not in UTF-8: choose or rename the folder") from None
    except OSError as error:
        raise ConfigError(f"cannot use the path {shown}: {error.strerror or error}") from error
