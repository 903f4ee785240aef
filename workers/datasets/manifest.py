"""The manifest of a dataset: its contents. The journal beside it names the finished shards.

A shard is named after it is finished. A file that is not named does not belong to the dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distpolicy.errors import CheckpointError, ConfigError, DistPolicyError
from distpolicy.utils.atomic_files import file_sha256, scratch_path, write_whole
from distpolicy.utils.files.bounded_files import parse_json, read_text
from workers.datasets.files import MANIFEST_FILE, file_beside_shards
from workers.datasets.schema import DatasetSchema
from workers.datasets.shard_journal import JOURNAL, ShardRecord, next_steps, read_journal, write_journal

FORMAT = 2
_MAX_BYTES = 2**30
MANIFEST = f"_{MANIFEST_FILE}"

# The format of earlier versions, whose manifest also held the shards.
_WITH_SHARDS = 1


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
        return tuple(next_steps(self.num_slots, self.shards))

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
        """Writes the manifest and the whole journal.

        Args:
            folder: The dataset's folder.

        Raises:
            CheckpointError: If steps of an env slot are missing or in two shards.
            ConfigError: If ``env_kwargs`` cannot be written as JSON.
            DistPolicyError: If a file cannot be written; names the path.
        """
        write_journal(folder, self.num_slots, self.shards)
        self.save_without_shards(folder)

    def save_without_shards(self, folder: str | Path) -> None:
        """Writes the manifest, whose shards are in the journal already, and replaces the old one in one step.

        Args:
            folder: The dataset's folder.

        Raises:
            ConfigError: If ``env_kwargs`` cannot be written as JSON.
            DistPolicyError: If the file cannot be written; names the path.
        """
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
            (Path(folder) / MANIFEST_FILE).unlink(missing_ok=True)
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
        path = file_beside_shards(folder, MANIFEST_FILE)
        try:
            value = parse_json(read_text(path, _MAX_BYTES))
        except FileNotFoundError as error:
            raise CheckpointError(f"there is no {path}; give the folder of a dataset") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        if not isinstance(value, dict) or value.get("format") not in (FORMAT, _WITH_SHARDS):
            found = value.get("format") if isinstance(value, dict) else None
            raise CheckpointError(f"{path} has format {found}; this version reads {FORMAT}")
        if value.pop("sha256", None) != _digest(value):
            raise CheckpointError(f"{path} is damaged: its checksum differs")
        shards = () if value["format"] == _WITH_SHARDS else read_journal(folder, value.get("num_shards", 0))
        try:
            if value["format"] == _WITH_SHARDS:
                shards = tuple(ShardRecord.from_json(shard) for shard in value["shards"])
            manifest = DatasetManifest._from_json(value, shards)
            manifest.next_steps()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, CheckpointError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        return manifest

    def _to_json(self) -> dict[str, Any]:
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        value["schema"] = self.schema.to_json()
        value["num_shards"] = len(value.pop("shards"))
        # These are the keys of earlier versions' datasets.
        starts = [(start.time, start.seed_generation, start.next_steps) for start in value.pop("generations")]
        value["epochs"] = [dict(zip(_START_KEYS, start, strict=True)) for start in starts]
        # The round trip turns tuples into lists, so that the digest is the same when the file is read.
        return json.loads(json.dumps({"format": FORMAT, **value}))

    @staticmethod
    def _from_json(value: dict[str, Any], shards: tuple[ShardRecord, ...]) -> DatasetManifest:
        names = {field.name for field in dataclasses.fields(DatasetManifest)} - {"generations", "shards"}
        fields = {name: value[name] for name in names}
        fields["schema"] = DatasetSchema.from_json(value["schema"])
        fields["weights_version"] = None if value["weights_version"] is None else tuple(value["weights_version"])
        fields["shards"] = shards
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
    for name in (MANIFEST, JOURNAL):
        scratch_path(Path(folder) / name).unlink(missing_ok=True)
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
