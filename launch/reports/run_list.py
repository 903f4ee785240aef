"""distpolicy runs: tables of the runs and of the searches in a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from distpolicy.errors import ConfigError, DistPolicyError
from launch.config.tune import holds_search
from launch.output.progress_line import duration
from launch.output.run_directory import why_not_a_folder
from launch.output.shown_paths import shown_from
from launch.output.text_table import text_table
from launch.reports.arguments import RunsArguments
from launch.reports.run_data import RunData, is_training_run, read_run
from launch.reports.text import count, moment, returned

# Returns what is known of the search in a folder.
DescribeSearch = Callable[[Path], Mapping[str, Any]]


def list_runs(arguments: RunsArguments, console: Console, describe_search: DescribeSearch | None = None) -> None:
    """Prints the runs and the searches in a folder, the newest first, as tables or as JSON.

    Args:
        arguments: The command's arguments.
        console: Where to print.
        describe_search: Returns the values of :data:`SEARCH_COLUMNS` for the folder of a search; None to leave searches
            out.

    Raises:
        ConfigError: If there is no such folder, or nothing in it.
    """
    folder = arguments.runs_folder
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is not a folder of runs: {why_not_a_folder(folder)}; distpolicy train makes runs/ where it is "
            "started, or give another folder"
        )
    found = [_described_run(folder, path) for path in find_runs(folder)]
    if describe_search is not None:
        searches = _found(folder, holds_search)
        found += [_described(folder, path, "search", SEARCH_COLUMNS, describe_search) for path in searches]
    if not found:
        raise ConfigError(f"{folder} holds no run directory: a run makes one with distpolicy train")
    found.sort(key=lambda one: one["began"] or 0.0, reverse=True)
    if arguments.json:
        console.print(json.dumps(found, indent=1), soft_wrap=True)
        return
    makers = {"run": _table, "search": _table_of_searches}
    kinds = {kind: [one for one in found if one["kind"] == kind] for kind in makers}
    tables = [makers[kind](some) for kind, some in kinds.items() if some]
    console.print("\n".join(tables), end="", soft_wrap=True)


def text_of_runs(folder: Path) -> str:
    """Returns a table of the runs in a folder, by their names."""
    return _table([_described_run(folder, path) for path in find_runs(folder)])


def find_runs(folder: Path) -> list[Path]:
    """Returns the run directories in a folder, and in the folders in it, such as those of several seeds."""
    return _found(folder, is_training_run)


def _found(folder: Path, is_wanted: Callable[[Path], bool]) -> list[Path]:
    """Returns the folders that are wanted: the folder itself, or those in it and in the folders in it."""
    if is_wanted(folder):
        return [folder]
    found = []
    for path in _inside(folder):
        found += [path] if is_wanted(path) else [inner for inner in _inside(path) if is_wanted(inner)]
    return found


def _inside(folder: Path) -> list[Path]:
    """Returns what is in a folder; nothing if it is none, or may not be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _described_run(folder: Path, path: Path) -> dict[str, Any]:
    return _described(folder, path, "run", _COLUMNS, lambda path: _facts(read_run(path)))


def _described(
    folder: Path, path: Path, kind: str, columns: Sequence[str], describe: Callable[[Path], Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns what is known of a run or a search, as JSON has it; of one that cannot be read, the reason."""
    known = {"run": str(path.relative_to(folder)) if path != folder else path.resolve().name, "kind": kind}
    try:
        return {**known, **describe(path)}
    except DistPolicyError as error:
        return {**known, **dict.fromkeys(columns), "state": "unreadable", "error": str(error)}


def _facts(run: RunData) -> dict[str, Any]:
    starts, end = run.record.get("starts") or [], run.record.get("end") or {}
    evaluated = run.last("eval_return_mean")
    values: tuple[Any, ...] = (
        run.env,
        run.agent,
        run.seed,
        run.state,
        _whole(run.num_steps),
        run.last("return_mean_100"),
        evaluated,
        starts[0].get("time") if starts else _modified(run),
        run.train_s,
        len(run.faults),
        end.get("error"),
    )
    return dict(zip(_COLUMNS, values, strict=True))


_COLUMNS = (
    *("env", "agent", "seed", "state", "steps", "return", "evaluated", "began", "train_s", "faults"),
    "error",
)

SEARCH_COLUMNS = ("env", "agent", "state", "trials", "trials_over", "metric", "best", "began", "train_s", "error")


def _modified(run: RunData) -> float:
    """Returns when the settings of a run were written, for runs that do not tell when they began."""
    return (run.path / "config.yaml").stat().st_mtime


def _whole(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else int(value)


_TITLES = ("run", "env", "agent", "seed", "steps", "return", "evaluated", "state", "began", "training")


def _table(found: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            *(_plain(one[name]) for name in ("run", "env", "agent", "seed")),
            count(one["steps"]),
            returned(one["return"]),
            returned(one["evaluated"]),
            one["state"],
            moment(one["began"], zone=False),
            duration(math.nan if one["train_s"] is None else one["train_s"]),
        )
        for one in found
    ]
    return text_table([_TITLES, *rows], numbers=(3, 4, 5, 6, 9))


_SEARCH_TITLES = ("search", "env", "agent", "trials", "metric", "best", "state", "began", "training")


def _table_of_searches(found: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            *(_plain(one[name]) for name in ("run", "env", "agent")),
            "-" if one["trials"] is None else f"{one['trials_over']}/{one['trials']}",
            _plain(one["metric"]),
            returned(one["best"]),
            one["state"],
            moment(one["began"], zone=False),
            duration(math.nan if one["train_s"] is None else one["train_s"]),
        )
        for one in found
    ]
    return text_table([_SEARCH_TITLES, *rows], numbers=(3, 5, 8))


def _plain(value: Any) -> str:
    """Returns a text that a terminal shows as it is."""
    return "-" if value is None else shown_from("/", str(value))
