from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from launch.output.progress_line import ProgressLine

FIGURES: dict[str, Any] = {
    "env_steps": 12_345,
    "total_steps": 200_000,
    "mean_return": 101.26,
    "target": 475.0,
    "steps_per_s": 4321.0,
    "lag": "lag 0",
    "eta_s": 125.0,
}


def shown(*changes: dict[str, Any], terminal: bool = False, width: int = 200) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        markup=False,
        highlight=False,
        soft_wrap=True,
        force_terminal=terminal,
        width=width,
        color_system=None,
    )
    with ProgressLine(console) as line:
        for change in changes:
            line.show(**{**FIGURES, **change})
    return stream.getvalue()


def test_the_line_tells_all_figures() -> None:
    assert shown({}) == "env steps 12,345/200,000 · return 101.3/475 · 4,321 steps/s · lag 0 · ETA 2:05\n"


def test_without_episodes_and_target_a_dash_stands_for_the_return() -> None:
    assert "· return - ·" in shown({"mean_return": None, "target": None})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (3600.0, "1:00:00"), (90061.0, "25:01:01")],
)
def test_remaining_time_is_told_in_minutes_or_hours(seconds: float, text: str) -> None:
    assert shown({"eta_s": seconds}).endswith(f"ETA {text}\n")


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_a_remaining_time_that_is_not_known_is_a_dash(seconds: float) -> None:
    assert shown({"eta_s": seconds}).endswith("ETA -\n")


def test_a_log_gets_the_first_and_the_last_line_of_many_in_a_short_time() -> None:
    lines = shown(*({"env_steps": step} for step in range(1, 6))).splitlines()
    assert [line.split("/")[0] for line in lines] == ["env steps 1", "env steps 5"]


def test_nothing_is_shown_if_nothing_happened() -> None:
    assert shown() == ""


def test_a_log_gets_whole_lines_however_narrow_it_is() -> None:
    lines = shown({"env_steps": 1}, {"env_steps": 2}, width=40).splitlines()
    assert [line.endswith("ETA 2:05") for line in lines] == [True, True]


def test_a_terminal_shows_the_newest_line_and_ends_with_it() -> None:
    text = shown(*({"env_steps": step} for step in (1, 2, 3)), terminal=True)
    last = text.rsplit("env steps ", 1)[1]
    assert last.startswith("3/200,000")
    assert text.endswith("\n") or "\x1b" in last


def test_the_line_is_closed_when_the_run_fails() -> None:
    stream = io.StringIO()
    console = Console(file=stream, markup=False, highlight=False, soft_wrap=True, force_terminal=False, width=200)

    def fail() -> None:
        with ProgressLine(console) as line:
            line.show(**FIGURES)
            line.show(**{**FIGURES, "env_steps": 99})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "env steps 99/" in stream.getvalue()
