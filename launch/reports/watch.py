"""distpolicy watch: a run's figures live in a terminal, read from its files, from another shell than the run's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from distpolicy.errors import ConfigError
from launch.config.tune import holds_search
from launch.output.progress_line import duration
from launch.output.run_directory import RunDirectory, why_not_a_run
from launch.output.shown_paths import shown_from
from launch.reports.arguments import WatchArguments
from launch.reports.run_data import RunData, is_training_run, number, read_run
from launch.reports.series import thinned
from launch.reports.text import count, lasted, returned

_CHART_HEIGHT, _MAX_WIDTH, _NUM_TICKS = 15, 110, 5
_NUM_FAULTS = 4

# Looking at the files of a long run takes at most one part in ten of the time.
_READING_SHARE = 10.0


def watch(arguments: WatchArguments, console: Console) -> None:
    """Shows a run until it ends.

    Raises:
        ConfigError: If the path is something else than a run directory, or ``--once`` is given before there is one.
        DistPolicyError: If a file cannot be read.
    """
    if arguments.every_s <= 0:
        raise ConfigError(f"--every must be above 0, but is {arguments.every_s:g}")
    path = arguments.run
    _check(path)
    if arguments.once:
        if not _has_begun(path):
            raise ConfigError(f"{path} is not a run directory yet: leave --once out to wait for it")
        console.print(picture(read_run(path), console))
        return
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            for run in _looks(path, arguments.every_s, lambda: live.update(_waiting(path), refresh=True)):
                live.update(picture(run, console), refresh=True)
        return
    said = ""

    def say(line: str) -> None:
        nonlocal said
        if line != said:
            said = line
            console.print(line)

    for run in _looks(path, arguments.every_s, lambda: say(_waiting(path).plain)):
        say(_line(run))


def _check(path: Path) -> None:
    if holds_search(path):
        raise ConfigError(f"{path} is not a run directory: {why_not_a_run(path)}; watch one of them")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file: give a run directory")
    if not path.is_dir() or RunDirectory(path).config_file.is_file():
        return
    found = sorted(path.iterdir())
    inside = [item for item in found if is_training_run(item)]
    if inside:
        raise ConfigError(f"{path} holds run directories and is not one: watch one of them, such as {inside[-1]}")
    if found:
        # A run begins in a folder that is new or empty.
        raise ConfigError(f"{path} is not a run directory: it holds other files, and no config.yaml")


def _has_begun(path: Path) -> bool:
    directory = RunDirectory(path)
    # A run writes run.json right after config.yaml; earlier versions wrote none.
    return directory.config_file.is_file() and (directory.record_file.is_file() or directory.metrics_file.is_file())


def _looks(path: Path, every_s: float, tell_waiting: Callable[[], None]) -> Iterator[RunData]:
    """Reads a run again and again; the last time when it has ended.

    Args:
        path: The run directory; it may come into being later.
        every_s: Seconds between two looks.
        tell_waiting: Is called before the run has begun.
    """
    while not _has_begun(path):
        tell_waiting()
        time.sleep(every_s)
    while True:
        begin = time.monotonic()
        run = read_run(path)
        yield run
        if run.state != "running":
            return
        time.sleep(max(every_s, _READING_SHARE * (time.monotonic() - begin)))


def _waiting(path: Path) -> Text:
    return Text(f"waiting for {path} to begin (Ctrl-C ends)", style="dim")


def _line(run: RunData) -> str:
    """Returns a run in one line, for outputs that are not terminals."""
    parts = [f"{run.step_unit} {count(run.num_steps)}/{count(_budget(run))}"]
    if (mean := run.last("return_mean_100")) is not None:
        parts.append(f"return {returned(mean)}")
    if (evaluated := run.last("eval_return_mean")) is not None:
        parts.append(f"evaluated {returned(evaluated)}")
    parts += [f"{count(run.last('steps_per_s'))} steps/s", run.state]
    return " · ".join(parts)


def _budget(run: RunData) -> float | None:
    budget = run.config.get("total_steps")
    return None if budget is None else float(budget)


def picture(run: RunData, console: Console) -> RenderableType:
    """Returns a run's figures as they are shown: a heading, key numbers, the learning curve and the last faults.

    Args:
        run: The run.
        console: The terminal, whose width and characters decide the chart's.
    """
    width = min(console.width, _MAX_WIDTH)
    style = {"running": "bold blue", "solved": "bold green", "failed": "bold red", "interrupted": "yellow"}
    head = Text.assemble(
        (_shown(run.env), "bold"),
        f" · {_shown(run.agent)} · seed {run.seed} · {_shown(run.name)}  ",
        (run.state, style.get(run.state, "")),
    )
    parts: list[RenderableType] = [head, _numbers(run), *_chart(run, width, console.options.ascii_only)]
    if error := (run.record.get("end") or {}).get("error"):
        parts.append(Text(_shown(str(error)), style="red"))
    for row in run.faults[-_NUM_FAULTS:]:
        at = lasted(number(row, "train_s"))
        parts.append(Text(f"after {at}: {_shown(row.get('what', ''))}: {_shown(row.get('reason', ''))}", style="red"))
    return Group(*parts)


def _numbers(run: RunData) -> Text:
    """Returns the key numbers with their names."""
    steps, budget, speed = run.num_steps, _budget(run), run.last("steps_per_s")
    target = "" if run.target_return is None else f"/{run.target_return:g}"
    mean, loss, lag = run.last("return_mean_100"), run.last("loss"), run.last("policy_lag_mean")
    values = {
        run.step_unit: f"{count(steps)}/{count(budget)}",
        "return": "" if mean is None else f"{returned(mean)}{target}",
        "evaluated": returned(run.last("eval_return_mean")),
        "length": count(run.last("episode_length")),
        "steps/s": count(speed),
        "loss": "" if loss is None else f"{loss:.4g}",
        "lag": "" if lag is None else f"{lag:.1f}",
        "training": lasted(run.train_s),
        "faults": str(len(run.faults)) if run.faults else "",
    }
    if run.state == "running" and speed:
        values["left"] = duration(max((budget or 0.0) - (steps or 0.0), 0.0) / speed)
    shown = Text()
    for name, value in values.items():
        if value not in ("", "-"):
            shown.append(f"{name}\u00a0", style="dim").append(f"{value}".replace(" ", "\u00a0")).append("   ")
    return shown


def _chart(run: RunData, width: int, is_ascii: bool) -> list[Text]:
    """Returns the learning curve, with the target as a line; nothing before the second point."""
    found = {
        name: np.flatnonzero(np.isfinite(run.column(name)) & np.isfinite(run.steps))
        for name in ("return_mean_100", "eval_return_mean", "loss")
    }
    column = next((name for name, rows in found.items() if rows.size > 1), None)
    if column is None:
        return []
    rows = found[column]
    rows = rows[thinned(run.column(column)[rows], 2 * width)]
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plotsize(width, _CHART_HEIGHT)
    plotext.frame(not is_ascii)
    plotext.plot(run.steps[rows].tolist(), run.column(column)[rows].tolist(), marker="*" if is_ascii else "braille")
    if run.target_return is not None and column != "loss":
        plotext.hline(run.target_return)
    titles = {"return_mean_100": "mean return of the last 100 episodes", "eval_return_mean": "return in evaluations"}
    plotext.title(titles.get(column, column))
    plotext.xlabel(run.step_unit)
    ticks = np.linspace(run.steps[rows[0]], run.steps[rows[-1]], _NUM_TICKS).tolist()
    plotext.xticks(ticks, [_short_count(tick) for tick in ticks])
    return [Text.from_ansi(plotext.build())]


def _short_count(value: float) -> str:
    """Returns a number of steps with three digits: ``850``, ``26.5k``, ``1.25M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def _shown(text: str) -> str:
    """Returns a text without control characters, which a terminal would obey."""
    return shown_from("/", text)
