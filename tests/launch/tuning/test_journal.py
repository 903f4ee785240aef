"""A search's journal gives back what was noted, also after a kill in the middle of a line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from distpolicy.errors import DistPolicyError
from launch.tuning.journal import FAILED, FINISHED, Exchange, TrialJournal, TrialReport


def written(path: Path) -> TrialJournal:
    journal = TrialJournal(path)
    journal.begin(0, 0, 3, {"ppo.num-epochs": 4})
    journal.begin(1, 1, 3, {"ppo.num-epochs": 8})
    journal.report(0, TrialReport(100, math.nan, 0.5))
    journal.report(0, TrialReport(200, 17.5, 1.0))
    journal.exchange(1, Exchange(150, 0, {"ppo.num-epochs": 5}))
    journal.end(0, FINISHED)
    journal.close()
    return journal


def test_it_reads_what_it_has_written(tmp_path: Path) -> None:
    before = written(tmp_path / "trials.jsonl").records
    records = TrialJournal(tmp_path / "trials.jsonl").records
    assert repr(records) == repr(before)
    assert (records[0].score, records[0].steps, records[0].is_over) == (17.5, 200, True)
    assert (records[1].settings, records[1].is_over) == ({"ppo.num-epochs": 5}, False)
    assert math.isnan(records[1].score)


def test_a_line_that_a_kill_has_cut_off_is_dropped_and_the_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path)
    path.write_bytes(path.read_bytes()[:-7])
    journal = TrialJournal(path)
    assert not journal.records[0].is_over
    journal.end(0, FAILED, "why")
    journal.close()
    assert TrialJournal(path).records[0].reason == "why"


def test_a_damaged_journal_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").write_text("{}\nno json\n")
    with pytest.raises(DistPolicyError, match=r"cannot read .*trials\.jsonl"):
        TrialJournal(tmp_path / "trials.jsonl")
    for line in (
        '{"event": "trial", "trial": 0}',
        '{"event": "end", "trial": 7, "state": "failed", "reason": ""}',
        "[]",
    ):
        (tmp_path / "trials.jsonl").write_text(line + "\n")
        with pytest.raises(DistPolicyError, match=r"trials\.jsonl: line 1 is not an event of a search"):
            TrialJournal(tmp_path / "trials.jsonl")
