"""CollectionTotals: the sums over one collector's reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from workers.datasets.collector import DatasetReport
from workers.datasets.manifest import ShardRecord


class _Open(NamedTuple):
    """A report on rows that are not all in whole shards."""

    num_rows: int
    num_episodes: int


class CollectionTotals:
    """Adds reports up, and takes back those on rows that were lost with their collector.

    Attributes:
        num_rows: Steps that are or will be in the dataset.
        num_whole_rows: Steps that are in whole shards.
        returns: Of the episodes that ended in these.
        lengths: Likewise.
        num_env_steps: Steps of environments.
        env_s: Seconds in the environments.
        policy_s: Seconds in the policy.
        total_s: Seconds in all.
    """

    def __init__(self) -> None:
        self.num_rows = self.num_whole_rows = self.num_env_steps = 0
        self.env_s = self.policy_s = self.total_s = 0.0
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self._open: deque[_Open] = deque()
        # Rows in whole shards that no report has been closed for.
        self._num_unclosed = 0

    def add(self, report: DatasetReport) -> None:
        """Adds a report."""
        self.num_rows += report.num_rows
        self.returns.extend(report.episode_returns)
        self.lengths.extend(report.episode_lengths)
        self.num_env_steps += report.num_env_steps
        self.env_s += report.env_s
        self.policy_s += report.policy_s
        self.total_s += report.total_s
        self._open.append(_Open(report.num_rows, len(report.episode_returns)))
        self._close_reports()

    def settle(self, shards: Iterable[ShardRecord]) -> None:
        """Takes shards as whole: the rows in them cannot be lost any more."""
        num_rows = sum(shard.num_rows for shard in shards)
        self.num_whole_rows += num_rows
        self._num_unclosed += num_rows
        self._close_reports()

    def take_back(self) -> int:
        """Takes back the rows, and the episodes that end in them, that are in no whole shard: how many rows.

        What they cost stays.
        """
        num_rows = sum(report.num_rows for report in self._open)
        num_episodes = sum(report.num_episodes for report in self._open)
        self.num_rows -= num_rows
        del self.returns[len(self.returns) - num_episodes :]
        del self.lengths[len(self.lengths) - num_episodes :]
        self._open.clear()
        self._num_unclosed = 0
        return num_rows

    def _close_reports(self) -> None:
        # Shards end where reports do, and both come in order.
        while self._open and self._open[0].num_rows <= self._num_unclosed:
            self._num_unclosed -= self._open.popleft().num_rows
