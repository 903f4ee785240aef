"""TrialQueue: hands out the trials of a search to Ray Tune, those of an interrupted search first."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from ray.tune.search import Searcher

from launch.config.setting_names import settings_of
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.journal import TrialJournal, TrialRecord
from launch.tuning.results import SampleResult, merit
from launch.tuning.samplers import Sampler
from launch.tuning.trial import GIVEN


class TrialQueue(Searcher):
    """The trials of a search, in their order. The first sample has the settings that the search begins from.

    Args:
        config: The search.
        train: The settings that it begins from.
        journal: The trials so far.
        sampler: Chooses settings.
        names: Names of the searched settings.
    """

    def __init__(
        self, config: TuneConfig, train: TrainConfig, journal: TrialJournal, sampler: Sampler, names: list[str]
    ) -> None:
        super().__init__()
        self._tuning, self._train, self._journal, self._sampler, self._names = config, train, journal, sampler, names
        self._told: set[int] = set()
        for record in journal.records.values():
            self._tell_if_over(record.sample)
        unfinished = [record.trial for record in journal.records.values() if not record.is_over]
        first_new = max(journal.records, default=-1) + 1
        self._waiting = deque([*unfinished, *range(first_new, config.samples * config.seeds)])

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles what it is given, for a resume of its own that is not used.
        return {}

    @property
    def num_waiting(self) -> int:
        """Number of trials that are not handed out yet."""
        return len(self._waiting)

    def suggest(self, trial_id: str) -> Any:
        return {GIVEN: self.next_trial()} if self._waiting else Searcher.FINISHED

    def next_trial(self) -> dict[str, Any]:
        """Returns the configuration of the next trial."""
        trial = self._waiting.popleft()
        record = self._journal.records.get(trial) or self._new(trial)
        return {"trial": trial, "sample": record.sample, "seed": record.seed, "settings": record.settings}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: :meth:`note_end` comes when the journal has the trial's end."""

    def note_end(self, trial: int) -> None:
        """Tells the sampler of a trial that is over, if the other seeds of its sample are over, too."""
        self._tell_if_over(self._journal.records[trial].sample)

    def save(self, checkpoint_path: str) -> None:
        """Writes nothing: the journal has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Reads nothing, as nothing was written."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Writes nothing, likewise."""

    def _new(self, trial: int) -> TrialRecord:
        sample, turn = divmod(trial, self._tuning.seeds)
        earlier = self._of_sample(sample)
        if earlier:
            settings = earlier[0].settings
        elif sample == 0:
            settings = settings_of(self._train, self._names)
        else:
            settings = self._sampler.draw(sample)
        # A population needs several beginnings; otherwise all settings are tried with the same seeds.
        seed = self._train.seed + (trial if self._tuning.scheduler == "pbt" else turn)
        return self._journal.begin(trial, sample, seed, settings)

    def _of_sample(self, sample: int) -> list[TrialRecord]:
        return [record for record in self._journal.records.values() if record.sample == sample]

    def _tell_if_over(self, sample: int) -> None:
        """Tells the sampler of a sample once the trials of all its seeds are over."""
        records = self._of_sample(sample)
        if sample in self._told or len(records) < self._tuning.seeds or not all(record.is_over for record in records):
            return
        self._told.add(sample)
        found = SampleResult(sample, records[0].settings, records)
        turn, _ = merit(found, self._tuning, self._train)
        self._sampler.tell(sample, found.settings, math.nan if found.has_failed else found.score, turn)
