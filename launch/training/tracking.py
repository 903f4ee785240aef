"""Tracker: sends a run's figures to a service, in a thread of its own: the service cannot slow or end the run."""

from __future__ import annotations

import abc
import importlib.util
import queue
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from distpolicy.errors import ConfigError, DistPolicyWarning
from distpolicy.utils.error_text import one_line
from launch.config.codec import to_dict
from launch.output.tensorboard_names import evaluation_figures, training_figures
from launch.training.evaluation import evaluation_metrics
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult

# Figures of so many updates wait at most; more are left out while the service is slow.
_MAX_WAITING = 1000

# Seconds that the end of a run waits for the service.
_END_S = 30.0


class Tracker(TrainingObserver):
    """Follows a run for a service. A failure of the service is one warning, and the run goes on without it.

    The figures have the tags that they have in TensorBoard. All methods that a subclass defines are called in the
    tracker's own thread, and may raise anything.

    Attributes:
        service: The service's name, for messages.
        library: The module that it needs.
        extra: The extra of this package that installs it.
    """

    service: str
    library: str
    extra: str

    def __init__(self) -> None:
        if importlib.util.find_spec(self.library) is None:
            raise ConfigError(f"{self.service} needs {self.library}: pip install 'distpolicy[{self.extra}]'")
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._num_left_out = 0

    @abc.abstractmethod
    def begin(self, run: ObservedRun, settings: Mapping[str, Any]) -> None:
        """Begins a run of the service's, or goes on with it.

        Args:
            run: The run.
            settings: Its settings by names such as ``agent.learning_rate``.
        """

    @abc.abstractmethod
    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Sends figures by tag, at a step of the run."""

    @abc.abstractmethod
    def finish(self, error: BaseException | None) -> None:
        """Ends the service's run; ``error`` is what ended ours, if anything."""

    def on_start(self, run: ObservedRun) -> None:
        settings = flat_settings(to_dict(run.config))
        self._put(lambda: self.begin(run, settings))
        self._thread = threading.Thread(target=self._work, name=f"distpolicy-{self.library}", daemon=True)
        self._thread.start()

    def on_update(self, result: UpdateResult) -> None:
        figures, step = training_figures(result.metrics), result.totals.steps
        self._put(lambda: self.log(figures, step))

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        figures = evaluation_figures(evaluation_metrics([result]))
        self._put(lambda: self.log(figures, totals.steps))

    def on_end(self, end: RunEnd) -> None:
        if self._thread is None:
            return
        try:
            self._waiting.put(lambda: self.finish(end.error), timeout=_END_S)
            self._waiting.put(None, timeout=_END_S)
            self._thread.join(_END_S)
        except queue.Full:
            pass
        if self._thread.is_alive():
            self._warn(f"has not taken all figures in {_END_S:g} s; the rest is left out")
        elif self._num_left_out:
            self._warn(f"was too slow for {self._num_left_out} updates, which it lacks")

    def _put(self, call: Callable[[], None]) -> None:
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            self._num_left_out += 1

    def _work(self) -> None:
        has_failed = False
        while (call := self._waiting.get()) is not None:
            if has_failed:
                continue
            try:
                call()
            except Exception as error:  # The service's library may raise anything.
                has_failed = True
                self._warn(f"failed: {type(error).__name__}: {one_line(error)}; the run goes on without it")

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.service} {what}", DistPolicyWarning, stacklevel=2)


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested settings by names such as ``agent.learning_rate``. Those that are None are left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and name not in ("env_kwargs", "kwargs"):
            found |= flat_settings(value, f"{prefix}{name}.")
        elif value is not None:
            found[f"{prefix}{name}"] = value
    return found
