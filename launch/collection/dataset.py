"""GrowingDataset: the dataset of a collect job while it is collected."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from distpolicy.errors import ConfigError
from distpolicy.utils.atomic_files import write_file
from launch.collection.resume import StartingPoint, is_anything_left, limits_left
from launch.config.codec import dump
from launch.config.collect import CollectConfig
from launch.config.seal import sealed
from workers.datasets.collector import DatasetWriterConfig
from workers.datasets.files import CONFIG_FILE
from workers.datasets.manifest import DatasetManifest, remove_unnamed, stacks_file
from workers.datasets.schema import DatasetSchema
from workers.datasets.shard_journal import ShardJournal, ShardRecord


class GrowingDataset:
    """Keeps the manifest and the journal: finished shards, the generation and the next step of each slot.

    Args:
        folder: The dataset's folder.
        config: The job's config.
        before: The starting point that earlier jobs have left.

    Attributes:
        folder: As given.
        before: As given.
    """

    def __init__(self, folder: Path, config: CollectConfig, before: StartingPoint) -> None:
        self.folder, self.before = folder, before
        self._config = config
        # Its shards are those of the start; the journal has all.
        self._manifest: DatasetManifest | None = None
        self._journal: ShardJournal | None = None
        self._generations = itertools.count(before.generation)
        # Generations of collectors that were replaced before there was a manifest.
        self._early_generations: list[tuple[int, range]] = []

    @property
    def manifest(self) -> DatasetManifest:
        """The dataset's manifest, once the dataset is begun."""
        if self._manifest is None or self._journal is None:
            raise ConfigError(f"{self.folder} is not begun: run the job first")
        return dataclasses.replace(self._manifest, shards=tuple(self._journal.shards))

    @property
    def num_bytes(self) -> int:
        """Size of all finished shards."""
        return 0 if self._journal is None else self._journal.num_bytes

    def next_generation(self) -> int:
        """Returns a generation that no collector of the dataset has had."""
        return next(self._generations)

    def begin(self, schema: DatasetSchema) -> None:
        """Writes the folder's first files; from then on the dataset can be resumed.

        Args:
            schema: Schema of the collectors' rows.

        Raises:
            ConfigError: If the folder holds rows of another kind.
        """
        config, manifest = self._config, self.before.manifest
        if manifest is None:
            manifest = DatasetManifest(
                schema=schema,
                env_id=config.env,
                policy=config.policy,
                seed=config.seed,
                num_slots=config.num_envs,
                env_kwargs=dict(config.env_kwargs),
            )
        elif manifest.schema.to_json() != schema.to_json():
            raise ConfigError(f"{self.folder} holds other observations, actions or infos than this env and policy give")
        manifest = dataclasses.replace(manifest, finished=False)
        manifest = manifest.with_generation(time.time(), self.before.generation)
        for generation, slots in self._early_generations:
            manifest = manifest.with_generation(time.time(), generation, slots)
        write_file(self.folder / f"_{CONFIG_FILE}", sealed(dump(config)))
        (self.folder / CONFIG_FILE).unlink(missing_ok=True)
        self._journal = ShardJournal(self.folder, manifest.num_slots, manifest.shards)
        self._save(manifest)

    def begin_generation(self, generation: int, slots: range) -> None:
        """Notes that another collector starts slots again."""
        if self._manifest is not None:
            self._save(self.manifest.with_generation(time.time(), generation, slots))
        elif generation != self.before.generation:
            self._early_generations.append((generation, slots))

    def writer_config(self, name: str, slots: range) -> DatasetWriterConfig:
        """Returns the writer's settings for a collector that begins now: its slots go on where finished shards end.

        Args:
            name: The beginning of its files' names.
            slots: Its slots.
        """
        next_steps, limits = self.before.next_steps, self.before.limits
        if self._journal is not None:
            next_steps, limits = self._journal.next_steps, limits_left(self.folder, self._config)
        return DatasetWriterConfig(
            str(self.folder.absolute()),
            name,
            limits,
            {slot: next_steps[slot] for slot in slots},
            self._config.rows_per_shard,
            self._config.compression,
        )

    def is_complete(self, slots: range) -> bool:
        """Returns True if the finished shards hold all steps of these slots, up to their limits."""
        next_steps = self.before.next_steps if self._journal is None else self._journal.next_steps
        return not is_anything_left(limits_left(self.folder, self._config), next_steps, slots)

    def add(self, records: Sequence[ShardRecord]) -> list[ShardRecord]:
        """Adds finished shards.

        Returns:
            Those that were not there yet.
        """
        if self._journal is None:
            raise ConfigError(f"{self.folder} is not begun: run the job first")
        # The shards that a collector returns at its end were in its reports, too, unless these were not read.
        return self._journal.append(records)

    def finish(self) -> None:
        """Notes that everything has been collected."""
        self._save(dataclasses.replace(self.manifest, finished=True))

    def close(self) -> None:
        """Closes the journal. It may be called twice."""
        if self._journal is not None:
            self._journal.close()

    def remove_unnamed(self, name: str) -> None:
        """Removes a collector's files that are not part of the dataset.

        Args:
            name: The beginning of its files' names.
        """
        remove_unnamed(self.folder, self.manifest, name)

    def remove_stacks(self) -> None:
        """Removes the files that collectors keep for their stacks."""
        for path in self.folder.glob(stacks_file(self.folder, "*").name):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _save(self, manifest: DatasetManifest) -> None:
        manifest.save_without_shards(self.folder)
        self._manifest = manifest
