"""The manifest of a dataset: what it holds, and which of its files are whole.

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
from workers.datasets.schema import DatasetSchema

FORMAT = 1
MANIFEST = "manifest.json"


class SlotRange(NamedTuple):
    """Steps of one env slot.

    Attributes:
        slot: Number of the slot over the whole run.
        first_step: The first step, counted over the dataset.
        next_step: One more than the last.
    """

    slot: int
    first_step: int
    next_step: int


@dataclass(frozen=True)
class ShardRecord:
    """A file that is whole.

    Attributes:
        file: Its name in the dataset's folder.
        num_rows: Steps that it holds.
        num_bytes: Its size.
        sha256: Of its bytes.
        num_episodes: Episodes that end in it.
        slots: The steps that it holds of each slot, in order of slots.
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
    """One start of the job that collected.

    Attributes:
        time: Clock time (``time.time``) of the start.
        seed_generation: The generation that its seeds were drawn for, and that its episode ids hold.
        next_steps: The step that each slot went on with; -1 for those that this start left alone.
    """

    time: float
    seed_generation: int
    next_steps: tuple[int, ...]


@dataclass(frozen=True)
class DatasetManifest:
    """What a dataset holds.

    Attributes:
        schema: Its columns.
        env_id: Gymnasium id, or ``module:factory``.
        env_kwargs: Arguments of the environment, as JSON values.
        policy: What collected, such as ``random`` or a folder.
        seed: The seed of the job.
        num_slots: Env slots of the job.
        weights_version: (generation, version) of the policy's weights, or None if it has none.
        shards: The files that are whole.
        generations: The starts of the job, the first one first.
        finished: Whether all that was asked for has been collected.
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
        """Steps in the dataset."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_episodes(self) -> int:
        """Episodes that end in the dataset."""
        return sum(shard.num_episodes for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of the shards."""
        return sum(shard.num_bytes for shard in self.shards)

    def next_steps(self) -> tuple[int, ...]:
        """The step that each slot goes on with.

        Raises:
            CheckpointError: If the shards leave out steps of a slot or hold some twice.
        """
        next_steps = [0] * self.num_slots
        for slot, first_step, next_step in sorted(part for shard in self.shards for part in shard.slots):
            if not 0 <= slot < self.num_slots or first_step != next_steps[slot]:
                raise CheckpointError(
                    f"the shards' steps of env slot {slot} do not follow on one another: step {first_step} comes after "
                    f"{next_steps[slot] if 0 <= slot < self.num_slots else 'no'} steps; collect the dataset anew"
                )
            next_steps[slot] = next_step
        return tuple(next_steps)

    def with_shards(self, records: Iterable[ShardRecord]) -> DatasetManifest:
        """A manifest that names these shards too."""
        return dataclasses.replace(self, shards=(*self.shards, *records))

    def with_generation(
        self, time: float, seed_generation: int, slots: Collection[int] | None = None
    ) -> DatasetManifest:
        """A manifest of a job that starts now, where its shards end.

        Args:
            time: Clock time of the start.
            seed_generation: The generation that its seeds are drawn for.
            slots: Those that begin anew, of a collector that was replaced; None for all of them.

        Raises:
            ConfigError: If an earlier start had this generation or a later one.
        """
        if self.generations and seed_generation <= self.generations[-1].seed_generation:
            raise ConfigError(
                f"generation {seed_generation} does not come after {self.generations[-1].seed_generation}; "
                "episode ids would repeat"
            )
        begun = range(self.num_slots) if slots is None else slots
        next_steps = tuple(step if slot in begun else -1 for slot, step in enumerate(self.next_steps()))
        generation = DatasetStart(time, seed_generation, next_steps)
        return dataclasses.replace(self, generations=(*self.generations, generation), finished=False)

    def save(self, folder: str | Path) -> None:
        """Writes the manifest, in one step, in place of what was there.

        Raises:
            CheckpointError: If steps are left out or twice.
            ConfigError: If ``env_kwargs`` holds what is no JSON value.
            DistPolicyError: If it cannot be written; names the path.
        """
        self.next_steps()
        path = Path(folder) / MANIFEST
        try:
            value = self._to_json()
        except TypeError as error:
            raise ConfigError(f"{path} cannot hold the env's arguments {self.env_kwargs}: {error}; use JSON") from error
        value["sha256"] = _digest(value)
        try:
            write_whole(path, (json.dumps(value) + "\n").encode())
        except OSError as error:
            raise DistPolicyError(
                f"cannot write {path}: {error.strerror or error}; free space or use another folder"
            ) from error

    @staticmethod
    def load(folder: str | Path) -> DatasetManifest:
        """Reads a folder's manifest.

        Raises:
            CheckpointError: If it is missing, damaged or of another format; names the file.
        """
        path = Path(folder) / MANIFEST
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
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
        except (KeyError, TypeError, ValueError, CheckpointError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        return manifest

    def _to_json(self) -> dict[str, Any]:
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        value["schema"] = self.schema.to_json()
        value["shards"] = [{**vars(shard), "slots": [list(part) for part in shard.slots]} for shard in self.shards]
        # Datasets of earlier versions have these keys.
        starts = [(start.time, start.seed_generation, start.next_steps) for start in value.pop("generations")]
        value["epochs"] = [dict(zip(_START_KEYS, start, strict=True)) for start in starts]
        # Through JSON once, so that the digest is of what is read: lists for tuples.
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
    """The manifest of a dataset of which every file has been read and compared with it.

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
    """Makes a dataset ready to be added to, after its job has ended in whatever way.

    Shards that the manifest does not name are removed, those that were never finished too; other files are left alone.

    Returns:
        The manifest. Its :meth:`DatasetManifest.next_steps` tell where each slot goes on.

    Raises:
        CheckpointError: If the manifest is missing or damaged, or a shard that it names is missing or cut off.
    """
    manifest = DatasetManifest.load(folder)
    for shard in manifest.shards:
        _check_size(Path(folder) / shard.file, shard)
    remove_unnamed(folder, manifest)
    (Path(folder) / f".{MANIFEST}.partial").unlink(missing_ok=True)
    return manifest


def stacks_file(folder: str | Path, name: str) -> Path:
    """Where a collector leaves the stacks of its threads if it hangs.

    Args:
        folder: The dataset's folder.
        name: What its shards' names begin with.
    """
    return Path(folder) / f".{name}.stacks"


def remove_unnamed(folder: str | Path, manifest: DatasetManifest, name: str = "*") -> None:
    """Removes what collectors have left in a folder that is no part of its dataset, such as shards that were not named.

    Args:
        folder: The dataset's folder.
        manifest: Names the shards to keep.
        name: What the shards' names of a single collector begin with.

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
                    raise DistPolicyError(f"cannot remove {path}: {error.strerror or error}") from error


def _check_size(path: Path, shard: ShardRecord) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} is missing, but the manifest names it") from error
    if size != shard.num_bytes:
        raise CheckpointError(f"{path} is damaged: it has {size} bytes, the manifest says {shard.num_bytes}")


def _digest(value: dict[str, Any]) -> str:
    """SHA-256 of a manifest without its own."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
