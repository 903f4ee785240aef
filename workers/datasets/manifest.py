"""The manifest of a dataset: its contents, and the names of its finished files.

It is written after the files that it names. A file that it does not name does not belong to the dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from distpolicy.errors import CheckpointError, ConfigError, DistPolicyError
from distpolicy.utils.atomic_files import file_sha256, write_whole
from distpolicy.utils.files.bounded_files import parse_json, read_text
from workers.datasets.schema import DatasetSchema

FORMAT = 1
_MAX_BYTES = 2**30
MANIFEST = "manifest.json"


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


_START_KEYS = ("time", "seed_epoch", "next_steps")


@dataclass(frozen=True)
class DatasetStart:
    """One start of the collect job, or of a collector that was replaced.

    Attributes:
        time: Clock time (``time.time``) of the start.
        seed_generation: The generation that seeds were drawn for. It is a part of the episode ids.
        next_steps: The step at which each env slot went on; -1 for an env slot that this start did not concern.
    """

    time: float
    seed_generation: int
    next_steps: tuple[int, ...]


@dataclass(frozen=True)
class DatasetManifest:
    """The contents of a dataset.

    Attributes:
        schema: The columns.
        env_id: Gymnasium id, or ``module:factory``.
        policy: The policy that collected, such as ``random`` or a folder.
        seed: The seed of the job.
        num_slots: Number of env slots of the job.
        env_kwargs: Arguments of the environment, as JSON values.
        weights_version: (generation, version) of the policy's weights, or None if it has none.
        shards: The finished shards.
        generations: The starts of the job, in order.
        finished: Whether the job has collected everything that it was asked for.
    """

    schema: DatasetSchema
    env_id: str
    policy: str
    seed: int
    num_slots: int
    env_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights_version: tuple[int, int] | None = None
    shards: tuple[ShardRecord, ...] = ()
    generations: tuple[DatasetStart, ...] = ()
    finished: bool = False

    @property
    def num_rows(self) -> int:
        """Number of steps in the dataset."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_episodes(self) -> int:
        """Number of episodes that end in the dataset."""
        return sum(shard.num_episodes for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.num_bytes for shard in self.shards)

    def next_steps(self) -> tuple[int, ...]:
        """Returns the step at which each env slot goes on.

        Raises:
            CheckpointError: If steps of an env slot are missing or in two shards.
        """
        next_steps = [0] * self.num_slots
        for slot, first_step, next_step in sorted(part for shard in self.shards for part in shard.slots):
            if not 0 <= slot < self.num_slots or first_step != next_steps[slot]:
                reason = f"there are {self.num_slots} env slots"
                if 0 <= slot < self.num_slots:
                    reason = f"step {first_step} comes after {next_steps[slot]} steps"
                raise CheckpointError(
                    f"the shards' steps of env slot {slot} do not follow on one another: {reason}; collect the "
                    "dataset again"
                )
            next_steps[slot] = next_step
        return tuple(next_steps)

    def with_shards(self, records: Iterable[ShardRecord]) -> DatasetManifest:
        """Returns a manifest that names these shards, too."""
        return dataclasses.replace(self, shards=(*self.shards, *records))

    def with_generation(
        self, time: float, seed_generation: int, slots: Collection[int] | None = None
    ) -> DatasetManifest:
        """Returns a manifest with one more start, which goes on where the shards end.

        Args:
            time: Clock time (``time.time``) of the start.
            seed_generation: The generation that its seeds are drawn for.
            slots: The env slots of a collector that was replaced; None if the job starts and all go on.

        Raises:
            ConfigError: If an earlier start had this generation or a larger one.
        """
        if self.generations and seed_generation <= self.generations[-1].seed_generation:
            raise ConfigError(
                f"seed generation {seed_generation} must be above {self.generations[-1].seed_generation}, the last "
                "one, or episode ids repeat"
            )
        begun = range(self.num_slots) if slots is None else slots
        next_steps = tuple(step if slot in begun else -1 for slot, step in enumerate(self.next_steps()))
        generation = DatasetStart(time, seed_generation, next_steps)
        return dataclasses.replace(self, generations=(*self.generations, generation), finished=False)

    def save(self, folder: str | Path) -> None:
        """Writes the manifest and replaces the old one in one step.

        Args:
            folder: The dataset's folder.

        Raises:
            CheckpointError: If steps of an env slot are missing or in two shards.
            ConfigError: If ``env_kwargs`` cannot be written as JSON.
            DistPolicyError: If the file cannot be written; names the path.
        """
        self.next_steps()
        path = Path(folder) / MANIFEST
        try:
            value = self._to_json()
        except TypeError as error:
            raise ConfigError(
                f"{path} cannot hold the env's arguments {self.env_kwargs}: {error}; use JSON values"
            ) from error
        value["sha256"] = _digest(value)
        try:
            write_whole(path, (json.dumps(value) + "\n").encode())
        except OSError as error:
            raise DistPolicyError(
                f"cannot write {path}: {error.strerror or error}; free space or use another folder"
            ) from error

    @staticmethod
    def load(folder: str | Path) -> DatasetManifest:
        """Reads the manifest of a folder.

        Args:
            folder: The dataset's folder.

        Raises:
            CheckpointError: If the file is missing, damaged or has another format; names the file.
        """
        path = Path(folder) / MANIFEST
        try:
            value = parse_json(read_text(path, _MAX_BYTES))
        except FileNotFoundError as error:
            raise CheckpointError(f"there is no {path}; give the folder of a dataset") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            found = value.get("format") if isinstance(value, dict) else None
            raise CheckpointError(f"{path} has format {found}; this version reads {FORMAT}")
        if value.pop("sha256", None) != _digest(value):
            raise CheckpointError(f"{path} is damaged: its checksum differs")
        try:
            manifest = DatasetManifest._from_json(value)
            manifest.next_steps()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, CheckpointError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        return manifest

    def _to_json(self) -> dict[str, Any]:
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        value["schema"] = self.schema.to_json()
        value["shards"] = [{**vars(shard), "slots": [list(part) for part in shard.slots]} for shard in self.shards]
        # These are the keys of earlier versions' datasets.
        starts = [(start.time, start.seed_generation, start.next_steps) for start in value.pop("generations")]
        value["epochs"] = [dict(zip(_START_KEYS, start, strict=True)) for start in starts]
        # The round trip turns tuples into lists, so that the digest is the same when the file is read.
        return json.loads(json.dumps({"format": FORMAT, **value}))

    @staticmethod
    def _from_json(value: dict[str, Any]) -> DatasetManifest:
        names = {field.name for field in dataclasses.fields(DatasetManifest)} - {"generations"}
        fields = {name: value[name] for name in names}
        fields["schema"] = DatasetSchema.from_json(value["schema"])
        fields["weights_version"] = None if value["weights_version"] is None else tuple(value["weights_version"])
        fields["shards"] = tuple(
            ShardRecord(**{**shard, "slots": tuple(SlotRange(*part) for part in shard["slots"])})
            for shard in value["shards"]
        )
        fields["generations"] = tuple(
            DatasetStart(time, generation, tuple(next_steps))
            for time, generation, next_steps in (tuple(start[key] for key in _START_KEYS) for start in value["epochs"])
        )
        return DatasetManifest(**fields)


