"""``distpolicy tune``: searches for better settings."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from distpolicy.errors import ConfigError
from launch.cluster.authentication import use_token_at
from launch.commands.parsing import UsualOptions, given_options, known_options, parse
from launch.commands.training_options import (
    agent_name,
    new_settings,
    preset_of_settings,
    train_fields,
    with_named_agent,
    with_range,
)
from launch.config.tracking import TrackingConfig
from launch.config.train import DEFAULT_AGENT, TrainConfig
from launch.config.tune import TuneConfig, open_search
from launch.option_values import absolute_path
from launch.output.shown_paths import PathsConsole


@dataclass(frozen=True)
class TuneArguments:
    """Searches for better settings on Ray Tune: many training runs, the bad ones ended early. Writes a folder with a
    run directory for each trial, a table, the best settings and a picture of what mattered. All options of train
    are options of the trials; --steps is the length of a trial.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    tune: Annotated[TuneConfig, tyro.conf.arg(name="")] = field(default_factory=TuneConfig)
    agent: str = DEFAULT_AGENT
    """The algorithm, as for distpolicy train."""
    preset: str | None = None
    """Settings to begin from, as for distpolicy train."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File with the settings to begin from, such as the config.yaml of a run."""
    out: Path | None = None
    """Folder to make; runs/ENV-tune-TIME by default."""
    resume: Path | None = None
    """Folder of a search to go on with, after Ctrl-C, a crash, or to add trials by a larger --samples."""
    tracking: Annotated[TrackingConfig, tyro.conf.arg(name="")] = field(default_factory=TrackingConfig)
    serial: bool = False
    """Run each trial in one process, with one CPU. It starts faster, and suits small environments."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


_USUAL: UsualOptions = {
    "what is searched": (
        "tune.search",
        "tune.metric",
        "tune.mode",
    ),
    "how": (
        "tune.steps",
        "tune.samples",
        "tune.scheduler",
        "tune.searcher",
        "tune.seeds",
        "tune.concurrent",
        "serial",
    ),
    "what is learned": (
        "config.env",
        "preset",
        "agent",
        "config.total_steps",
        "config.seed",
    ),
    "what runs": (
        "config.collectors",
        "config.envs_per_collector",
        "config.address",
    ),
    "output": ("out", "resume", "config_file"),
    "tracing": ("debug",),
}


# What a resumed search may be given. What follows its runs is told anew, as for a resumed run.
_MAY_CHANGE = {"resume", "samples", "concurrent", "debug", *(item.name for item in dataclasses.fields(TrackingConfig))}
_HELP = {"help", "help-all"}


def parse_tune(arguments: list[str]) -> TuneArguments:
    """Parses ``distpolicy tune``: as ``distpolicy train``, with the searched settings.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    arguments = with_range(_with_search(arguments))
    known = known_options(arguments, "--preset", "--env", "--resume", "--agent", "--config")
    tune = TuneConfig()
    if known.resume is None:
        base = new_settings(known, arguments)
    else:
        more = {name.removeprefix("no-") for name in given_options(arguments)} - _MAY_CHANGE
        if more and not _HELP & more:
            raise ConfigError(
                f"a resumed search has its own settings: leave --{min(more)} out; --samples and --concurrent may change"
            )
        file = open_search(absolute_path(known.resume))
        base, tune = file.train, file.tune
    defaults = TuneArguments(config=with_named_agent(base), tune=tune, agent=agent_name(base.agent))
    parsed = parse(TuneArguments, arguments, defaults, "tune", _USUAL)
    parsed = dataclasses.replace(parsed, config=TrainConfig(**train_fields(parsed.config)))
    if parsed.resume is not None and parsed.out is not None:
        raise ConfigError("--out and --resume exclude each other: a resumed search stays in its folder")
    parsed.tune.check(parsed.config)
    return parsed


def _with_search(arguments: list[str]) -> list[str]:
    """Joins what follows each ``--search`` to one option, as pairs of a name and a text: ``NAME "choice 4 8"``."""
    found: list[str] = []
    pairs: list[str] = []
    rest = list(arguments)
    while rest:
        text = rest.pop(0)
        if text != "--search":
            found.append(text)
            continue
        words = list(itertools.takewhile(lambda word: not word.startswith("--"), rest))
        rest = rest[len(words) :]
        if not words:
            raise ConfigError("--search needs the name of a setting, a kind and values: NAME loguniform 1e-4 1e-2")
        name = words[0].replace("_", "-")
        if name in pairs[::2]:
            raise ConfigError(f"--search {name} is given twice: give all its values at once")
        pairs += [name, " ".join(words[1:])]
    return [*found, "--search", *pairs] if pairs else found


def run_tune(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy tune``; returns the exit code."""
    parsed = parse_tune(arguments)
    use_token_at(parsed.config.address)
    from launch.child_processes import started_processes_ended
    from launch.signals import handled, interrupt
    from launch.tuning.console import ConsoleObserver
    from launch.tuning.run import TuningRun

    observer = ConsoleObserver(PathsConsole())
    with (
        started_processes_ended(),
        handled(interrupt),
        TuningRun(
            parsed.tune,
            parsed.config,
            parsed.out,
            parsed.resume,
            observer,
            tracking=parsed.tracking,
            serial=parsed.serial,
            debug=parsed.debug,
            preset=preset_of_settings(parsed.preset, parsed.config_file),
        ) as run,
        handled(interrupt),  # Again: Ray, which is there by now, has set its own handler of SIGTERM.
    ):
        try:
            run.run()
        except KeyboardInterrupt:
            observer.on_interrupt(run.folder)
            raise
    return 0
