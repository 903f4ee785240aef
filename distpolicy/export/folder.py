"""check_unused: refuses a folder that is in use, before a policy is loaded. Needs no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from distpolicy.errors import ConfigError


def check_unused(folder: Path) -> None:
    """Checks that a folder for an export does not exist, or is empty.

    Raises:
        ConfigError: If it is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists: choose another folder")
