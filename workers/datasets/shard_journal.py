"""ShardJournal: the file that names a dataset's finished shards. It grows by a line for each shard.

A line is a JSON object with a shard and a checksum, which covers the lines before, too. A crash may leave the last line
incomplete. Such a line is not part of the journal, and so its shard is not part of the dataset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from distpolicy.errors import CheckpointError
from distpolicy.utils.atomic_files import GrowingFile, sync, writing
from distpolicy.utils.files.bounded_files import is_in_its_folder, parse_json, read_bytes

JOURNAL = "_shards.jsonl"

# Millions of shards.
_MAX_BYTES = 2**30


class SlotRange(NamedTuple):
    """A range of steps of one env slot.

    Attributes:
        slot: Number of the env slot over the whole run.
        first_step: The first step, counted over the dataset.
        next_step: The last step plus one.
    """

    slot: int
    first_step: int
    next_step: int


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard.

    Attributes:
        file: Name of the file in the dataset's folder.
        num_rows: Number of steps in it.
        num_bytes: Size of the file.
        sha256: SHA-256 of the file, in hexadecimal.
        num_episodes: Number of episodes that end in it.
        slots: The range of steps of each env slot in it, ordered by env slot.
    """

    file: str
    num_rows: int
    num_bytes: int
    sha256: str
    num_episodes: int
    slots: tuple[SlotRange, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the shard as a JSON value."""
        return {**vars(self), "slots": [list(part) for part in self.slots]}

    @staticmethod
    def from_json(value: dict[str, Any]) -> ShardRecord:
        """Returns the shard for a JSON value of :meth:`to_json`.

        Raises:
            ValueError, KeyError, TypeError: If the value does not come from :meth:`to_json`, or names a file elsewhere.
        """
        record = ShardRecord(**{**value, "slots": tuple(SlotRange(*part) for part in value["slots"])})
        if not is_in_its_folder(record.file):
            raise ValueError(f"it names the file {record.file}, which is not in its folder")
        return record


def next_steps(num_slots: int, shards: Iterable[ShardRecord]) -> list[int]:
    """Returns the step at which each env slot goes on after some shards, which may be in any order.

    Raises:
        CheckpointError: If steps of an env slot are missing or in two shards.
    """
    steps = [0] * num_slots
    for part in sorted(part for shard in shards for part in shard.slots):
        _follow(steps, part)
    return steps


def _follow(steps: list[int], part: SlotRange) -> None:
    slot, first_step, next_step = part
    if not 0 <= slot < len(steps) or first_step != steps[slot]:
        reason = f"there are {len(steps)} env slots"
        if 0 <= slot < len(steps):
            reason = f"step {first_step} comes after {steps[slot]} steps"
        raise CheckpointError(
            f"the shards' steps of env slot {slot} do not follow on one another: {reason}; collect the dataset again"
        )
    steps[slot] = next_step


class ShardJournal:
    """Writes the journal. The cost of a shard does not depend on the number of shards.

    Args:
        folder: The dataset's folder. A journal that is in it is replaced.
        num_slots: Number of env slots of the dataset.
        shards: The shards to begin with.

    Attributes:
        shards: The finished shards.
        next_steps: The step at which each env slot goes on.
        num_bytes: Size of all shards.

    Raises:
        CheckpointError: If steps of an env slot are missing or in two shards.
        DistPolicyError: If the file cannot be written; names the path.
    """

    def __init__(self, folder: str | Path, num_slots: int, shards: Iterable[ShardRecord]) -> None:
        self.shards = list(shards)
        self._num_slots, self._path = num_slots, Path(folder) / JOURNAL
        self._write_all()

    def _write_all(self) -> None:
        """Writes the whole journal, and counts the shards anew."""
        self.next_steps = next_steps(self._num_slots, self.shards)
        self.num_bytes = sum(shard.num_bytes for shard in self.shards)
        self._files = {shard.file for shard in self.shards}
        lines, self._check = _encoded(self.shards, "")
        self._file = GrowingFile(self._path, lines)
        # False while a line is being added: an interrupt may come in the middle.
        self._is_whole = True

    def append(self, records: Iterable[ShardRecord]) -> list[ShardRecord]:
        """Adds finished shards.

        Args:
            records: Shards, those of an env slot in the order of their steps. Some may be in the journal already.

        Returns:
            Those that were not in the journal.

        Raises:
            CheckpointError: If steps of an env slot are missing or in two shards.
            DistPolicyError: If the file cannot be written; names the path. The journal then ends as before.
        """
        if not self._is_whole:
            self._file.close()
            self._write_all()
        new = [record for record in records if record.file not in self._files]
        if not new:
            return []
        steps = list(self.next_steps)
        for record in new:
            for part in record.slots:
                _follow(steps, part)
        lines, check = _encoded(new, self._check)
        self._is_whole = False
        self._file.append(lines)
        with writing(self._path):
            sync(self._path)
        self._check, self.next_steps = check, steps
        self.shards += new
        self._files |= {record.file for record in new}
        self.num_bytes += sum(record.num_bytes for record in new)
        self._is_whole = True
        return new

    def close(self) -> None:
        """Closes the file. It may be called twice."""
        self._file.close()


def write_journal(folder: str | Path, num_slots: int, shards: Iterable[ShardRecord]) -> None:
    """Writes a whole journal.

    Raises:
        CheckpointError: If steps of an env slot are missing or in two shards.
        DistPolicyError: If the file cannot be written; names the path.
    """
    ShardJournal(folder, num_slots, shards).close()


def read_journal(folder: str | Path, num_certain: int) -> tuple[ShardRecord, ...]:
    """Returns the shards that a journal names.

    Args:
        folder: The dataset's folder.
        num_certain: Number of shards that the journal has at least, as the manifest says.

    Raises:
        CheckpointError: If the file is missing or damaged; names the file.
    """
    path = Path(folder) / JOURNAL
    try:
        lines = read_bytes(path, _MAX_BYTES).split(b"\n")[:-1]
    except OSError as error:
        raise CheckpointError(f"{path} is missing, but the manifest is there: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    shards: list[ShardRecord] = []
    check = ""
    for number, line in enumerate(lines, 1):
        try:
            value = parse_json(line.decode())
            shard, check = ShardRecord.from_json(value["shard"]), _next_check(check, value["shard"])
            if value["check"] != check:
                raise ValueError("its checksum differs")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines) and len(shards) >= num_certain:
                break
            raise CheckpointError(f"{path} is damaged in line {number}: {error}") from error
        shards.append(shard)
    if len(shards) < num_certain:
        raise CheckpointError(f"{path} is damaged: it names {len(shards)} shards, and the manifest says {num_certain}")
    return tuple(shards)


def _encoded(shards: Iterable[ShardRecord], check: str) -> tuple[bytes, str]:
    """Returns the lines of some shards after a line with this checksum, and the checksum of the last line."""
    lines = []
    for shard in shards:
        value = shard.to_json()
        check = _next_check(check, value)
        lines.append(json.dumps({"shard": value, "check": check}) + "\n")
    return "".join(lines).encode(), check


def _next_check(check: str, shard: dict[str, Any]) -> str:
    return hashlib.sha256(f"{check}{json.dumps(shard, sort_keys=True)}".encode()).hexdigest()[:32]
