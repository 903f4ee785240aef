"""check_writable: refuses a folder that cannot be written, before anything is started."""

from __future__ import annotations

import tempfile
from pathlib import Path

from distpolicy.errors import ConfigError


def check_writable(folder: Path) -> None:
    """Checks that a folder can be made and written into; leaves nothing behind.

    Raises:
        ConfigError: If it cannot; says why.
    """
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
