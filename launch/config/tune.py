"""The configuration of a search for better settings. The command line is made from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from distpolicy.agents.experience_config import Replay
from distpolicy.errors import ConfigError
from distpolicy.utils.suggestions import did_you_mean
from launch.config.codec import from_dict, load_yaml
from launch.config.common import EnvValue
from launch.config.seal import check_names_of_code
from launch.config.search_space import SearchSpace
from launch.config.train import TrainConfig

# The files of a search, and of the best settings that it has found.
SEARCH_FILE, BEST_FILE = "tune.yaml", "best.yaml"

# Reports of a trial over its whole length.
NUM_REPORTS = 27

# Updates of a trial before which it is not compared with others: until then all policies are nearly the first one.
LEAST_UPDATES = 5

# Exchanges of a population over the length of a trial.
_EXCHANGES = 8

_OFF_POLICY_METRIC = "eval_return_mean"


@dataclass(frozen=True)
class TuneConfig:
    """A search for better settings of a training run."""

    search: dict[str, EnvValue] = field(default_factory=dict)
    """A setting that is searched, and its values: NAME uniform LOW HIGH, loguniform LOW HIGH, int LOW HIGH, logint LOW
    HIGH, or choice VALUE VALUE. Give --search once for each setting."""
    steps: int | None = None
    """Number of env steps of a trial; of gradient steps with an offline agent. None for total_steps, which the best
    settings are trained with."""
    samples: int = 16
    """Number of settings that are tried. The first are those that the search begins from, to compare with."""
    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """What ends bad trials early: asha stops those that are behind the others at a ninth and a third of their length,
    but not before their fifth update; pbt lets them go on from a better trial's checkpoint with changed settings; none
    trains all to the end."""
    searcher: Literal["random", "optuna"] = "random"
    """What chooses the settings: at random, or by Optuna's model of the trials so far (pip install
    'distpolicy[tune]')."""
    metric: str = "return"
    """The metric to compare by: return for the mean over the last 100 episodes, or a column of metrics.csv, such as
    eval_return_mean with --eval-every."""
    mode: Literal["max", "min"] = "max"
    """Whether more of the metric is better."""
    concurrent: int | None = None
    """Number of trials at a time; None for as many as there is room for."""
    seeds: int = 1
    """Number of seeds that each sample is trained with. Samples are compared by the mean over them."""
    reduction: int = 3
    """With asha, one part in so many of the trials goes on after each of two looks. The looks are at 1/9 and 1/3 of a
    trial for 3, at 1/4 and 1/2 for 2."""
    perturb_every: int | None = None
    """With pbt, the steps between two exchanges; None for an eighth of a trial, and five updates or more."""

    def __post_init__(self) -> None:
        for name in ("samples", "seeds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        for name in ("steps", "concurrent", "perturb_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
        if self.reduction < 2:
            raise ConfigError(f"reduction must be 2 or more, but is {self.reduction}")

    def check(self, train: TrainConfig) -> SearchSpace:
        """Checks the search against the settings that it begins from.

        Returns:
            The searched settings.

        Raises:
            ConfigError: Says what to change.
        """
        if not self.search:
            raise ConfigError(
                "nothing to search: give --search NAME KIND VALUES, such as --search "
                f"{train.agent.kind}.learning-rate loguniform 1e-4 1e-2"
            )
        space = SearchSpace(self.search, train)
        self._check_metric(train)
        if self.scheduler == "pbt":
            self._check_population(space)
        return space

    def trial_steps(self, train: TrainConfig) -> int:
        """Returns the steps of a trial that is not stopped."""
        return self.steps or train.total_steps

    def looks(self, train: TrainConfig) -> tuple[int, ...]:
        """Returns the steps at which asha looks at all trials: one or two numbers; empty if trials end before."""
        steps = self.trial_steps(train)
        first = max(steps // self.reduction**2, self._least_steps(train))
        return tuple(look for look in (first, first * self.reduction) if look < steps)

    def exchange_steps(self, train: TrainConfig) -> int:
        """Returns the steps of a trial between two exchanges of pbt."""
        return self.perturb_every or max(self.trial_steps(train) // _EXCHANGES, self._least_steps(train))

    def note(self, train: TrainConfig) -> str:
        """Returns from when on trials are compared, if that is later than their length alone would have it; else an
        empty text."""
        steps, least = self.trial_steps(train), self._least_steps(train)
        part = {"asha": self.reduction**2, "pbt": _EXCHANGES}.get(self.scheduler)
        is_told = self.scheduler == "pbt" and self.perturb_every is not None
        if part is None or is_told or least <= steps // part:
            return ""
        if least < steps:
            what = "asha first looks at trials after" if self.scheduler == "asha" else "pbt exchanges checkpoints every"
            return f"{what} {least:,} of {train.count(steps)}: a score before that says little about settings"
        what = "asha ends no trial early" if self.scheduler == "asha" else "pbt exchanges no checkpoints"
        return (
            f"{what}: a score says little about settings before {train.count(least)}, and a trial has {steps:,}; raise "
            "--steps"
        )

    def _least_steps(self, train: TrainConfig) -> int:
        """Returns the steps of a trial before which its score says nothing about its settings.

        These are some updates of the largest batches that are searched; with a replay buffer also as many steps again
        as there are before the first gradient step.
        """
        experience = train.agent.experience(train.shape)
        before = experience.first_call_at if isinstance(experience, Replay) else 0
        return max(LEAST_UPDATES * SearchSpace(self.search, train).largest_update, 2 * before)

    def metric_column(self, train: TrainConfig) -> str:
        """Returns the column of metrics.csv that trials are compared by."""
        if self.metric != "return":
            return self.metric
        return _OFF_POLICY_METRIC if train.is_offline else "return_mean_100"

    def needs_evaluation(self, train: TrainConfig) -> bool:
        """Returns True if trials are compared by evaluations."""
        return self.metric_column(train).startswith("eval_")

    def better(self, one: float, other: float) -> bool:
        """Returns True if a score is better than another one."""
        return one > other if self.mode == "max" else one < other

    def worst(self) -> float:
        """Returns a score that is worse than any."""
        return -math.inf if self.mode == "max" else math.inf

    def _check_metric(self, train: TrainConfig) -> None:
        column = self.metric_column(train)
        known = ["return", "return_mean_100", "episode_return", "episode_length", "loss", "steps_per_s", "train_s"]
        known += ["eval_return_mean", "eval_length_mean", "eval_stochastic_return_mean", *train.agent.metrics]
        if column not in known and not column.startswith(("info/", "eval_info/")) and train.agent.metrics:
            raise ConfigError(f"unknown metric {column!r}{did_you_mean(column, known)}; there are {', '.join(known)}")
        if self.needs_evaluation(train):
            if not train.eval_episodes:
                raise ConfigError(f"the metric {column} needs --eval-episodes above 0")
            if self.scheduler != "none" and train.eval_every is None:
                raise ConfigError(
                    f"the metric {column} is there at the end only, and {self.scheduler} compares trials before: give "
                    "--eval-every, or --scheduler none"
                )

    def _check_population(self, space: SearchSpace) -> None:
        if self.seeds > 1:
            raise ConfigError("pbt has one seed for each trial: leave --seeds at 1, or take --scheduler asha")
        if self.samples < 4:
            raise ConfigError(f"pbt needs a population of 4 or more, but --samples is {self.samples}")
        if self.searcher != "random":
            raise ConfigError("pbt changes settings itself: leave --searcher at random")
        for name in space.domains:
            if name.startswith("network.") or name.endswith(("-units", "-layers")):
                raise ConfigError(
                    f"pbt cannot change {name}: weights of one network do not fit another; search it with --scheduler "
                    "asha"
                )
            if "." not in name:
                raise ConfigError(
                    f"pbt cannot change {name}: a checkpoint is of a run with the same workers; search it with "
                    "--scheduler asha"
                )


@dataclass(frozen=True)
class TuneFile:
    """What ``tune.yaml`` holds: a search, and the settings that it begins from."""

    tune: TuneConfig
    """The search."""
    train: TrainConfig
    """The settings that it begins from."""
    serial: bool = False
    """Whether each trial is one process."""
    preset: str | None = None
    """Name of the preset that the settings come from; None for the one that a run takes by itself."""


def load_tune_file(path: Path) -> TuneFile:
    """Returns what a ``tune.yaml`` holds.

    Raises:
        ConfigError: If the file cannot be read, or does not hold a search.
    """
    return from_dict(TuneFile, load_yaml(path), str(path))


def holds_search(folder: Path) -> bool:
    """Returns True if a folder is the folder of a search."""
    return (folder / SEARCH_FILE).is_file()


def open_search(folder: Path) -> TuneFile:
    """Returns the search in a folder, and the settings that it begins from.

    Raises:
        ConfigError: If the folder does not hold a search, or its file names code and is not the user's own.
    """
    path = folder / SEARCH_FILE
    if not holds_search(folder):
        raise ConfigError(f"{folder} is not the folder of a search: it has no {path.name}")
    file = load_tune_file(path)
    check_names_of_code(path, file.train)
    return file
