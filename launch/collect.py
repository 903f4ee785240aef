"""The collect command: a policy in many envs, and its data on disk."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import ray
from rich.console import Console

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from launch import answers, cluster
from launch import config as configuration
from launch.collect_config import CollectConfig
from launch.files import write_file
from launch.progress_line import ProgressLine, duration
from launch.shares import shares
from launch.signals import handled, interrupt
from workers.actors import start_dataset_collector, start_inference_server
from workers.collector import CollectorConfig
from workers.dataset_collector import CollectorDescription, DatasetReport, DatasetWriterConfig
from workers.dataset_manifest import DatasetManifest, ShardRecord, prepare_resume
from workers.dataset_reader import count_episodes
from workers.environment_probe import probe
from workers.inference_server import ServerStatistics
from workers.policy_source import PolicySource, ServedPolicySource
from workers.slot_counters import SlotLimits

CONFIG_FILE = "config.yaml"

# Rollouts of each collector that are asked for and not yet accounted for: it goes on while the driver looks at the
# last one, and what is in flight stays bounded.
PIPELINE_DEPTH = 2


def collect(
    config: CollectConfig, console: Console, command_start: float, out: Path, resume: bool = False, debug: bool = False
) -> DatasetManifest:
    """Collects a dataset.

    Args:
        config: The job's config.
        console: Where to print.
        command_start: Clock time at which the command began.
        out: The dataset's folder.
        resume: Whether it goes on with what is there.
        debug: Whether workers' output is shown.

    Returns:
        What the dataset holds.

    Raises:
        ConfigError: For input that cannot work; nothing has been written then.
        DistPolicyError: If the job fails; what is whole is named in the manifest.
        Interrupted: If SIGINT or SIGTERM ended it, after what was collected has been made whole.
    """
    specs = probe(config.environment_factory, for_training=False)
    inference = "auto" if config.inference == "server" else config.inference
    source = PolicySource(_absolute(config.policy), inference, config.seed)
    source.check(specs[1])
    before = _Before.read(out, config) if resume else _Before.nothing(out, config)
    with handled(interrupt), cluster.connected(config.address, config.collectors, debug), handled(interrupt):
        job = _Job(config, console, command_start, out, source, specs, before)
        try:
            return job.run()
        finally:
            job.close()


@dataclasses.dataclass(frozen=True)
class _Before:
    """What earlier jobs have left.

    Attributes:
        manifest: Theirs; None if there were none.
        epoch: Number of this start.
        next_steps: The step that each slot goes on with.
        limits: Where each slot stops.
    """

    manifest: DatasetManifest | None
    epoch: int
    next_steps: dict[int, int]
    limits: SlotLimits

    @classmethod
    def nothing(cls, out: Path, config: CollectConfig) -> _Before:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} exists: choose another --out, or go on with it by --resume {out}")
        return cls(None, 0, dict.fromkeys(range(config.slots), 0), _limits(config, [0] * config.slots))

    @classmethod
    def read(cls, out: Path, config: CollectConfig) -> _Before:
        if not (out / "manifest.json").is_file():
            raise ConfigError(f"{out} is no dataset: it has no manifest.json")
        manifest = prepare_resume(out)
        if (manifest.env_id, manifest.policy, manifest.seed) != (config.env, config.policy, config.seed):
            raise ConfigError(
                f"{out} was collected in {manifest.env_id} by policy {manifest.policy} with seed {manifest.seed}: "
                "go on with these, or choose another --out"
            )
        if manifest.num_slots != config.slots:
            raise ConfigError(f"{out} has {manifest.num_slots} env slots; go on with --slots {manifest.num_slots}")
        ended = [0] * config.slots if config.episodes is None else count_episodes(out, config.slots)
        next_steps = dict(enumerate(manifest.next_steps()))
        limits = _limits(config, ended)
        left = [limits.next_steps[slot] - step for slot, step in next_steps.items()] if limits.next_steps else []
        left = left or list((limits.num_episodes or {}).values())
        if max(left) <= 0:
            raise ConfigError(
                f"{out} is complete ({manifest.num_rows:,} steps, {manifest.num_episodes:,} episodes): "
                "give more --steps or --episodes to add to it"
            )
        return cls(manifest, manifest.epochs[-1].seed_epoch + 1 if manifest.epochs else 0, next_steps, limits)


def _limits(config: CollectConfig, ended: list[int]) -> SlotLimits:
    if config.steps is not None:
        return SlotLimits(next_steps=config.quotas(config.steps))
    if config.episodes is None:
        raise ConfigError("give --steps or --episodes: how much to collect")
    quotas = config.quotas(config.episodes)
    return SlotLimits(num_episodes={slot: quota - ended[slot] for slot, quota in quotas.items()})


class _Job:
    """One job: collectors, the manifest, and what is shown."""

    def __init__(
        self,
        config: CollectConfig,
        console: Console,
        command_start: float,
        out: Path,
        source: PolicySource,
        specs: tuple[TimeStep, Any],
        before: _Before,
    ) -> None:
        self._config, self._console, self._out = config, console, out
        self._specs, self._server = specs, None
        self._command_start, self._source, self._before = command_start, source, before
        self._totals = _Totals()
        self._collectors: list[Any] = []

    def run(self) -> DatasetManifest:
        self._make_folder()
        self._start()
        description = self._ready()
        self._manifest = self._begin_manifest(description)
        # Not before: a folder with these two files is a dataset that can be gone on with.
        write_file(self._out / CONFIG_FILE, configuration.dump(self._config))
        self._manifest.save(self._out)
        try:
            with ProgressLine(self._console) as self._line:
                self._loop()
            self._add(self._flush())
            self._manifest = dataclasses.replace(self._manifest, finished=True)
            self._manifest.save(self._out)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        self._summarize()
        return self._manifest

    def close(self) -> None:
        for actor in [*self._collectors, *([] if self._server is None else [self._server])]:
            ray.kill(actor)
        self._collectors, self._server = [], None

    def _make_folder(self) -> None:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write into {self._out}: {error.strerror or error}") from error

    def _start(self) -> None:
        config, first = self._config, 0
        policy: Any = self._source
        if config.inference == "server":
            window_s = config.server_window_ms / 1000.0
            self._server = start_inference_server(
                self._source, *self._specs, config.slots, window_s, config.server_gpus
            )
            policy = ServedPolicySource(self._server, config.timeout_s)
        for index, num_slots in enumerate(shares(config.slots, config.collectors)):
            slots = range(first, first + num_slots)
            writer = DatasetWriterConfig(
                str(self._out.absolute()),
                f"epoch{self._before.epoch}-collector{index}",
                self._before.limits,
                {slot: self._before.next_steps[slot] for slot in slots},
                config.rows_per_shard,
                config.compression,
            )
            settings = CollectorConfig(
                index, first, num_slots, config.rollout_steps, config.seed, epoch=self._before.epoch
            )
            self._collectors.append(start_dataset_collector(settings, config.environment_factory, policy, writer))
            first += num_slots

    def _ready(self) -> CollectorDescription:
        described = self._get([actor.describe.remote() for actor in self._collectors])
        description: CollectorDescription = described[0]
        config = self._config
        self._say(f"{config.env}: {config.collectors} collectors, {config.slots} slots, {description.vectorization}")
        self._say(f"policy {config.policy}, inference by {description.inference}")
        if self._before.manifest is not None:
            self._say(f"going on after {self._before.manifest.num_rows:,} steps, epoch {self._before.epoch}")
        self._say(f"ready after {time.time() - self._command_start:.1f} s")
        return description

    def _begin_manifest(self, description: CollectorDescription) -> DatasetManifest:
        config, manifest = self._config, self._before.manifest
        if manifest is None:
            manifest = DatasetManifest(
                schema=description.schema,
                env_id=config.env,
                policy=config.policy,
                seed=config.seed,
                num_slots=config.slots,
                env_kwargs=dict(config.env_kwargs),
            )
        elif manifest.schema.to_json() != description.schema.to_json():
            raise ConfigError(f"{self._out} holds other observations, actions or infos than this env and policy give")
        manifest = dataclasses.replace(manifest, finished=False)
        return manifest.with_epoch(time.time(), self._before.epoch)

    def _loop(self) -> None:
        start = time.monotonic()
        # The reports of one collector are taken in its order: shards follow on one another. The collector that has
        # just been served goes to the end, since Ray names those first that come first.
        asked = deque(
            (actor, deque(actor.collect.remote() for _ in range(PIPELINE_DEPTH))) for actor in self._collectors
        )
        while asked:
            done, _ = ray.wait([queue[0] for _, queue in asked], num_returns=1, timeout=self._config.timeout_s)
            # If none is done in time, this says so.
            place = next((place for place, (_, queue) in enumerate(asked) if queue[0] in done), 0)
            actor, queue = asked[place]
            report: DatasetReport = self._get(queue[0], 1.0 if not done else self._config.timeout_s)
            del asked[place]
            queue.popleft()
            if not report.finished:
                queue.append(actor.collect.remote())
            if queue:
                asked.append((actor, queue))
            self._account(report, time.monotonic() - start)

    def _account(self, report: DatasetReport, seconds: float) -> None:
        self._totals.add(report)
        for fault in report.faults:
            self._say(f"env slot {fault.slot} failed in {fault.call} and was replaced: {fault.error}")
        self._add(report.shards)
        done, total, unit = self._progress()
        speed = self._totals.num_rows / max(seconds, 1e-9)
        rate = done / max(seconds, 1e-9)
        eta = (total - done) / rate if rate else math.inf
        self._line.show_text(
            f"{unit} {done:,}/{total:,} · {speed:,.0f} steps/s · {self._totals.num_episodes:,} episodes ended · "
            f"{self._manifest.num_bytes / 2**20:,.1f} MiB written · ETA {duration(eta)}"
        )

    def _progress(self) -> tuple[int, int, str]:
        """How much of this job's share is done, of how much, and of what."""
        limits = self._before.limits
        if limits.next_steps is not None:
            total = sum(limits.next_steps[slot] - step for slot, step in self._before.next_steps.items())
            return self._totals.num_rows, total, "steps"
        assert limits.num_episodes is not None
        return self._totals.num_episodes, sum(limits.num_episodes.values()), "episodes"

    def _flush(self) -> list[ShardRecord]:
        parts = self._get([actor.flush.remote() for actor in self._collectors])
        return [record for part in parts for record in part]

    def _add(self, records: list[ShardRecord]) -> None:
        # Of a job that was interrupted, reports may not have been read, or read and not been added.
        named = {shard.file for shard in self._manifest.shards}
        if records := [record for record in records if record.file not in named]:
            self._manifest = self._manifest.with_shards(records)
            self._manifest.save(self._out)

    def _interrupted(self) -> None:
        with handled(None):
            self._say("interrupted: writing what has been collected")
            self._add(self._flush())
            self._say(
                f"{self._manifest.num_rows:,} steps are whole; go on with: distpolicy collect --resume {self._out}"
            )

    def _summarize(self) -> None:
        totals, manifest = self._totals, self._manifest
        if totals.returns:
            returns, lengths = np.asarray(totals.returns), np.asarray(totals.lengths)
            half = 1.96 * float(returns.std(ddof=1)) / math.sqrt(returns.size) if returns.size > 1 else math.nan
            self._say(
                f"{returns.size:,} episodes: mean return {returns.mean():.1f} ± {half:.1f} (95 %), "
                f"min {returns.min():.1f}, max {returns.max():.1f}; mean length {lengths.mean():.1f}"
            )
        if totals.env_s:
            self._say(
                f"{totals.num_env_steps / totals.total_s * len(self._collectors):,.0f} env steps/s, "
                f"{totals.env_s / totals.total_s:.0%} of what the envs alone would do; "
                f"policy {totals.policy_s / totals.total_s:.0%} of the time"
            )
        if self._server is not None:
            server: ServerStatistics = self._get(self._server.statistics.remote())
            self._say(
                f"server: {server.num_batches:,} batches of {server.mean_rows:.1f} rows, a call waited "
                f"{server.mean_wait_s * 1000:.2f} ms for others, the policy took {server.mean_policy_s * 1000:.2f} ms"
            )
        free = shutil.disk_usage(self._out).free / 2**30
        self._say(
            f"{manifest.num_rows:,} steps, {manifest.num_episodes:,} episodes, {manifest.num_bytes / 2**20:,.1f} MiB "
            f"in {len(manifest.shards)} files ({free:,.0f} GiB free): {self._out}"
        )

    def _get(self, references: Any, timeout_s: float | None = None) -> Any:
        return answers.get(references, timeout_s or self._config.timeout_s)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class _Totals:
    """The sums over a job's reports."""

    def __init__(self) -> None:
        self.num_rows = self.num_env_steps = 0
        self.env_s = self.policy_s = self.total_s = 0.0
        self.returns: list[float] = []
        self.lengths: list[int] = []

    @property
    def num_episodes(self) -> int:
        return len(self.returns)

    def add(self, report: DatasetReport) -> None:
        self.num_rows += report.num_rows
        self.num_env_steps += report.num_env_steps
        self.env_s += report.env_s
        self.policy_s += report.policy_s
        self.total_s += report.total_s
        self.returns.extend(report.episode_returns)
        self.lengths.extend(report.episode_lengths)


def _absolute(policy: str) -> str:
    """A folder by its full path: workers have another working directory."""
    return str(Path(policy).absolute()) if Path(policy).is_dir() else policy
