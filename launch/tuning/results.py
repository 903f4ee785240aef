"""SearchResult: what a search has found, and the files that tell it: trials.csv and best.yaml."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.utils.atomic_files import write_file
from launch.config.codec import dump, to_dict
from launch.config.flat_settings import flat
from launch.config.seal import sealed
from launch.config.setting_names import option_texts, setting_text, settings_of, with_settings
from launch.config.train import TrainConfig
from launch.config.tune import BEST_FILE, NUM_REPORTS, TuneConfig
from launch.output.formatting import show_return
from launch.output.intervals import interval
from launch.tuning.journal import FAILED, FINISHED, TrialRecord, trial_name

_COLUMNS = ("sample", "trial", "seed", "state", "score", "steps", "train_s", "exchanges", "run", "reason")


@dataclass(frozen=True)
class SampleResult:
    """The trials of one sample, which differ in their seeds.

    Attributes:
        sample: Number of the sample; 0 has the settings that the search began from.
        settings: Its settings by name.
        records: Its trials.
    """

    sample: int
    settings: Mapping[str, Any]
    records: Sequence[TrialRecord]

    @property
    def score(self) -> float:
        """The mean of the trials' scores; NaN if one has none."""
        return float(np.mean([record.score for record in self.records]))

    @property
    def half_interval(self) -> float:
        """Half of the mean's 95 % interval; NaN for one seed."""
        return interval([record.score for record in self.records]).half

    @property
    def score_with_interval(self) -> str:
        """The score with half of its interval."""
        half = self.half_interval
        return score_text(self.score) + ("" if math.isnan(half) else f" ± {show_return(half, self.score)}")

    @property
    def steps(self) -> int:
        """The steps of the trial that went furthest."""
        return max(record.steps for record in self.records)

    @property
    def has_finished(self) -> bool:
        """Whether a trial has come to its end."""
        return any(record.state == FINISHED for record in self.records)

    @property
    def has_failed(self) -> bool:
        """Whether a trial has failed, so that the sample is never the best. What it had reached says little."""
        return any(record.state == FAILED for record in self.records)

    @property
    def state(self) -> str:
        """How the trials ended."""
        return ", ".join(dict.fromkeys(record.outcome for record in self.records))


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        config: The search.
        train: The settings that it began from.
        samples: The samples in the order of :func:`merit`, the best first. Below them are those without a score, and
            last those that have failed.
        folder: The folder of the search.
        picture: The picture of what mattered; None if it was not drawn.
    """

    config: TuneConfig
    train: TrainConfig
    samples: Sequence[SampleResult]
    folder: Path
    picture: Path | None = None

    @property
    def best(self) -> SampleResult | None:
        """The best sample; None if none has a score and has not failed."""
        return next(iter(self.ranked), None)

    @property
    def why_none_is_best(self) -> str:
        """Why there is no best sample."""
        failed = [record for record in self.records if record.state == FAILED]
        if not failed:
            return "no trial has a score"
        return (
            "all trials failed" if len(failed) == len(self.records) else "all samples have a failed trial or no score"
        )

    @property
    def best_config(self) -> TrainConfig | None:
        """The settings of the best sample with the steps of a whole run, for ``distpolicy train --config``."""
        if self.best is None:
            return None
        # A run that is shorter than its trial would not come to the trial's score.
        steps = max(self.train.total_steps, self.config.trial_steps(self.train))
        return dataclasses.replace(with_settings(self.train, self.best.settings), total_steps=steps)

    @property
    def best_file(self) -> Path:
        """The file of :attr:`best_config`."""
        return self.folder / BEST_FILE

    @property
    def scored(self) -> list[SampleResult]:
        """The samples that have a score, the best first."""
        return [sample for sample in self.samples if not math.isnan(sample.score)]

    @property
    def ranked(self) -> list[SampleResult]:
        """The samples that can be compared, the best first: they have a score, and have not failed."""
        return [sample for sample in self.scored if not sample.has_failed]

    @property
    def agent(self) -> str:
        """The algorithm: its kind, or the function that makes it."""
        return str(flat(to_dict(self.train))["agent"])

    @property
    def train_command(self) -> str:
        """The command that trains with the best settings, with a seed that no trial had."""
        seed = 1 + max((record.seed for record in self.records), default=self.train.seed)
        return f"distpolicy train --config {shlex.quote(str(self.best_file))} --seed {seed}"

    @property
    def page_file(self) -> Path:
        """The page on the search."""
        return self.folder / "search.html"

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, those of the best sample first."""
        return [record for sample in self.samples for record in sample.records]

    @property
    def train_s(self) -> float:
        """Seconds of training of all trials."""
        return sum(record.reports[-1].train_s for record in self.records if record.reports)

    @property
    def settings_as_given(self) -> dict[str, Any]:
        """The searched settings that the search began from."""
        return settings_of(self.train, self.config.search)

    @property
    def table_file(self) -> Path:
        """The table of all trials."""
        return self.folder / "trials.csv"

    @property
    def changed_options(self) -> str:
        """The searched settings of the best sample as options of ``distpolicy train``."""
        if self.best is None:
            return ""
        return shlex.join(word for name, value in self.best.settings.items() for word in option_texts(name, value))

    def run_folder(self, record: TrialRecord) -> Path:
        """Returns a trial's run directory."""
        return self.folder / "trials" / trial_name(record.sample, record.seed)

    def write(self) -> None:
        """Writes ``trials.csv``, and ``best.yaml`` if there is a best sample; otherwise an earlier one is removed.

        Raises:
            DistPolicyError: If a file cannot be written.
        """
        write_file(self.table_file, self._table())
        if self.best_config is not None:
            write_file(self.best_file, sealed(dump(self.best_config)))
        else:
            self.best_file.unlink(missing_ok=True)

    def _table(self) -> str:
        names = list(self.config.search)
        text = io.StringIO()
        rows = csv.DictWriter(text, [*_COLUMNS, *names], restval="", lineterminator="\n")
        rows.writeheader()
        for record in self.records:
            rows.writerow(
                {
                    **{name: getattr(record, name) for name in ("sample", "trial", "seed", "steps", "reason")},
                    "state": record.outcome,
                    "score": "" if math.isnan(record.score) else f"{record.score:.6g}",
                    "train_s": f"{record.reports[-1].train_s:.3f}" if record.reports else "",
                    "exchanges": len(record.exchanges),
                    "run": str(self.run_folder(record).relative_to(self.folder)),
                    **{name: setting_text(value) for name, value in record.settings.items()},
                }
            )
        return text.getvalue()


