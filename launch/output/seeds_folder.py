"""The folder of the runs of several seeds: seeds.yaml with their settings, and seeds.json with the seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from distpolicy.errors import ConfigError
from distpolicy.utils.files.bounded_files import read_text
from launch.output.run_directory import RunDirectory

SETTINGS_FILE, SEEDS_FILE = "seeds.yaml", "seeds.json"

_FORMAT = 1
_MAX_BYTES = 2**20


def holds_seeds(folder: Path) -> bool:
    """Returns True if a folder holds the runs of several seeds."""
    return (folder / SEEDS_FILE).is_file()


def read_seeds(folder: Path) -> list[int]:
    """Returns the seeds of a folder.

    Raises:
        ConfigError: If they cannot be read.
    """
    path = folder / SEEDS_FILE
    try:
        values = json.loads(read_text(path, _MAX_BYTES))
        seeds = [int(seed) for seed in values["seeds"]]
        if values["format"] == _FORMAT and seeds:
            return seeds
        raise ValueError(f"format {values['format']} with {len(seeds)} seeds")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}; a run with --seeds writes it") from error


def text_of_seeds(seeds: Sequence[int]) -> str:
    """Returns what :data:`SEEDS_FILE` holds."""
    return json.dumps({"format": _FORMAT, "seeds": list(seeds)}) + "\n"


def settings_to_resume(folder: Path) -> Path:
    """Returns the file with the settings of a run to resume, or of the runs of several seeds.

    Raises:
        ConfigError: If the folder holds neither.
    """
    return folder / SETTINGS_FILE if holds_seeds(folder) else RunDirectory.open(folder).config_file
