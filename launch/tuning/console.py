"""ConsoleObserver: shows a search on the terminal."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console

from launch.config.setting_names import setting_text
from launch.tuning.journal import FAILED, Exchange, TrialRecord
from launch.tuning.observer import TuningObserver
from launch.tuning.results import SearchResult, score_text, table_of_samples

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

    def on_note(self, text: str) -> None:
        self._console.print(text)

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
        self._console.print(f"{_name(record)}: {record.state} after {record.steps:,} steps: {score_text(record.score)}")

    def on_end(self, result: SearchResult) -> None:
        self._console.print(results_table(result))
        best = result.best
        if best is None:
            # If all have failed, the error that ends the search says so.
            if any(record.state != FAILED for record in result.records):
                self._console.print(f"there are no best settings: {result.why_none_is_best}")
            return
        first = next((sample for sample in result.samples if sample.sample == 0), None)
        if first is not None and first.sample != best.sample and not math.isnan(first.score):
            self._console.print(
                f"the settings that the search began from have {score_text(first.score)} ({first.state} after "
                f"{first.steps:,} steps)"
            )
        self._console.print(f"best: {result.changed_options}")
        self._console.print(f"train with it: {result.train_command}")
        if result.picture is not None:
            self._console.print(f"report: {result.page_file}")
        self._console.print(f"all trials: {result.table_file}")

    def on_interrupt(self, folder: Path | None) -> None:
        """Tells how to go on after an interruption."""
        if folder is not None:
            self._console.print(f"interrupted; go on with: distpolicy tune --resume {folder}")


def results_table(result: SearchResult) -> str:
    """Returns the samples of a search as a table, the best first."""
    rows = table_of_samples(result)[: _MAX_ROWS + 1]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    if len(result.samples) > _MAX_ROWS:
        lines.append(f"and {len(result.samples) - _MAX_ROWS} more in {result.table_file}")
    return "\n".join(lines)


def _name(record: TrialRecord) -> str:
    return f"trial {record.trial}"


def _settings(record: TrialRecord) -> str:
    return ", ".join(f"{name} {setting_text(value)}" for name, value in record.settings.items())
