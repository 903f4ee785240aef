from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launch.collection.totals import CollectionTotals
from workers.datasets.collector import DatasetReport
from workers.datasets.shard_journal import ShardRecord, SlotRange

# For each rollout: rows, episodes that end in it, whether a shard ends after it.
Rollouts = list[tuple[int, int, bool]]
rollouts = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), max_size=30)


def report(number: int, num_rows: int, num_episodes: int) -> DatasetReport:
    episodes = num_episodes if num_rows else 0
    returns, lengths = [float(number)] * episodes, [number] * episodes
    return DatasetReport(0, num_rows, returns, lengths, [], 1.0, 1.0, 2.0, num_rows + 1, [], False, episodes)


def shard(num_rows: int) -> ShardRecord:
    return ShardRecord("x", num_rows, 1, "", 0, (SlotRange(0, 0, num_rows),))


@given(parts=st.lists(rollouts, min_size=1, max_size=4), delay=st.integers(0, 3))
def test_what_was_in_no_whole_shard_is_taken_back_and_nothing_else(parts: list[Rollouts], delay: int) -> None:
    totals = CollectionTotals()
    whole_rows, whole_returns, num_reports = 0, list[float](), 0
    for part in parts:
        # Of one collector: its reports, and the shards that they tell of some rollouts later.
        pending: list[int] = []
        in_shard, rows = list[float](), 0
        for number, (num_rows, num_episodes, ends) in enumerate(part):
            item = report(number, num_rows, num_episodes)
            totals.add(item)
            num_reports += 1
            rows += num_rows
            in_shard += item.episode_returns
            if ends and rows:
                pending.append(rows)
                whole_rows += rows
                whole_returns += in_shard
                rows, in_shard = 0, []
            if len(pending) > delay:
                totals.settle([shard(pending.pop(0))])
        totals.settle([shard(count) for count in pending])
        before = totals.num_rows
        assert totals.take_back() == rows
        assert totals.num_rows == before - rows == totals.num_whole_rows == whole_rows
        assert totals.num_cut == len(whole_returns)
        assert totals.returns == [float(length) for length in totals.lengths] == whole_returns
    assert totals.env_s == totals.policy_s == num_reports
    assert totals.total_s == 2 * num_reports
