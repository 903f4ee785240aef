"""ConsoleObserver: shows a search on the terminal."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console

from launch.config.setting_names import setting_text
from launch.output.formatting import show_return
from launch.tuning.journal import FAILED, STOPPED, Exchange, TrialRecord
from launch.tuning.observer import TuningObserver
from launch.tuning.results import SampleResult, SearchResult

_MAX_ROWS = 20


class ConsoleObserver(TuningObserver):
    """Prints a line for each event of a search, and a table at its end.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def on_preparing(self, what: str) -> None:
        self._console.print(what)

    def on_trial(self, record: TrialRecord) -> None:
        again = f"goes on at {record.steps:,} steps" if record.reports else _settings(record)
        self._console.print(f"{_name(record)}: {again}")

    def on_exchange(self, record: TrialRecord, exchange: Exchange) -> None:
        self._console.print(
            f"{_name(record)}: goes on from trial {exchange.source} after {exchange.steps:,} steps, with "
            f"{_settings(record)}"
        )

    def on_trial_end(self, record: TrialRecord) -> None:
        if record.state == FAILED:
            self._console.print(f"{_name(record)}: failed: {record.reason}")
            return
        how = "stopped" if record.state == STOPPED else "done"
        self._console.print(f"{_name(record)}: {how} after {record.steps:,} steps: {_score(record.score)}")

    def on_end(self, result: SearchResult) -> None:
        self._console.print(results_table(result))
        best = result.best
        if best is None:
            return
        first = next((sample for sample in result.samples if sample.sample == 0), None)
        if first is not None and first.sample != best.sample and not math.isnan(first.score):
            self._console.print(
                f"the settings that the search began from have {_score(first.score)} ({first.state} after "
                f"{first.steps:,} steps)"
            )
        self._console.print(f"best: {result.changed_options}")
        self._console.print(f"train with it: distpolicy train --config {result.best_file}")
        if result.picture is not None:
            self._console.print(f"what mattered: {result.picture}")
        self._console.print(f"all trials: {result.table_file}")

    def on_interrupt(self, folder: Path | None) -> None:
        """Tells how to go on after an interruption."""
        if folder is not None:
            self._console.print(f"interrupted; go on with: distpolicy tune --resume {folder}")


def results_table(result: SearchResult) -> str:
    """Returns the samples of a search as a table, the best first."""
    names = list(result.config.search)
    # Without the group where that leaves no doubt.
    ends = [name.rpartition(".")[2] for name in names]
    titles = [name if ends.count(end) > 1 else end for name, end in zip(names, ends, strict=True)]
    rows = [["trial", result.config.metric, "steps", "ended", *titles]]
    for sample in result.samples[:_MAX_ROWS]:
        values = [setting_text(sample.settings[name]) for name in names]
        name = "as given" if sample.sample == 0 else str(sample.sample)
        rows.append([name, _with_interval(sample), f"{sample.steps:,}", sample.state, *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    if len(result.samples) > _MAX_ROWS:
        lines.append(f"and {len(result.samples) - _MAX_ROWS} more in {result.table_file}")
    return "\n".join(lines)


def _name(record: TrialRecord) -> str:
    return f"trial {record.trial}"


def _settings(record: TrialRecord) -> str:
    return ", ".join(f"{name} {setting_text(value)}" for name, value in record.settings.items())


def _score(value: float) -> str:
    return "no score" if math.isnan(value) else show_return(value)


def _with_interval(sample: SampleResult) -> str:
    half = sample.half_interval
    return _score(sample.score) if math.isnan(half) else f"{_score(sample.score)} ± {show_return(half, sample.score)}"
