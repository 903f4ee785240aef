"""TuningRun: a search for better settings, from Python."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.atomic_files import write_file
from distpolicy.utils.named_code import folder_variables
from launch.cluster import session
from launch.cluster.placement import ActorGroup, training_actors
from launch.config.codec import dump
from launch.config.presets import load_preset
from launch.config.run_specs import check_agent_is_there, run_specs
from launch.config.seal import sealed
from launch.config.tracking import TrackingConfig
from launch.config.train import TrainConfig
from launch.config.tune import NUM_REPORTS, SEARCH_FILE, TuneConfig, TuneFile, open_search
from launch.output.folder_lock import used_alone
from launch.output.run_directory import check_free, fresh_folder
from launch.output.seeds_folder import preset_of
from launch.output.writable import check_writable
from launch.training.followers import make_followers
from launch.tuning.importance import importances
from launch.tuning.journal import FAILED, JOURNAL_FILE, TrialJournal
from launch.tuning.observer import TuningObserver
from launch.tuning.results import SearchResult, search_result
from launch.tuning.samplers import make_sampler

if TYPE_CHECKING:
    import gymnasium as gym

    from distpolicy.agents.tf_agent import TFAgent
    from launch.tuning.trial import TrialSpec


class TuningRun:
    """A search for better settings of a training run, on Ray Tune. Each trial is a :class:`TrainingRun`.

    ::

        search = {"ppo.learning-rate": "loguniform 1e-4 1e-2", "ppo.num-epochs": "choice 4 8 16"}
        tuning = TuningRun(TuneConfig(search=search, steps=40_000), TrainConfig(total_steps=200_000))
        result = tuning.run()
        print(result.best.settings, result.best.score)

    The folder holds a run directory for each trial, and a journal. A search that was killed goes on from both with
    ``resume``. Trials run to their end: ``target_return`` is left out of them. Evaluations are left out, too, unless
    trials are compared by them.

    Args:
        config: The search; None for the resumed one's.
        train: The settings that it begins from; None for the resumed ones, or the defaults.
        folder: The folder to make; None for one under ``runs/``.
        resume: The folder of a search to go on with, instead of a new one.
        observer: Is told of what happens.
        env: As for :class:`launch.training.run.TrainingRun`.
        agent: Likewise.
        tracking: What follows each trial beside the files of its run.
        serial: Whether each trial is one process, with one CPU. That starts faster, and suits small environments.
        debug: Whether to show the workers' output.
        preset: As for :class:`launch.training.run.TrainingRun`; a resumed search keeps its own.

    Raises:
        ConfigError: If the input is invalid; nothing was written then.
    """

    def __init__(
        self,
        config: TuneConfig | None = None,
        train: TrainConfig | None = None,
        folder: str | Path | None = None,
        resume: str | Path | None = None,
        observer: TuningObserver | None = None,
        env: Callable[..., gym.Env] | None = None,
        agent: Callable[..., TFAgent] | None = None,
        tracking: TrackingConfig | None = None,
        serial: bool = False,
        debug: bool = False,
        preset: str | None = None,
    ) -> None:
        if resume is not None:
            if folder is not None:
                raise ConfigError("folder and resume exclude each other: a resumed search stays in its folder")
            file = open_search(Path(resume))
            config, train, serial = config or file.tune, train or file.train, file.serial
            preset = preset_of(Path(resume) / SEARCH_FILE)
        elif preset is not None:
            load_preset(preset)
        self._config, self._train = config or TuneConfig(), train or TrainConfig()
        self._space = self._config.check(self._train)
        make_sampler(self._config, self._space, self._train.seed)  # It may not be installed.
        self._observer, self._serial, self._debug = observer or TuningObserver(), serial, debug
        self._env, self._agent, self._tracking, self._preset = env, agent, tracking or TrackingConfig(), preset
        make_followers(self._tracking)  # A library may not be installed.
        self._is_resumed = resume is not None
        self._connection: contextlib.ExitStack | None = None
        self._folder = Path(resume) if resume is not None else (None if folder is None else Path(folder))
        if not self._is_resumed and self._folder is not None:
            check_free(self._folder, "folder", "--out")
        check_writable(self._folder or Path("runs"))
        if agent is None:
            check_agent_is_there(self._train)
        factory = self._train.environment_factory
        run_specs(self._train, factory if env is None else factory.with_callable(env))

    @property
    def config(self) -> TuneConfig:
        """The search."""
        return self._config

    @property
    def train(self) -> TrainConfig:
        """The settings that it begins from."""
        return self._train

    @property
    def folder(self) -> Path | None:
        """The folder of the search; None until :meth:`run` has made one."""
        return self._folder

    def run(self) -> SearchResult:
        """Runs the trials, and writes ``trials.csv``, ``best.yaml`` and the picture of what mattered.

        Raises:
            DistPolicyError: If all trials fail, or Ray does. What was done so far is kept: ``resume`` goes on.
        """
        with contextlib.ExitStack() as resources:
            if self._connection is None:
                resources.enter_context(self)
            folder = self._make_folder()
            resources.enter_context(used_alone(folder))
            journal = TrialJournal(folder / JOURNAL_FILE)
            resources.callback(journal.close)
            if note := self._config.note(self._train):
                self._observer.on_note(note)
            try:
                self._run_trials(folder, journal)
            finally:
                result = self._write(folder, journal)
            self._observer.on_end(result)
            failed = [record for record in journal.records.values() if record.state == FAILED]
            if failed and len(failed) == len(journal.records):
                raise DistPolicyError(f"all trials failed; the first: {failed[0].reason}")
            return result

    def __enter__(self) -> TuningRun:
        """Starts Ray or joins a cluster; :meth:`run` does so itself outside a ``with`` block."""
        with contextlib.ExitStack() as resources:
            address, say = self._train.address, self._observer.on_preparing
            resources.enter_context(session.connected(address, self._actors, self._debug, say))
            self._connection = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _actors(self, totals: Mapping[str, float]) -> Sequence[ActorGroup]:
        """Returns the actors of one trial, with the most collectors that it may have."""
        if self._serial:
            return ()
        searched = self._space.domains.get("collectors")
        most = self._train.collectors if searched is None else max(*searched.values, self._train.collectors)
        return training_actors(dataclasses.replace(self._train, collectors=most, learners=1), totals)

    def _make_folder(self) -> Path:
        if self._folder is None:
            try:
                self._folder = fresh_folder(Path("runs"), f"{self._train.env}-tune")
            except OSError as error:
                raise ConfigError(f"cannot write to runs: {error.strerror}") from error
        folder = self._folder = self._folder.absolute()
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        # A resumed search may have more trials than before.
        file = TuneFile(self._config, self._train, self._serial, self._preset)
        write_file(folder / SEARCH_FILE, sealed(dump(file)))
        return folder

    def _run_trials(self, folder: Path, journal: TrialJournal) -> None:
        # Imported here: Tune takes seconds.
        from launch.tuning.ray_tune import run_on_tune

        sampler = make_sampler(self._config, self._space, self._train.seed)
        spec = self._spec(folder)
        run_on_tune(self._config, spec.config, self._space, spec, journal, sampler, self._observer, folder)

    def _spec(self, folder: Path) -> TrialSpec:
        from launch.tuning.trial import TrialSpec

        config = self._config
        train = dataclasses.replace(self._train, total_steps=config.trial_steps(self._train), target_return=None)
        if not config.needs_evaluation(train):
            train = dataclasses.replace(train, eval_episodes=0, eval_every=None)
        # An exchange of a population takes the checkpoint of the same update.
        steps = config.exchange_steps(train) if config.scheduler == "pbt" else train.total_steps / NUM_REPORTS
        every = max(round(steps / train.steps_per_update), 1)
        if config.scheduler == "pbt":
            train = dataclasses.replace(train, checkpoint_every=every)
        column = config.metric_column(train)
        folder = folder / "trials"
        return TrialSpec(
            train,
            folder,
            column,
            steps,
            self._env,
            self._agent,
            self._tracking,
            self._serial,
            self._preset,
            folder_variables(),
        )

    def _write(self, folder: Path, journal: TrialJournal) -> SearchResult:
        result = search_result(
            self._config, self._train, list(journal.records.values()), folder, list(self._space.domains)
        )
        result.write()
        # Imported here: it brings a JavaScript engine along.
        from launch.tuning.picture import write_picture

        picture = write_picture(result, self._space, importances(result, self._space))
        return dataclasses.replace(result, picture=picture)
