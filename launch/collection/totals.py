"""CollectionTotals: the sums over one collector's reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from workers.datasets.collector import DatasetReport
from workers.datasets.shard_journal import ShardRecord


class _Open(NamedTuple):
    """A report whose rows are not all in finished shards."""

    num_rows: int
    num_episodes: int
    num_cut: int


class CollectionTotals:
    """Adds up reports, and subtracts those whose rows were lost with their collector.

    Attributes:
        num_rows: Number of steps that are or will be in the dataset.
        num_whole_rows: Number of steps in finished shards.
        returns: Returns of the episodes that ended in ``num_rows``.
        lengths: Lengths of these episodes.
        num_cut: Number of these episodes that were truncated at ``max_episode_steps``.
        steps_without_end: Number of steps that each environment has taken since an episode ended.
        num_env_steps: Number of environment steps.
        env_s: Seconds in the environments.
        policy_s: Seconds in the policy.
        total_s: Seconds in total.
    """

    def __init__(self) -> None:
        self.num_rows = self.num_whole_rows = self.num_env_steps = self.num_cut = self.steps_without_end = 0
        self.env_s = self.policy_s = self.total_s = 0.0
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self._open: deque[_Open] = deque()
        # Rows in finished shards that belong to a report that is still open.
        self._num_unclosed = 0

    def add(self, report: DatasetReport) -> None:
        """Adds a report."""
        self.num_rows += report.num_rows
        self.returns.extend(report.episode_returns)
        self.lengths.extend(report.episode_lengths)
        self.num_cut += report.num_cut
        self.steps_without_end = report.steps_without_end
        self.num_env_steps += report.num_env_steps
        self.env_s += report.env_s
        self.policy_s += report.policy_s
        self.total_s += report.total_s
        self._open.append(_Open(report.num_rows, len(report.episode_returns), report.num_cut))
        self._close_reports()

    def settle(self, shards: Iterable[ShardRecord]) -> None:
        """Notes that shards are finished: their rows can no longer be lost."""
        num_rows = sum(shard.num_rows for shard in shards)
        self.num_whole_rows += num_rows
        self._num_unclosed += num_rows
        self._close_reports()

    def take_back(self) -> int:
        """Subtracts the rows that are not in a finished shard, and the episodes that end in them.

        Environment steps and seconds stay, since they were spent.

        Returns:
            The number of rows.
        """
        num_rows = sum(report.num_rows for report in self._open)
        num_episodes = sum(report.num_episodes for report in self._open)
        self.num_rows -= num_rows
        self.num_cut -= sum(report.num_cut for report in self._open)
        del self.returns[len(self.returns) - num_episodes :]
        del self.lengths[len(self.lengths) - num_episodes :]
        self._open.clear()
        self._num_unclosed = 0
        return num_rows

    def _close_reports(self) -> None:
        # Shards end where reports do, and both come in order.
        while self._open and self._open[0].num_rows <= self._num_unclosed:
            self._num_unclosed -= self._open.popleft().num_rows
