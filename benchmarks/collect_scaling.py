"""Collectors on Ray: what two of them reach of twice an environment's own rate, by the cost of its step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import ray
from collect_policies import FACTORIES
from collect_sides import Case, OwnEnvSide

from launch.cluster import session
from launch.supervision import calls
from workers.actors import start_collector
from workers.collection.collector import CollectorConfig
from workers.environments.factory import EnvironmentFactory

NUM_COLLECTORS = 2
SLOTS_EACH = 32
ENV_ID = "collect_busy_env:BusyEnv"
TIMEOUT_S = 120.0
# Rollouts of each collector in a turn; the next one is asked for before the last one is there.
NUM_ROLLOUTS = 4
PIPELINE_DEPTH = 2


class Cost(NamedTuple):
    """An environment of one cost.

    Attributes:
        step_s: Seconds of a step.
        num_steps: Steps of a rollout: a fifth of a second or so.
    """

    step_s: float
    num_steps: int


COSTS = (Cost(0.0, 512), Cost(50e-6, 128), Cost(500e-6, 16), Cost(5e-3, 2))


class Efficiency(NamedTuple):
    """What the collectors reached.

    Attributes:
        cost: The environment's cost.
        env_speeds: Steps a second of one environment alone, in each turn.
        speeds: Of the collectors together.
    """

    cost: Cost
    env_speeds: np.ndarray
    speeds: np.ndarray

    @property
    def ratio(self) -> float:
        """The median over the turns of the share of the environments' own rate."""
        return float(np.median(self.speeds / (NUM_COLLECTORS * self.env_speeds)))


def measure(turns: int) -> Iterator[Efficiency]:
    """Takes turns for each cost: the environment alone in this process, then the collectors."""
    with session.connected(None):
        for cost in COSTS:
            yield _measure(cost, turns)


def _measure(cost: Cost, turns: int) -> Efficiency:
    factory = EnvironmentFactory(ENV_ID, "sync", {"cost_s": cost.step_s})
    env = OwnEnvSide(Case(ENV_ID, "sync", SLOTS_EACH, 1, "env", None, num_steps=cost.num_steps), factory)
    actors = [
        start_collector(
            CollectorConfig(index, index * SLOTS_EACH, SLOTS_EACH, cost.num_steps, seed=0), factory, FACTORIES["64x64"]
        )
        for index in range(NUM_COLLECTORS)
    ]
    try:
        _collect(actors, cost)  # starts the processes, and compiles
        env_speeds, speeds = np.zeros(turns), np.zeros(turns)
        for turn in range(turns):
            env_speeds[turn] = SLOTS_EACH * cost.num_steps / env.run()
            speeds[turn] = _collect(actors, cost)
    finally:
        for actor in actors:
            ray.kill(actor)
        env.close()
    return Efficiency(cost, env_speeds, speeds)


def _collect(actors: list[Any], cost: Cost) -> float:
    """Steps a second of a turn: every collector's rollouts, asked for as the driver does."""
    start = time.perf_counter()
    waiting: dict[Any, Any] = {}
    for actor in actors:
        for _ in range(PIPELINE_DEPTH):
            waiting[_ask(actor)] = actor
    left = dict.fromkeys(actors, NUM_ROLLOUTS - PIPELINE_DEPTH)
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=TIMEOUT_S)
        report = done[0] if done else next(iter(waiting))
        calls.get(report, TIMEOUT_S)
        actor = waiting.pop(report)
        if left[actor]:
            left[actor] -= 1
            waiting[_ask(actor)] = actor
    num_steps = len(actors) * NUM_ROLLOUTS * SLOTS_EACH * cost.num_steps
    return num_steps / (time.perf_counter() - start)


def _ask(actor: Any) -> Any:
    """Asks for a rollout; its report's reference. The data stay in the object store until nobody refers to them."""
    _, report = actor.rollout.options(num_returns=2).remote()
    return report
