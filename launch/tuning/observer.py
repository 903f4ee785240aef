"""TuningObserver: the interface of objects that follow a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch.tuning.journal import Exchange, TrialRecord

if TYPE_CHECKING:
    from launch.tuning.results import SearchResult


class TuningObserver:
    """Follows a search. The methods do nothing; a subclass overrides those that it needs."""

    def on_preparing(self, what: str) -> None:
        """Something that may take long begins, such as ``starting Ray``."""

    def on_note(self, text: str) -> None:
        """Something about the search is good to know before its trials begin."""

    def on_trial(self, record: TrialRecord) -> None:
        """A trial begins, or goes on after an interruption."""

    def on_report(self, record: TrialRecord) -> None:
        """A trial has reached something: the last of its reports."""

    def on_exchange(self, record: TrialRecord, exchange: Exchange) -> None:
        """A trial goes on from another one's checkpoint."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """A trial is over."""

    def on_end(self, result: SearchResult) -> None:
        """The search is over, and its files are written."""
