"""run_on_tune: lets Ray Tune run the trials of a search, and notes in the journal what they do."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from distpolicy.errors import DistPolicyError
from launch.cluster.placement import ActorGroup, training_actors
from launch.config.search_space import SearchSpace
from launch.config.setting_names import with_settings
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.journal import (
    FAILED,
    FINISHED,
    STOPPED,
    Exchange,
    TrialJournal,
    TrialRecord,
    TrialReport,
    trial_name,
)
from launch.tuning.observer import TuningObserver
from launch.tuning.samplers import Sampler
from launch.tuning.schedulers import RememberingHalving, make_scheduler
from launch.tuning.searcher import TrialQueue
from launch.tuning.trial import COMPLETE, FAILURE, GIVEN, SCORE, STEPS, TRAIN_S, TrialRun, TrialSpec

_RAY_FOLDER = ".ray-tune"

# A trial whose process dies goes on from its checkpoint so often.
_MAX_DEATHS = 2

# A trace of the driver's node keeps all run directories on its disk.
_TRACE = 0.001

# The variables by which Tune leaves to this project what it does itself.
_ENVIRONMENT = {
    # Its logs beside ours.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Our handler raises KeyboardInterrupt.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A trial has no score before its first episode ends.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Trials write into run directories, wherever they are.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Its record of the search is a pickle, and is not read: the journal is.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "86400",
    # Its tables on the screen.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Failed trials are told by our own line.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def run_on_tune(
    config: TuneConfig,
    train: TrainConfig,
    space: SearchSpace,
    spec: TrialSpec,
    journal: TrialJournal,
    sampler: Sampler,
    observer: TuningObserver,
    folder: Path,
) -> None:
    """Runs the trials that are not over yet. Ray has to be there.

    Args:
        config: The search.
        train: The settings that it begins from.
        space: The searched settings.
        spec: What the trials have in common.
        journal: The trials so far.
        sampler: Chooses settings.
        observer: Is told of what happens.
        folder: The folder of the search.

    Raises:
        DistPolicyError: If Tune fails.
    """
    queue = TrialQueue(config, train, journal, sampler, list(space.domains))
    count = queue.num_waiting
    if not count:
        return
    # Tune's scheduler takes a population that is there from the start, and no searcher.
    is_population = config.scheduler == "pbt"
    records = _Records(journal, queue, observer)
    scheduler = make_scheduler(config, train, space, records.reports_before)
    if isinstance(scheduler, RememberingHalving):
        for record in journal.records.values():
            if record.is_over:
                scheduler.remember_ended(_Ended(record), record.reports)
    with _environment(), _private_folder(folder / _RAY_FOLDER) as storage:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(TrialRun, spec=spec),
                lambda trial: _resources(with_settings(train, trial[GIVEN]["settings"]), spec.serial),
            ),
            param_space={GIVEN: tune.grid_search([queue.next_trial() for _ in range(count)])} if is_population else {},
            tune_config=tune.TuneConfig(
                search_alg=None if is_population else queue,
                scheduler=scheduler,
                num_samples=1 if is_population else count,
                max_concurrent_trials=config.concurrent,
                reuse_actors=True,
                trial_name_creator=lambda trial: _name(trial),
                trial_dirname_creator=lambda trial: _name(trial),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(storage),
                callbacks=[records],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=_MAX_DEATHS),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except tune.TuneError as error:
            raise DistPolicyError(f"Ray Tune failed: {' '.join(str(error).split())}") from error


def _name(trial: Any) -> str:
    given = trial.config[GIVEN]
    return trial_name(given["sample"], given["seed"])


class _Ended:
    """Stands for a trial that is over where a scheduler wants one of Tune's."""

    def __init__(self, record: TrialRecord) -> None:
        self.trial_id = f"ended-{record.trial}"


class _Records(tune.Callback):
    """Notes in the journal what trials do, and tells the observer."""

    def __init__(self, journal: TrialJournal, queue: TrialQueue, observer: TuningObserver) -> None:
        self._journal, self._queue, self._observer = journal, queue, observer
        self._numbers: dict[str, int] = {}
        self._begun: set[int] = set()
        self._before = {trial: list(record.reports) for trial, record in journal.records.items()}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles what it is given, for a resume of its own that is not used.
        return {}

    def reports_before(self, trial: Any) -> list[TrialReport]:
        """Returns what a trial of Tune's has reported before this command began."""
        return self._before.get(trial.config[GIVEN]["trial"], [])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._record(trial)
        given = trial.config[GIVEN]
        if "source" in given:
            exchange = Exchange(record.steps, given["source"], given["settings"])
            # Tune has given it the other trial's configuration.
            own = {"trial": record.trial, "sample": record.sample, "seed": record.seed}
            trial.set_config({GIVEN: {**own, "settings": given["settings"]}})
            self._journal.exchange(record.trial, exchange)
            self._observer.on_exchange(record, exchange)
        self._journal.run(record.trial)
        if record.trial not in self._begun:
            self._begun.add(record.trial)
            self._observer.on_trial(record)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        if STEPS not in result:
            return
        record = self._record(trial)
        score = float(result.get(SCORE, math.nan))
        self._journal.report(record.trial, TrialReport(int(result[STEPS]), score, float(result[TRAIN_S])))
        self._observer.on_report(record)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result or {}
        if FAILURE in last:
            self._end(trial, FAILED, str(last[FAILURE]))
        else:
            self._end(trial, FINISHED if last.get(COMPLETE) else STOPPED)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        lines = str(trial.get_error() or "its process ended").strip().splitlines()
        self._end(trial, FAILED, " ".join(lines[-1].split()))

    def _end(self, trial: Any, state: str, reason: str = "") -> None:
        record = self._record(trial)
        self._journal.end(record.trial, state, reason)
        self._queue.note_end(record.trial)
        self._observer.on_trial_end(record)

    def _record(self, trial: Any) -> TrialRecord:
        # Its configuration may come from another trial later.
        number = self._numbers.setdefault(trial.trial_id, trial.config[GIVEN]["trial"])
        return self._journal.records[number]


def _resources(config: TrainConfig, serial: bool) -> tune.PlacementGroupFactory:
    """Returns the places of a trial: for its driver, which is on this node, and for each of its actors."""
    driver = {f"node:{ray.util.get_node_ip_address()}": _TRACE}
    if serial:
        return tune.PlacementGroupFactory([{"CPU": 1.0, **driver}])
    groups = training_actors(config, ray.cluster_resources())
    return tune.PlacementGroupFactory([driver, *_bundles(groups)])


def _bundles(groups: Sequence[ActorGroup]) -> list[dict[str, float]]:
    """Returns the resources of each actor; actors that need none have no bundle."""
    return [dict(group.resources) for group in groups for _ in range(group.least or group.count) if group.resources]


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Sets Tune's variables, and keeps its log quiet."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(_ENVIRONMENT)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _private_folder(path: Path) -> Iterator[Path]:
    """Makes a folder for what Tune writes, which nobody else can read; removes it at the end, and an older one now."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
