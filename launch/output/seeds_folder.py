"""The folder of the runs of several seeds: seeds.yaml with their settings, seeds.json with the seeds and the preset."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from distpolicy.errors import ConfigError
from distpolicy.utils.files.bounded_files import read_text
from launch.config.presets import preset_names
from launch.config.tune import BEST_FILE, SEARCH_FILE, load_tune_file
from launch.output.run_directory import RunDirectory
from launch.output.run_record import read_record

SETTINGS_FILE, SEEDS_FILE = "seeds.yaml", "seeds.json"

_FORMAT = 1
_MAX_BYTES = 2**20


def holds_seeds(folder: Path) -> bool:
    """Returns True if a folder holds the runs of several seeds."""
    return (folder / SEEDS_FILE).is_file()


class Seeds(NamedTuple):
    """What :data:`SEEDS_FILE` holds.

    Attributes:
        seeds: The seeds.
        preset: Name of the preset that the settings come from; None for the one that a run takes by itself.
    """

    seeds: Sequence[int]
    preset: str | None = None


def read_seeds(folder: Path) -> Seeds:
    """Returns the seeds of a folder, and the preset.

    Raises:
        ConfigError: If they cannot be read.
    """
    path = folder / SEEDS_FILE
    try:
        values = json.loads(read_text(path, _MAX_BYTES))
        seeds = [int(seed) for seed in values["seeds"]]
        if values["format"] == _FORMAT and seeds:
            return Seeds(seeds, _name(values.get("preset")))
        raise ValueError(f"format {values['format']} with {len(seeds)} seeds")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}; a run with --seeds writes it") from error


def text_of_seeds(seeds: Seeds) -> str:
    """Returns the text of :data:`SEEDS_FILE`."""
    return json.dumps({"format": _FORMAT, "seeds": list(seeds.seeds), "preset": seeds.preset}) + "\n"


def preset_of(file: Path) -> str | None:
    """Returns the preset that the settings in a file come from, as the files beside it say.

    None if none says so, or this version has no such preset.

    Args:
        file: The ``config.yaml`` of a run, the ``seeds.yaml`` of several, the ``best.yaml`` of a search, or any other
            file.
    """
    name, directory = None, RunDirectory(file.parent)
    with contextlib.suppress(ConfigError):
        if file.name == SETTINGS_FILE:
            name = read_seeds(file.parent).preset
        elif file.name == directory.config_file.name:
            name = _name(read_record(directory).get("preset"))
        elif file.name in (SEARCH_FILE, BEST_FILE):
            name = load_tune_file(file.with_name(SEARCH_FILE)).preset
    return name if name in preset_names() else None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


def settings_to_resume(folder: Path) -> Path:
    """Returns the file with the settings of a run to resume, or of the runs of several seeds.

    Raises:
        ConfigError: If the folder holds neither.
    """
    return folder / SETTINGS_FILE if holds_seeds(folder) else RunDirectory.open(folder).config_file
