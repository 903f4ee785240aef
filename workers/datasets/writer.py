"""DatasetWriter: writes the rollouts of one collector as Parquet shards."""

from __future__ import annotations

import concurrent.futures
import re
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType
from workers.datasets.columns import DatasetColumns
from workers.datasets.episode_index import SlotCounters, SlotLimits
from workers.datasets.rows import Leaves, RolloutRows
from workers.datasets.schema import DatasetSchema
from workers.datasets.shard_file import ShardFile
from workers.datasets.shard_journal import ShardRecord, SlotRange

COMPRESSIONS = ("zstd", "lz4", "snappy", "none")

_GROUP_ROWS = 32_768
_GROUP_BYTES = 32 * 2**20
_SHARD_BYTES = 2**30
_MAX_PENDING = 2


class DatasetWriter:
    """Writes rollouts as rows of Parquet shards.

    :meth:`write` copies the rows out of a rollout; a thread encodes and writes them. Up to two row groups (32 MiB each,
    or one rollout if that is larger) may be waiting for the thread. If there are more, :meth:`write` waits. A shard
    always ends between two rollouts.

    A row depends on its env slot and the steps before it, and not on the writer: the rows of a dataset, sorted by env
    slot and step, are the same for any number of collectors.

    Args:
        folder: The dataset's folder; it is made if it does not exist.
        name: What the names of the files begin with. Two writers of a folder must not use the same name at once.
        schema: The dataset's schema.
        rows_per_shard: Number of rows after which a shard ends, at the end of a rollout. It also ends after 1 GiB of
            uncompressed data.
        compression: ``zstd`` (level 1), ``lz4``, ``snappy`` or ``none``.
        next_steps: In a resumed job, the step at which each env slot goes on.
        generation: In a resumed job, a number that no earlier start had. New episodes begin in it.
        limits: Where env slots stop. Steps beyond are not written. None for no limits.

    Raises:
        ConfigError: If an argument is not valid, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        schema: DatasetSchema,
        rows_per_shard: int = 100_000,
        compression: str = "zstd",
        next_steps: Mapping[int, int] | None = None,
        generation: int = 0,
        limits: SlotLimits | None = None,
    ) -> None:
        if rows_per_shard < 1:
            raise ConfigError(f"rows_per_shard must be 1 or more, but is {rows_per_shard}")
        if compression not in COMPRESSIONS:
            raise ConfigError(f"compression must be one of {', '.join(COMPRESSIONS)}, but is {compression!r}")
        if not re.fullmatch(r"[\w][\w.-]*", name):
            raise ConfigError(f"name {name!r} cannot be used in a file name; use letters, digits, '_', '-' and '.'")
        self._folder, self._name = Path(folder), name
        self._compression, self._rows_per_shard = compression, rows_per_shard
        _check_writable(self._folder)
        self._columns, self._rows = DatasetColumns(schema), RolloutRows(schema)
        self._counters = SlotCounters(next_steps or {}, generation, limits or SlotLimits())
        self._kept = np.zeros((0, 0), np.bool_)
        self._next_index = _next_index(self._folder, name)
        self._group: list[Leaves] = []
        self._group_rows = self._group_bytes = 0
        self._shard = _OpenShard()
        self._file: ShardFile | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "dataset-writer")
        self._pending: deque[concurrent.futures.Future[ShardRecord | None]] = deque()
        self._error: BaseException | None = None

    def write(self, rollout: Rollout) -> list[ShardRecord]:
        """Adds the rows of a rollout. Transitions from LAST to FIRST are left out.

        Args:
            rollout: A rollout that goes on where the last rollout of its env slots ended.

        Returns:
            The shards that were finished since the last call.

        Raises:
            SpecMismatchError: If the rollout does not fit the schema.
            DistPolicyError: If the folder cannot be written any more. Every later call raises it, too.
        """
        records = self._done(_MAX_PENDING)
        self._rows.check(rollout)
        first_slot = int(rollout.first_slot)
        slots = np.arange(first_slot, first_slot + rollout.num_slots)
        begins = self._counters.next_steps(slots)
        places = self._counters.advance(rollout.step_type, first_slot, rollout.cuts)
        self._kept = places.keep
        rows = self._rows.rows(rollout, places)
        num_rows = len(rows["eps_id"][0])
        if num_rows:
            ended = int(np.count_nonzero(rows["next_step_type"][0] == StepType.LAST))
            self._shard.add(num_rows, ended, slots, begins, self._counters.next_steps(slots))
            num_bytes = sum(leaf.nbytes for leaves in rows.values() for leaf in leaves)
            self._group.append(rows)
            self._group_rows += num_rows
            self._group_bytes += num_bytes
            self._shard.num_bytes += num_bytes
        if self._shard.num_rows >= self._rows_per_shard or self._shard.num_bytes >= _SHARD_BYTES:
            self._end_shard()
        elif self._group_rows >= _GROUP_ROWS or self._group_bytes >= _GROUP_BYTES:
            self._end_group()
        return records

    @property
    def kept(self) -> np.ndarray:
        """bool ``[B, T]``: True for the transitions of the last rollout that became rows."""
        return self._kept

    def finished(self, slots: np.ndarray) -> bool:
        """Returns True if all these env slots have reached their limits.

        Args:
            slots: int ``[N]``: numbers of env slots.
        """
        return self._counters.finished(slots)

    def flush(self) -> list[ShardRecord]:
        """Finishes the open shard and waits until everything is written.

        Returns:
            The shards that were finished since the last call.

        Raises:
            DistPolicyError: If the folder cannot be written.
        """
        if self._error is None and self._shard.num_rows:
            self._end_shard()
        return self._done(0)

    def close(self) -> None:
        """Drops rows that are not in a finished shard yet, and ends the thread. It may be called twice."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._file is not None:
            self._file.discard()
            self._file = None
        if self._error is None:
            self._error = DistPolicyError(f"the writer {self._name} of {self._folder} is closed; make a new one")

    def _done(self, num_left: int) -> list[ShardRecord]:
        """Waits until the thread has at most ``num_left`` calls to do, and returns the shards that it finished."""
        if self._error is not None:
            raise self._error
        records: list[ShardRecord] = []
        while self._pending and (len(self._pending) > num_left or self._pending[0].done()):
            try:
                record = self._pending.popleft().result()
            except BaseException as error:
                self._error = error
                self.close()
                raise
            if record is not None:
                records.append(record)
        return records

    def _end_group(self) -> None:
        group, path = self._group, self._folder / self._file_name()
        self._pending.append(self._thread.submit(self._write_group, path, group))
        self._group, self._group_rows, self._group_bytes = [], 0, 0

    def _end_shard(self) -> None:
        if self._group:
            self._end_group()
        self._pending.append(self._thread.submit(self._finish, self._file_name(), self._shard))
        self._shard = _OpenShard()
        self._next_index += 1

    def _file_name(self) -> str:
        return f"{self._name}-{self._next_index:06d}.parquet"

    def _write_group(self, path: Path, group: list[Leaves]) -> None:
        if self._file is None:
            self._file = ShardFile(path, self._columns, self._compression)
        self._file.add(group)

    def _finish(self, file_name: str, shard: _OpenShard) -> ShardRecord:
        assert self._file is not None
        num_bytes, sha256 = self._file.finish()
        self._file = None
        return ShardRecord(file_name, shard.num_rows, num_bytes, sha256, shard.num_episodes, shard.slot_ranges())


class _OpenShard:
    """Counts the contents of the shard that is being written."""

    def __init__(self) -> None:
        self.num_rows = self.num_episodes = self.num_bytes = 0
        self._first: dict[int, int] = {}
        self._next: dict[int, int] = {}

    def add(self, num_rows: int, num_episodes: int, slots: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> None:
        self.num_rows += num_rows
        self.num_episodes += num_episodes
        # The first step of an env slot stays as it is when more steps are added.
        self._first = dict(zip(slots.tolist(), begins.tolist(), strict=True)) | self._first
        self._next.update(zip(slots.tolist(), ends.tolist(), strict=True))

    def slot_ranges(self) -> tuple[SlotRange, ...]:
        ranges = (SlotRange(slot, first, self._next[slot]) for slot, first in sorted(self._first.items()))
        return tuple(part for part in ranges if part.next_step > part.first_step)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error.strerror or error}; use another folder") from error


def _next_index(folder: Path, name: str) -> int:
    """Returns the highest index of the shards with this name plus one; 0 if there are none."""
    found = (re.fullmatch(re.escape(name) + r"-(\d+)\.parquet", path.name) for path in folder.glob("*.parquet"))
    return max((int(match[1]) + 1 for match in found if match), default=0)
