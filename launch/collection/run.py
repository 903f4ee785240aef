"""The collect command: a policy in many envs, and its data on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from distpolicy.errors import ConfigError, DistPolicyError, EnvironmentCrashedError, WorkerLostError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.atomic_files import write_file
from launch.cluster import session
from launch.cluster.placement import COLLECTOR, SERVER, collecting_actors
from launch.collection.collector_loss import describe_loss
from launch.collection.collector_seat import CollectorSeat
from launch.collection.resume import StartingPoint, is_anything_left, limits_left
from launch.collection.summary import progress, summary
from launch.config.codec import dump
from launch.config.collect import CollectConfig
from launch.config.common import split_evenly
from launch.output.progress_line import ProgressLine
from launch.signals import handled, interrupt
from launch.supervision import calls
from launch.supervision.actor_errors import is_death
from launch.supervision.faults import collector_name, note_fault
from workers.actors import start_dataset_collector, start_inference_server
from workers.collection.collector import CollectorConfig
from workers.collection.watchdog import Hang, read_hang
from workers.datasets.collector import CollectorDescription, DatasetReport, DatasetWriterConfig
from workers.datasets.episode_index import SlotLimits
from workers.datasets.manifest import DatasetManifest, ShardRecord, remove_unnamed, stacks_file
from workers.environments.probe import probe
from workers.inference.policy_source import PolicySource, RemotePolicySource

CONFIG_FILE = "config.yaml"


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
    before = StartingPoint.after(out, config) if resume else StartingPoint.new(out, config)
    actors = functools.partial(collecting_actors, config)
    with handled(interrupt), session.connected(config.address, actors, debug), handled(interrupt):
        job = _Job(config, console, command_start, out, source, specs, before)
        try:
            return job.run()
        finally:
            job.close()


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
        before: StartingPoint,
    ) -> None:
        self._config, self._console, self._out = config, console, out
        self._specs, self._server = specs, None
        self._command_start, self._before = command_start, before
        self._policy: PolicySource | RemotePolicySource = source
        self._factory = config.environment_factory
        groups = collecting_actors(config, ray.cluster_resources())
        self._resources = {group.name: group.resources for group in groups}
        ends = list(itertools.accumulate(split_evenly(config.num_envs, config.collectors)))
        self._seats = [
            CollectorSeat(index, range(first, end), self._factory.rebuilds)
            for index, (first, end) in enumerate(itertools.pairwise([0, *ends]))
        ]

    def run(self) -> DatasetManifest:
        self._start()
        self._manifest = self._begin_manifest(self._ready())
        self._begin_folder()
        try:
            with ProgressLine(self._console) as self._line:
                self._loop()
            self._manifest = dataclasses.replace(self._manifest, finished=True)
            self._manifest.save(self._out)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        self._summarize()
        return self._manifest

    def close(self) -> None:
        for seat in self._seats:
            seat.empty(0.0)
            with contextlib.suppress(OSError):
                stacks_file(self._out, seat.name).unlink(missing_ok=True)
        if self._server is not None:
            ray.kill(self._server)
            self._server = None

    def _start(self) -> None:
        config, before = self._config, self._before
        if config.inference == "server":
            window_s = config.server_window_ms / 1000.0
            # A batch is one group of every collector: to wait for more would be to wait the window out.
            rows = sum(-(-len(seat.slots) // config.env_groups) for seat in self._seats)
            self._server = start_inference_server(self._policy, *self._specs, rows, window_s, self._resources[SERVER])
            self._policy = RemotePolicySource(self._server, config.timeout_s)
        for seat in self._seats:
            self._fill(seat, before.generation, before.next_steps, before.limits)

    def _fill(self, seat: CollectorSeat, generation: int, next_steps: Sequence[int], limits: SlotLimits) -> None:
        """Starts a collector in a seat."""
        config, slots = self._config, seat.slots
        name = collector_name(seat.index, generation)
        writer = DatasetWriterConfig(
            str(self._out.absolute()),
            name,
            limits,
            {slot: next_steps[slot] for slot in slots},
            config.rows_per_shard,
            config.compression,
        )
        settings = CollectorConfig(
            seat.index,
            slots[0],
            len(slots),
            config.rollout_steps,
            config.seed,
            generation=generation,
            num_groups=config.env_groups,
        )
        seat.fill(
            start_dataset_collector(settings, self._factory, self._policy, writer, self._resources[COLLECTOR]),
            name,
            generation,
        )

    def _ready(self) -> CollectorDescription:
        described = self._get([seat.actor.describe.remote() for seat in self._seats])
        description: CollectorDescription = described[0]
        config = self._config
        self._say(f"{config.env}: {config.collectors} collectors, {config.num_envs} envs, {description.vectorization}")
        self._say(f"policy {config.policy}, inference by {description.inference}")
        if self._before.manifest is not None:
            self._say(f"going on after {self._before.manifest.num_rows:,} steps, generation {self._before.generation}")
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
                num_slots=config.num_envs,
                env_kwargs=dict(config.env_kwargs),
            )
        elif manifest.schema.to_json() != description.schema.to_json():
            raise ConfigError(f"{self._out} holds other observations, actions or infos than this env and policy give")
        manifest = dataclasses.replace(manifest, finished=False)
        return manifest.with_generation(time.time(), self._before.generation)

    def _begin_folder(self) -> None:
        # Not before: a folder with these two files is a dataset that can be gone on with.
        write_file(self._out / CONFIG_FILE, dump(self._config))
        self._manifest.save(self._out)

    def _loop(self) -> None:
        begun = time.monotonic()
        # The seat that has just been served goes to the end, since Ray names those first that come first.
        waiting = deque(self._seats)
        for seat in waiting:
            seat.begin()
        while waiting:
            seat = self._next(waiting)
            waiting.remove(seat)
            self._serve(seat)
            if not seat.finished:
                waiting.append(seat)
            tallies = [seat.tally for seat in self._seats]
            text = progress(tallies, self._before, self._manifest.num_bytes, time.monotonic() - begun)
            self._line.show_text(text)

    def _next(self, waiting: Sequence[CollectorSeat]) -> CollectorSeat:
        """A seat with an answer, or one that is due for another collector.

        Raises:
            WorkerLostError: If a collector has not answered for too long.
        """
        timeout_s = self._config.timeout_s
        while True:
            next_up = min(waiting, key=lambda seat: seat.seconds_left(timeout_s))
            wait_s = next_up.seconds_left(timeout_s)
            if next_up.actor is None and not wait_s:
                return next_up
            asked = {seat.next_answer: seat for seat in waiting if seat.actor is not None}
            if not asked:
                time.sleep(wait_s)
            elif done := ray.wait(list(asked), num_returns=1, timeout=wait_s)[0]:
                return asked[done[0]]
            elif next_up.actor is not None:
                raise WorkerLostError(
                    f"no answer from {next_up} in {timeout_s:g} s; raise timeout_s if its work takes longer"
                )

    def _serve(self, seat: CollectorSeat) -> None:
        """Takes what a seat's collector answers, or gives it another one."""
        if seat.actor is None:
            self._replace(seat)
            return
        try:
            answer: DatasetReport | list[ShardRecord] = self._get(seat.next_answer)
        except DistPolicyError as error:
            if not is_death(error):
                raise
            self._lose(seat, error)
            return
        if isinstance(answer, DatasetReport):
            seat.answered(collects_more=not answer.finished)
            self._account(seat, answer)
        else:
            self._add(seat, answer)
            seat.finished = True

    def _account(self, seat: CollectorSeat, report: DatasetReport) -> None:
        seat.tally.add(report)
        for fault in report.faults:
            line = f"env slot {fault.slot} failed in {fault.call} and was replaced: {fault.error}"
            self._say(line)
            note_fault(self._out, seat.name, line, fault.traceback)
        self._add(seat, report.shards)

    def _lose(self, seat: CollectorSeat, error: DistPolicyError) -> None:
        """Notes that a seat's collector is dead, and takes back what went with it.

        Raises:
            EnvironmentCrashedError: If it hung, and the seat's budget is used up.
            WorkerLostError: If it died otherwise, and likewise.
        """
        what, hang = self._note_loss(seat, error)
        num_lost = seat.tally.take_back()
        # Steps that stayed: replacements that come to nothing all count.
        is_borne = seat.budget.take(seat.tally.num_rows // len(seat.slots))
        seat.empty(seat.budget.wait_s)
        remove_unnamed(self._out, self._manifest, seat.name)
        if is_borne:
            self._say(f"{what}; replaced, {num_lost:,} steps are collected again")
            return
        if num_recent := seat.budget.num_recent:
            what += f"; it was replaced {num_recent} times within {self._factory.rebuilds.window_steps:,} steps"
        if hang is not None:
            raise EnvironmentCrashedError(what, traceback=hang.stacks) from error
        raise WorkerLostError(what) from error

    def _note_loss(self, seat: CollectorSeat, error: DistPolicyError) -> tuple[str, Hang | None]:
        """What became of a seat's collector, in one line; more of it is in a file that the line names."""
        hang = read_hang(stacks_file(self._out, seat.name))
        what = describe_loss(self._config, seat, hang, error)
        path = note_fault(self._out, seat.name, what, hang.stacks if hang else str(error.__cause__))
        return f"{what}; see {path}" if path else what, hang

    def _replace(self, seat: CollectorSeat) -> None:
        """Gives a seat another collector, which goes on where the manifest's shards end."""
        next_steps, limits = self._manifest.next_steps(), limits_left(self._out, self._config)
        if not is_anything_left(limits, next_steps, seat.slots):
            seat.finished = True
            return
        generation = self._manifest.generations[-1].seed_generation + 1
        self._manifest = self._manifest.with_generation(time.time(), generation, seat.slots)
        self._manifest.save(self._out)
        self._fill(seat, generation, next_steps, limits)
        seat.begin()

    def _add(self, seat: CollectorSeat, records: Sequence[ShardRecord]) -> None:
        # Those that a collector names at its end were in its reports too, unless nobody has read these.
        named = {shard.file for shard in self._manifest.shards}
        if records := [record for record in records if record.file not in named]:
            self._manifest = self._manifest.with_shards(records)
            self._manifest.save(self._out)
            seat.tally.settle(records)

    def _interrupted(self) -> None:
        with handled(None):
            self._say("interrupted: writing what has been collected")
            asked = [
                (seat, seat.actor.flush.remote())
                for seat in self._seats
                if seat.actor is not None and not seat.finished
            ]
            for seat, answer in asked:
                try:
                    self._add(seat, self._get(answer))
                except DistPolicyError as error:
                    if not is_death(error):
                        raise
                    self._say(f"{self._note_loss(seat, error)[0]}; what it had not made whole is lost")
            self._say(
                f"{self._manifest.num_rows:,} steps are whole; go on with: distpolicy collect --resume {self._out}"
            )

    def _summarize(self) -> None:
        server = None if self._server is None else self._get(self._server.statistics.remote())
        for line in summary([seat.tally for seat in self._seats], server, self._manifest, self._out):
            self._say(line)

    def _get(self, references: Any) -> Any:
        return calls.get(references, self._config.timeout_s)

    def _say(self, text: str) -> None:
        self._console.print(text)


def _absolute(policy: str) -> str:
    """A folder by its full path: workers have another working directory."""
    return str(Path(policy).absolute()) if Path(policy).is_dir() else policy
