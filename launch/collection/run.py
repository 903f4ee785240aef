"""CollectionRun: a collect job, from its config to its dataset. The Python API of collecting."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import gymnasium as gym

from distpolicy.errors import ConfigError
from launch.cluster import session
from launch.cluster.placement import collecting_actors
from launch.collection.dataset import GrowingDataset
from launch.collection.loop import CollectionLoop
from launch.collection.observer import CollectionEnd, CollectionObserver, Observers
from launch.collection.progress import CollectionProgress
from launch.collection.resume import StartingPoint
from launch.collection.workers import CollectionWorkers
from launch.config.collect import CollectConfig
from launch.config.common import counted
from launch.config.run_specs import env_specs
from launch.output.folder_lock import used_alone
from launch.supervision.faults import RunFault
from workers.datasets.collector import CollectorDescription
from workers.datasets.manifest import DatasetManifest
from workers.inference.policy_source import PolicySource
from workers.inference.server import ServerStatistics


class CollectionRun:
    """A collect job on Ray, which runs once. It prints nothing and does not handle signals.

    ::

        with CollectionRun(CollectConfig(env="CartPole-v1", steps=10_000), out="data") as run:
            for progress in run:  # or run.run()
                print(progress.num_done, progress.num_asked)

    The constructor checks its arguments, starts Ray or joins a cluster, and returns. The collectors start with the
    first step of the iteration. They stay until :meth:`close`.

    After an interrupt (``KeyboardInterrupt``), or if the run is closed before its end, all collected steps are written;
    ``resume=True`` continues the dataset. After another error, the dataset holds the files that were finished by then.

    Args:
        config: The job's config.
        out: The dataset's folder.
        observers: Observers of the run.
        resume: Whether the run continues the dataset in the folder; otherwise the folder has to be new or empty.
        env: A class or function that returns a Gymnasium environment, instead of the one that ``config.env`` names. It
            may be defined anywhere, in a script or a notebook as well, and is called with ``config.env_kwargs``.
        debug: Whether to show the workers' output.

    Raises:
        ConfigError: If the input is invalid; nothing was written then.
        CheckpointError: If the dataset to continue is damaged.
        DistPolicyError: If Ray does not start.
    """

    def __init__(
        self,
        config: CollectConfig,
        out: str | Path,
        observers: Sequence[CollectionObserver] = (),
        resume: bool = False,
        env: Callable[..., gym.Env] | None = None,
        debug: bool = False,
    ) -> None:
        factory = config.environment_factory
        if env is not None:
            factory = factory.with_callable(env)
            config = dataclasses.replace(config, env=factory.env_id)
        self._config, self._folder = config, Path(out)
        self._observers = Observers(observers)
        inference = "auto" if config.inference == "server" else config.inference
        if not resume:
            # Before an environment is made and a policy is loaded.
            StartingPoint.new(self._folder, config)
        policy = PolicySource(_absolute(config.policy), inference, config.seed)
        specs = env_specs(factory, for_training=False)
        policy.check(specs[1], specs[0].observation)
        self._description: CollectorDescription | None = None
        with contextlib.ExitStack() as resources:
            # Given back when the collecting has ended, even if the run is not closed.
            self._lock = resources.enter_context(contextlib.ExitStack())
            before = _starting_point(self._folder, config, resume, self._lock)
            self._dataset = GrowingDataset(self._folder, config, before)
            actors = functools.partial(collecting_actors, config)
            connection = session.connected(config.address, actors, debug, self._observers.on_preparing)
            resources.enter_context(connection)
            self._workers = CollectionWorkers(config, factory, self._dataset, policy, *specs)
            resources.callback(self._dataset.close)
            resources.callback(self._workers.close)
            self._resources = resources.pop_all()
        self._loop = CollectionLoop(self._dataset, self._workers, config.timeout_s, self._observers)
        self._progress = self._collect()
        # For scripts that do not close it.
        atexit.register(self.close)

    @property
    def config(self) -> CollectConfig:
        """The settings."""
        return self._config

    @property
    def folder(self) -> Path:
        """The dataset's folder."""
        return self._folder

    @property
    def manifest(self) -> DatasetManifest:
        """The dataset's manifest.

        Raises:
            ConfigError: If the run has not begun.
        """
        return self._dataset.manifest

    @property
    def generation(self) -> int:
        """Higher than the generations of all collectors of earlier jobs; 0 for a new dataset."""
        return self._dataset.before.generation

    @property
    def description(self) -> CollectorDescription:
        """The collectors' way to step environments and to compute actions.

        Raises:
            ConfigError: If the run has not begun.
        """
        if self._description is None:
            raise ConfigError("the run has not begun: its collectors are not up")
        return self._description

    def __iter__(self) -> Iterator[CollectionProgress]:
        """Collects; yields the progress after every answer of a collector.

        Raises:
            DistPolicyError: If the run fails.
            KeyboardInterrupt: If the run is interrupted; the collected steps are written before.
        """
        return self._progress

    def run(self) -> DatasetManifest:
        """Collects everything, and closes the run.

        Returns:
            The dataset's manifest.

        Raises:
            DistPolicyError: If the run fails.
            KeyboardInterrupt: If the run is interrupted; the collected steps are written before.
        """
        with self:
            for _ in self:
                pass
        return self.manifest

    def stop(self) -> None:
        """Ends the run early, after the collected steps are written."""
        self._loop.stop()

    def close(self) -> None:
        """Ends the run, its workers and Ray, if the run has started it; may be called twice."""
        atexit.unregister(self.close)
        try:
            self._progress.close()
        finally:
            self._resources.close()

    def __enter__(self) -> CollectionRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, KeyboardInterrupt):
                # An interrupt may come between two steps of the iteration, too.
                with contextlib.suppress(KeyboardInterrupt):
                    self._progress.throw(error)
        finally:
            self.close()

    def _collect(self) -> Generator[CollectionProgress, None, None]:
        recovered = self._start()
        server: ServerStatistics | None = None
        failure: BaseException | None = None
        try:
            self._observers.on_start(self)
            for fault in recovered:
                self._observers.on_recovery(fault)
            for progress in self._loop:
                self._observers.on_progress(progress)
                yield progress
            if self._loop.is_finished:
                self._dataset.finish()
                server = self._workers.server_statistics()
            else:
                self._loop.flush()
        except GeneratorExit:
            self._loop.flush()
            raise
        except BaseException as error:
            failure = error
            if isinstance(error, KeyboardInterrupt):
                self._observers.on_interrupt()
                self._loop.flush(in_a_hurry=True)
            raise
        finally:
            self._observers.on_end(CollectionEnd(self.manifest, self._loop.totals, server, failure))
            self._lock.close()

    def _start(self) -> list[RunFault]:
        """Starts the workers and begins the dataset; returns the faults of collectors that were replaced meanwhile."""
        number = self._config.collectors
        self._observers.on_preparing(session.describe_starting(counted(number, "collector"), number))
        self._workers.start()
        recovered = self._workers.begin()
        if note := self._workers.collectors_note():
            self._observers.on_preparing(note)
        self._description = self._workers.describe()
        self._dataset.begin(self._description.schema)
        return recovered


def _starting_point(folder: Path, config: CollectConfig, resume: bool, lock: contextlib.ExitStack) -> StartingPoint:
    """Returns the point at which a job begins, once nothing else writes into its folder."""
    if resume:
        if folder.is_dir():
            lock.enter_context(used_alone(folder))
        return StartingPoint.after(folder, config)
    lock.enter_context(used_alone(folder))
    # Another job may have collected into it meanwhile.
    return StartingPoint.new(folder, config)


def _absolute(policy: str) -> str:
    """Returns the absolute path if the policy is a folder: workers have another working directory."""
    return str(Path(policy).absolute()) if Path(policy).is_dir() else policy
