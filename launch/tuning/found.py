"""read_search: what a search has found so far, from the files in its folder. Nothing there is executed."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

from distpolicy.errors import ConfigError
from launch.config.search_space import SearchSpace
from launch.config.tune import SEARCH_FILE, load_tune_file
from launch.output.folder_lock import is_used
from launch.output.run_directory import RunDirectory
from launch.output.run_record import read_record
from launch.tuning.journal import FAILED, JOURNAL_FILE, read_trials
from launch.tuning.results import SearchResult, search_result


def read_search(folder: Path) -> tuple[SearchResult, SearchSpace]:
    """Returns what a search has found so far, and what it searches.

    Args:
        folder: The folder of the search, which goes on, has ended, or was killed.

    Raises:
        ConfigError: If the folder does not hold a search.
        DistPolicyError: If a file cannot be read.
    """
    file = load_tune_file(folder / SEARCH_FILE)
    space = file.tune.check(file.train)
    records = list(read_trials(folder / JOURNAL_FILE).values())
    return search_result(file.tune, file.train, records, folder, list(space.domains)), space


def describe_search(folder: Path) -> dict[str, Any]:
    """Returns what ``distpolicy runs`` tells of a search.

    Raises:
        DistPolicyError: If a file cannot be read.
    """
    result, _ = read_search(folder)
    records = result.records
    failed = [record for record in records if record.state == FAILED]
    is_failed = bool(records) and len(failed) == len(records)
    num_trials, num_over = result.config.samples * result.config.seeds, sum(record.is_over for record in records)
    if is_used(folder):
        state = "running"
    elif num_over < num_trials:
        state = "interrupted"
    else:
        state = "failed" if is_failed else "ended"
    return {
        "env": result.train.env,
        "agent": result.agent,
        "state": state,
        "trials": num_trials,
        "trials_over": num_over,
        "metric": result.config.metric,
        "best": None if result.best is None else result.best.score,
        "began": _began(result),
        "train_s": result.train_s,
        "error": failed[0].reason if is_failed else None,
    }


def _began(result: SearchResult) -> float:
    """Returns when the first trial began; of a search without one, when its settings were written."""
    times = []
    for record in result.records:
        with contextlib.suppress(ConfigError):
            starts = read_record(RunDirectory(result.run_folder(record))).get("starts") or [{}]
            times.append(float(starts[0].get("time", math.inf)))
    found = min(times, default=math.inf)
    return found if math.isfinite(found) else (result.folder / SEARCH_FILE).stat().st_mtime
