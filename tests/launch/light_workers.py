"""Workers of a run without TensorFlow: collectors of canned rollouts, and a learner that checks what it is given."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import ray

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.weights import Acknowledgement
from launch.config.train import TrainConfig
from launch.supervision.collector_pool import ROLLOUT_RESTART_BUDGET, CollectorPool
from launch.supervision.faults import RunFault
from launch.supervision.local_actor import LocalActor
from launch.training.checkpoint_store import Checkpoint
from launch.training.learner_group import LearnerGroup
from launch.training.observer import TrainingObserver
from launch.training.policy_server import PolicyServer
from launch.training.totals import UpdateResult
from launch.training.trainer import Trainer
from workers.collection.evaluator import EvaluationJob, EvaluationResult
from workers.collection.rollout_report import RolloutReport
from workers.environments.base import Fault
from workers.restart_budget import RestartBudgetConfig

SLOTS, STEPS = 1, 10
STORE_BYTES = 80_000_000
# Within which workers have to come up.
START_S = 300.0
# Ray frees objects once a second, and its figures are as old; a busy machine takes longer.
_FREED_WITHIN_S, _FREED_AT_LAST_S = 3.0, 60.0


class LightCollector:
    """A collector whose rollouts say in every word whose they are, and which one.

    Args:
        index: Its number.
        generation: Its generation.
        rollout_bytes: Size of a rollout.
        first_sound_generation: Before that one it dies in its first rollout.
        rollout_s: Seconds that a rollout takes.
        evaluation_s: Seconds that an evaluation takes.
        env_fails: Whether its environment fails once in each rollout, for a reason that names the rollout.
    """

    def __init__(
        self,
        index: int,
        generation: int,
        rollout_bytes: int,
        first_sound_generation: int,
        rollout_s: float = 0.0,
        evaluation_s: float = 0.0,
        env_fails: bool = False,
    ) -> None:
        self._index, self._generation, self._size, self._number = index, generation, rollout_bytes, 0
        self._is_sound = generation >= first_sound_generation
        self._rollout_s, self._evaluation_s, self._env_fails = rollout_s, evaluation_s, env_fails

    def ping(self) -> None:
        """Does nothing."""

    def rollout(self, weights: np.ndarray) -> tuple[np.ndarray, RolloutReport]:
        """A rollout and its report, whatever the weights."""
        if not self._is_sound:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._rollout_s)
        name = self._index * 1_000_000 + self._generation * 100_000 + self._number
        failed = [Fault(self._index, 0, "step", f"rollout {self._number}", "")] if self._env_fails else []
        report = RolloutReport(
            self._index,
            self._generation,
            self._number,
            Acknowledgement("light", 0, int(weights[0]), True),
            SLOTS * STEPS,
            [],
            [],
            [],
            0.0,
            0.0,
            0.0,
            0.0,
            time.time(),
            failed,
        )
        self._number += 1
        return np.full(self._size // 4, name, np.int32), report

    def evaluate(self, weights: np.ndarray, job: EvaluationJob, program: Any) -> EvaluationResult:
        """Episodes that take their time."""
        time.sleep(self._evaluation_s)
        return EvaluationResult([1.0] * job.num_episodes, [1] * job.num_episodes, [False] * job.num_episodes)


class LightLearner:
    """A learner whose state is what it has learned from.

    Args:
        generation: Its generation.
        weights_bytes: Size of the weights.
        update_s: Seconds that an update takes.
    """

    def __init__(self, generation: int, weights_bytes: int, update_s: float) -> None:
        self._generation, self._size, self._version = generation, weights_bytes, 0
        self._update_s = update_s
        self._seen: list[int] = []

    def ping(self) -> None:
        """Does nothing."""

    def warm_up(self, num_slots: int, num_steps: int) -> float:
        """Nothing to compile."""
        return 0.0

    def weights(self) -> np.ndarray:
        """Weights that are filled with their version."""
        return np.full(self._size // 4, self._version, np.int32)

    def update(self, totals: float, *rollouts: np.ndarray, after: Any = None) -> tuple[np.ndarray, dict[str, float]]:
        """Notes the rollouts, each of which has to be whole."""
        for rollout in rollouts:
            assert np.all(rollout == rollout[0]), "a rollout is damaged"
            self._seen.append(int(rollout[0]))
        time.sleep(self._update_s)
        self._version += 1
        return self.weights(), {"policy_lag": 0.0, "update_s": self._update_s}

    def state(self, kept_parts: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """The names of the rollouts that were learned from."""
        return {"seen": np.array(self._seen), "learner/version": np.array(self._version)}


class Store(NamedTuple):
    """What Ray's object store holds, over all nodes.

    Attributes:
        memory_mib: Size of the objects in shared memory.
        mapped_mib: Size of those that found no place there and are in files, mapped.
        num_objects: How many both are.
        spilled_mib: Size of all that was spilled so far.
    """

    memory_mib: float
    mapped_mib: float
    num_objects: int
    spilled_mib: float


def store() -> Store:
    """The object store as it is now."""
    from ray._private.internal_api import memory_summary

    text = memory_summary(ray.get_runtime_context().gcs_address, stats_only=True)
    used = re.search(r"Plasma memory usage (\d+) MiB, (\d+) objects", text)
    mapped = re.search(r"Plasma filesystem mmap usage: (\d+) MiB", text)
    spilled = re.search(r"Spilled (\d+) MiB", text)
    assert used, text
    mapped_mib = float(mapped[1]) if mapped else 0.0
    return Store(float(used[1]) - mapped_mib, mapped_mib, int(used[2]), float(spilled[1]) if spilled else 0.0)


def light_driver(
    num_collectors: int,
    rollout_bytes: int,
    num_updates: int,
    watcher: Watcher,
    weights_bytes: int = 1_000,
    first_sound_generation: int = 0,
    restart_budget: RestartBudgetConfig = ROLLOUT_RESTART_BUDGET,
    update_s: float = 0.0,
    rollout_s: Callable[[int, int], float] = lambda index, generation: 0.0,
    evaluation_s: float = 0.0,
    env_fails: bool = False,
    collector_resources: Mapping[str, float] = MappingProxyType({}),
    learner_resources: Mapping[str, float] = MappingProxyType({}),
    serial: bool = False,
    server: PolicyServer | None = None,
    **settings: Any,
) -> Trainer:
    """A driver of light workers that has started.

    Args:
        num_collectors: Number of collectors.
        rollout_bytes: Size of a rollout.
        num_updates: Updates of the run.
        watcher: Is told of all.
        weights_bytes: Size of the weights.
        first_sound_generation: As for :class:`LightCollector`.
        restart_budget: Of the collectors.
        update_s: Seconds that an update takes.
        rollout_s: Returns the seconds that rollouts of an index and a generation take.
        evaluation_s: As for :class:`LightCollector`.
        env_fails: As for :class:`LightCollector`.
        collector_resources: Resources of each collector.
        learner_resources: Resources of the learner.
        serial: Whether the workers are in this process, without Ray.
        server: The inference server, which gives collectors their weights; None for no server.
        settings: Other settings of the run.
    """
    settings = {"timeout_s": START_S, **settings}
    config = TrainConfig(
        collectors=num_collectors,
        envs_per_collector=SLOTS,
        rollout_steps=STEPS,
        total_steps=num_updates * num_collectors * SLOTS * STEPS,
        target_return=None,
        agent=PPOConfig(num_minibatches=1),
        **settings,
    )
    generations = itertools.count()

    def start(worker: type, resources: Mapping[str, float], *arguments: Any) -> Any:
        if serial:
            return LocalActor(worker(*arguments))
        return ray.remote(worker).options(num_cpus=0, resources=dict(resources)).remote(*arguments)

    def start_collector(index: int, generation: int) -> Any:
        own = rollout_bytes, first_sound_generation, rollout_s(index, generation), evaluation_s, env_fails
        return start(LightCollector, collector_resources, index, generation, *own)

    pool = CollectorPool(
        start_collector,
        [range(index * SLOTS, (index + 1) * SLOTS) for index in range(num_collectors)],
        lambda: next(generations),
        START_S,
        restart_budget=restart_budget,
    )
    learners = LearnerGroup(
        lambda generation: [start(LightLearner, learner_resources, generation, weights_bytes, update_s)]
    )
    driver = Trainer(config, pool, learners, lambda: next(generations), watcher, watcher, server=server)
    driver.start()
    return driver


@dataclasses.dataclass
class Watcher(TrainingObserver):
    """Notes what a run tells, and the state that it saves.

    Attributes:
        looks: Updates after which it holds the run up, until Ray has freed what is no longer needed.
        expected: What the object store comes to before the run goes on, within a minute.
        stores: The object store after each update; after those of ``looks`` alone if there are any.
        losses: What was lost.
        state: The learner's last state.
    """

    looks: tuple[int, ...] = ()
    expected: Callable[[Store], bool] = lambda now: True
    stores: list[Store] = dataclasses.field(default_factory=list)
    losses: list[str] = dataclasses.field(default_factory=list)
    state: dict[str, np.ndarray] | None = None
    kept_parts: tuple[str, ...] = ()

    def on_update(self, result: Any) -> None:
        if self.looks:
            if result.totals.updates not in self.looks:
                return
            time.sleep(_FREED_WITHIN_S)
        # Its figures need not be of one moment: what is not as expected is looked at once more.
        now, deadline = store(), time.monotonic() + _FREED_AT_LAST_S
        while not self.expected(now) and time.monotonic() < deadline:
            time.sleep(0.5)
            now = store()
        self.stores.append(now)

    def on_fault(self, fault: Any) -> None:
        self.losses.append(f"{fault.what}: {fault.reason}")

    def save(self, state: dict[str, np.ndarray], totals: Any) -> Path:
        self.state = state
        return Path("memory")

    def load_latest(self) -> Checkpoint | None:
        return None


@dataclasses.dataclass
class Notes(TrainingObserver):
    """Notes the faults of a run and its last state, and does something after each update.

    Attributes:
        then: Called with the number of each update.
        results: The results of the updates.
        faults: What was lost.
        state: The learner's last state.
    """

    then: Callable[[int], None] = lambda update: None
    results: list[UpdateResult] = dataclasses.field(default_factory=list)
    faults: list[RunFault] = dataclasses.field(default_factory=list)
    state: dict[str, np.ndarray] | None = None
    kept_parts: tuple[str, ...] = ()

    def on_update(self, result: UpdateResult) -> None:
        self.results.append(result)
        self.then(result.totals.updates)

    def on_fault(self, fault: RunFault) -> None:
        self.faults.append(fault)

    def save(self, state: dict[str, np.ndarray], totals: Any) -> Path:
        self.state = state
        return Path("memory")

    def load_latest(self) -> Checkpoint | None:
        return None

    @property
    def learned(self) -> list[tuple[int, int, int]]:
        """Collector, generation and number of each rollout that was learned from."""
        assert self.state is not None
        names = self.state["seen"].tolist()
        return [(name // 1_000_000, name // 100_000 % 10, name % 100_000) for name in names]


@contextlib.contextmanager
def small_store(spill_folder: Path) -> Iterator[None]:
    """A Ray whose object store is as small as Ray allows, and spills to a folder."""
    here = Path(__file__).parent
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=STORE_BYTES,
        object_spilling_directory=str(spill_folder),
        runtime_env={"env_vars": {"PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}"}},
    )
    try:
        yield
    finally:
        ray.shutdown()