def table_of_samples(result: SearchResult) -> list[list[str]]:
    """Returns the samples of a search as a table, the best first, below a row of titles."""
    names = list(result.config.search)
    # Without the group where that leaves no doubt.
    ends = [name.rpartition(".")[2] for name in names]
    titles = [name if ends.count(end) > 1 else end for name, end in zip(names, ends, strict=True)]
    rows = [["trial", result.config.metric, "steps", "state", *titles]]
    for sample in result.samples:
        values = [setting_text(sample.settings[name]) for name in names]
        name = "as given" if sample.sample == 0 else str(sample.sample)
        rows.append([name, sample.score_with_interval, f"{sample.steps:,}", sample.state, *values])
    return rows


def score_text(score: float) -> str:
    """Returns a score as text."""
    return "no score" if math.isnan(score) else show_return(score)


def search_result(
    config: TuneConfig, train: TrainConfig, records: Sequence[TrialRecord], folder: Path, names: Sequence[str]
) -> SearchResult:
    """Returns what trials have found, the best sample first.

    Args:
        config: The search.
        train: The settings that it began from.
        records: The trials.
        folder: The folder of the search.
        names: Names of the searched settings, as their options have them.
    """
    config = dataclasses.replace(config, search=dict(zip(names, config.search.values(), strict=True)))
    groups: dict[int, list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(record.sample, []).append(record)
    samples = [SampleResult(sample, group[0].settings, group) for sample, group in groups.items()]
    samples.sort(
        key=lambda sample: (
            *(sample.has_failed, math.isnan(sample.score)),
            *(-value for value in merit(sample, config, train)),
        )
    )
    return SearchResult(config, train, samples, folder)


def merit(sample: SampleResult, config: TuneConfig, train: TrainConfig) -> tuple[float, float]:
    """Returns what samples are compared by, the best with the highest: how far they came, then their scores.

    Those that finished come before those that did not, whose score may not have lasted. A sample has come as far as
    the trial of its that went furthest. A score that there is none of counts as 0.

    Args:
        sample: The sample; whether it has failed is not told.
        config: The search.
        train: The settings that it began from.
    """
    # Trials that end at the same time may differ by the steps of a rollout.
    turn = round(sample.steps / config.trial_steps(train) * NUM_REPORTS)
    score = 0.0 if math.isnan(sample.score) else sample.score
    return math.inf if sample.has_finished else turn, score if config.mode == "max" else -score