def verify(folder: str | Path) -> DatasetManifest:
    """Reads every file of a dataset and compares it with the manifest.

    Args:
        folder: The dataset's folder.

    Returns:
        The manifest.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged; names the first such file.
    """
    manifest = DatasetManifest.load(folder)
    for shard in manifest.shards:
        _check_size(Path(folder) / shard.file, shard)
        if file_sha256(Path(folder) / shard.file) != shard.sha256:
            raise CheckpointError(f"{Path(folder) / shard.file} is damaged: its checksum differs from the manifest's")
    return manifest


def prepare_resume(folder: str | Path) -> DatasetManifest:
    """Prepares a dataset for more steps after its job has ended or was killed.

    Removes shards that the manifest does not name, finished or not. Leaves other files alone.

    Args:
        folder: The dataset's folder.

    Returns:
        The manifest. Its :meth:`DatasetManifest.next_steps` tells where each env slot goes on.

    Raises:
        CheckpointError: If the manifest is missing or damaged, or a shard is missing or has another size.
        DistPolicyError: If a file cannot be removed.
    """
    manifest = DatasetManifest.load(folder)
    for shard in manifest.shards:
        _check_size(Path(folder) / shard.file, shard)
    remove_unnamed(folder, manifest)
    (Path(folder) / f".{MANIFEST}.partial").unlink(missing_ok=True)
    return manifest


def stacks_file(folder: str | Path, name: str) -> Path:
    """Returns the file that a collector writes the stacks of its threads to if it hangs.

    Args:
        folder: The dataset's folder.
        name: What the names of the collector's shards begin with.
    """
    return Path(folder) / f".{name}.stacks"


def remove_unnamed(folder: str | Path, manifest: DatasetManifest, name: str = "*") -> None:
    """Removes collectors' files that the manifest does not name: shards, unfinished shards, and files of stacks.

    Args:
        folder: The dataset's folder.
        manifest: Names the shards to keep.
        name: What the names of one collector's shards begin with; ``*`` for all collectors.

    Raises:
        DistPolicyError: If a file cannot be removed.
    """
    named = {shard.file for shard in manifest.shards}
    for pattern in (f"{name}-*.parquet", f".{name}-*.parquet.partial", stacks_file(folder, name).name):
        for path in Path(folder).glob(pattern):
            if path.name not in named:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise DistPolicyError(
                        f"cannot remove {path}: {error.strerror or error}; make its folder writable"
                    ) from error


def _check_size(path: Path, shard: ShardRecord) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} is missing, but the manifest names it") from error
    if size != shard.num_bytes:
        raise CheckpointError(f"{path} is damaged: it has {size} bytes, but the manifest says {shard.num_bytes}")


def _digest(value: dict[str, Any]) -> str:
    """Returns the SHA-256 of a manifest that has no checksum yet."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
