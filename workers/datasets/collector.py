"""DatasetCollector: a collector that writes its rollouts to a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from workers.collection.collector import Collector, CollectorConfig, PolicyFactory
from workers.datasets.episode_index import SlotLimits
from workers.datasets.manifest import stacks_file
from workers.datasets.schema import DatasetSchema
from workers.datasets.shard_journal import ShardRecord
from workers.datasets.writer import DatasetWriter
from workers.environments.base import Fault
from workers.environments.factory import EnvironmentFactory


@dataclasses.dataclass(frozen=True)
class DatasetWriterConfig:
    """How and where a collector writes.

    Attributes:
        folder: The dataset's folder, as an absolute path.
        name: What the names of the collector's files begin with.
        limits: Where each env slot stops.
        next_steps: In a resumed job, the step at which each env slot goes on.
        rows_per_shard: Number of rows after which a shard ends.
        compression: See :class:`workers.datasets.writer.DatasetWriter`.
    """

    folder: str
    name: str
    limits: SlotLimits
    next_steps: dict[int, int] = dataclasses.field(default_factory=dict)
    rows_per_shard: int = 100_000
    compression: str = "zstd"


@dataclasses.dataclass(frozen=True)
class CollectorDescription:
    """What the job has to know about a collector that is up.

    Attributes:
        schema: The columns of its rows.
        vectorization: How its environments are stepped, and why.
        inference: What computes its policy's actions, and why it is not LiteRT.
    """

    schema: DatasetSchema
    vectorization: str
    inference: str


@dataclasses.dataclass(frozen=True)
class DatasetReport:
    """What a collector reports to the job about a rollout that it wrote.

    Attributes:
        collector: Index of the collector.
        num_rows: Number of steps that were added to the dataset.
        episode_returns: Returns of the episodes that ended.
        episode_lengths: Lengths of the episodes that ended, in steps.
        shards: Shards that were finished since the last report.
        env_s: Seconds in the environments.
        policy_s: Seconds in the policy.
        total_s: Seconds in total, including writing.
        num_env_steps: Number of environment steps, including those that were not added to the dataset.
        faults: Environments that failed and were replaced.
        finished: Whether all env slots of the collector have reached their limits.
        num_cut: Number of the episodes that were truncated at ``max_episode_steps``.
        steps_without_end: Number of steps that each environment has taken since an episode of the dataset ended.
    """

    collector: int
    num_rows: int
    episode_returns: list[float]
    episode_lengths: list[int]
    shards: list[ShardRecord]
    env_s: float
    policy_s: float
    total_s: float
    num_env_steps: int
    faults: list[Fault]
    finished: bool
    num_cut: int = 0
    steps_without_end: int = 0


class DatasetCollector:
    """Steps its environments until each has reached its limit, and writes their steps.

    If it hangs, it writes its stacks to :func:`workers.datasets.manifest.stacks_file`.

    Args:
        config: The settings of the collector.
        environment_factory: Makes the environments.
        policy_factory: Makes the policy.
        writer_config: The settings of the writer.

    Raises:
        ConfigError: If the environments or the policy cannot be made, or the folder cannot be written.
    """

    def __init__(
        self,
        config: CollectorConfig,
        environment_factory: EnvironmentFactory,
        policy_factory: PolicyFactory,
        writer_config: DatasetWriterConfig,
    ) -> None:
        self._config, self._max_episode_steps = config, environment_factory.max_episode_steps
        self._steps_without_end = 0
        self._collector = Collector(
            config, environment_factory, policy_factory, stacks_file(writer_config.folder, writer_config.name)
        )
        self._description = _describe(self._collector, environment_factory)
        self._writer = DatasetWriter(
            Path(writer_config.folder),
            writer_config.name,
            self._description.schema,
            rows_per_shard=writer_config.rows_per_shard,
            compression=writer_config.compression,
            next_steps=writer_config.next_steps,
            generation=config.generation,
            limits=writer_config.limits,
        )
        self._records: list[ShardRecord] = []
        self._slots = np.arange(config.first_slot, config.first_slot + config.num_slots)

    def ping(self) -> int:
        """Returns the collector's number; answers once it is up."""
        return self._config.index

    def describe(self) -> CollectorDescription:
        """Returns what the job has to know about this collector, once it is up."""
        return self._description

    def collect(self) -> DatasetReport:
        """Collects and writes one rollout. Does nothing once all env slots have reached their limits.

        Returns:
            The report. Its numbers are 0 if nothing was collected.

        Raises:
            EnvironmentCrashedError: If an environment fails and cannot be replaced.
            DistPolicyError: If the folder cannot be written any more.
        """
        if self._writer.finished(self._slots):
            return DatasetReport(self._config.index, 0, [], [], [], 0.0, 0.0, 0.0, 0, [], True)
        rollout, report = self._collector.rollout()
        shards = self._writer.write(rollout)
        self._records += shards
        kept = self._writer.kept
        ended = [place for place, (row, t) in enumerate(report.episode_ends) if kept[row, t]]
        cut = [
            place
            for place in ended
            if report.episode_lengths[place] == self._max_episode_steps
            and rollout.discount[report.episode_ends[place]] > 0.0
        ]
        self._steps_without_end = 0 if ended else self._steps_without_end + self._config.num_steps
        return DatasetReport(
            collector=self._config.index,
            num_rows=int(np.count_nonzero(kept)),
            episode_returns=[report.episode_returns[place] for place in ended],
            episode_lengths=[report.episode_lengths[place] for place in ended],
            shards=shards,
            env_s=report.env_s,
            policy_s=report.policy_s,
            total_s=report.total_s + report.wait_s,
            num_env_steps=report.num_env_steps,
            faults=report.faults,
            finished=self._writer.finished(self._slots),
            num_cut=len(cut),
            steps_without_end=self._steps_without_end,
        )

    def flush(self) -> list[ShardRecord]:
        """Writes everything that has been collected to finished shards.

        Returns:
            All shards that this collector has written, even if they were in a report that was lost.

        Raises:
            DistPolicyError: If the folder cannot be written any more.
        """
        self._records += self._writer.flush()
        return list(self._records)

    def close(self) -> None:
        """Closes the environments and the writer."""
        self._writer.close()
        self._collector.close()


def _describe(collector: Collector, environment_factory: EnvironmentFactory) -> CollectorDescription:
    policy = collector.policy
    inference = "numpy"
    if hasattr(policy, "inference"):
        note = policy.inference_note
        inference = f"{policy.inference} ({note})" if note else policy.inference
    schema = DatasetSchema(collector.time_step_spec, collector.action_spec, policy.info_spec)
    return CollectorDescription(schema, environment_factory.describe(), inference)
