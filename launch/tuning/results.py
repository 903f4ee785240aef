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
from launch.config.codec import dump
from launch.config.seal import sealed
from launch.config.setting_names import option_texts, setting_text, with_settings
from launch.config.train import TrainConfig
from launch.config.tune import BEST_FILE, TuneConfig
from launch.output.intervals import interval
from launch.tuning.journal import TrialRecord
from launch.tuning.trial import trial_name

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
    def steps(self) -> int:
        """The steps of the trial that went furthest."""
        return max(record.steps for record in self.records)

    @property
    def state(self) -> str:
        """How the trials ended."""
        return ", ".join(dict.fromkeys(record.state for record in self.records))


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        config: The search.
        train: The settings that it began from.
        samples: The samples, the best first; those without a score come last.
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
        """The best sample; None if none has a score."""
        first = next(iter(self.samples), None)
        return None if first is None or math.isnan(first.score) else first

    @property
    def best_config(self) -> TrainConfig | None:
        """The settings of the best sample, as ``distpolicy train --config`` takes them."""
        return None if self.best is None else with_settings(self.train, self.best.settings)

    @property
    def best_file(self) -> Path:
        """The file of :attr:`best_config`."""
        return self.folder / BEST_FILE

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
        """Writes ``trials.csv``, and ``best.yaml`` if there is a best sample.

        Raises:
            DistPolicyError: If a file cannot be written.
        """
        write_file(self.table_file, self._table())
        if self.best_config is not None:
            write_file(self.best_file, sealed(dump(self.best_config)))

    def _table(self) -> str:
        names = list(self.config.search)
        text = io.StringIO()
        rows = csv.DictWriter(text, [*_COLUMNS, *names], restval="", lineterminator="\n")
        rows.writeheader()
        for sample in self.samples:
            for record in sample.records:
                rows.writerow(
                    {
                        **{
                            name: getattr(record, name)
                            for name in ("sample", "trial", "seed", "state", "reason", "steps")
                        },
                        "score": "" if math.isnan(record.score) else f"{record.score:.6g}",
                        "train_s": f"{record.reports[-1].train_s:.3f}" if record.reports else "",
                        "exchanges": len(record.exchanges),
                        "run": str(self.run_folder(record).relative_to(self.folder)),
                        **{name: setting_text(value) for name, value in record.settings.items()},
                    }
                )
        return text.getvalue()


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
    sign = -1.0 if config.mode == "max" else 1.0
    samples.sort(
        key=lambda sample: (math.isnan(sample.score), sign * sample.score if sample.score == sample.score else 0)
    )
    return SearchResult(config, train, samples, folder)
