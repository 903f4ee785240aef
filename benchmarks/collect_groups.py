"""Two groups of slots: a collector whose policy acts for one while the other is stepped, beside one with one group."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import ray
from collect_policies import FACTORIES
from collect_sides import in_turns

from launch.cluster import session
from workers.actors import start_inference_server
from workers.collection.collector import Collector, CollectorConfig, PolicyFactory
from workers.collection.rollout_report import RolloutReport
from workers.environments.factory import EnvironmentFactory, Vectorization
from workers.environments.probe import probe
from workers.inference.policy_source import RemotePolicySource

TIMEOUT_S = 120.0
# An idle window only delays: each server has one collector, whose rows fill a batch.
WINDOW_S = 0.002


class GroupsCase(NamedTuple):
    """A collector, with one group and with two.

    Attributes:
        env_id: The environment.
        vectorization: How it is stepped.
        num_slots: Slots of the collector.
        num_steps: Steps of a rollout, which is a turn: a tenth of a second or so.
        policy: One of :data:`collect_policies.FACTORIES`.
        kwargs: The environment's arguments.
        served: Whether the policy is on an inference server, an actor.
        needs: The packages of the environment, and what installs them.
    """

    env_id: str
    vectorization: Vectorization
    num_slots: int
    num_steps: int
    policy: str = "64x64"
    kwargs: Mapping[str, Any] = {}
    served: bool = False
    needs: Mapping[str, str] = {}

    @property
    def title(self) -> str:
        """For a table."""
        env = self.env_id.rpartition(":")[2]
        if "cost_s" in self.kwargs:
            env += f" {self.kwargs['cost_s'] * 1e6:g} µs"
        policy = f"{self.policy} on a server" if self.served else self.policy
        return f"{env} {self.vectorization} {self.num_slots}, {policy}"


_ATARI = {"ale_py": "distpolicy[atari]"}
_BUSY, _WAITING = "collect_busy_env:BusyEnv", "collect_busy_env:WaitingEnv"

CASES = (
    GroupsCase("CartPole-v1", "sync", 64, 256),
    GroupsCase("CartPole-v1", "sync", 64, 128, served=True),
    GroupsCase(_BUSY, "async", 16, 64, kwargs={"cost_s": 200e-6}),
    GroupsCase(_BUSY, "async", 16, 64, "1024x1024", kwargs={"cost_s": 200e-6}),
    GroupsCase(_WAITING, "async", 16, 64, kwargs={"cost_s": 2e-3}),
    GroupsCase(_WAITING, "async", 16, 64, "1024x1024", kwargs={"cost_s": 2e-3}),
    GroupsCase("HalfCheetah-v5", "sync", 16, 64, needs={"mujoco": "distpolicy[mujoco]"}),
    GroupsCase("ALE/Pong-v5", "vector_entry_point", 16, 16, "Nature CNN", needs=_ATARI),
    GroupsCase("ALE/Pong-v5", "vector_entry_point", 16, 16, "Nature CNN", served=True, needs=_ATARI),
)


class GroupsFigures(NamedTuple):
    """What a case came to.

    Attributes:
        case: What was measured.
        speeds: Steps a second in every turn, by the number of groups.
        env_share: Share of one group's seconds that were in the environments.
        policy_share: Likewise in the policy.
    """

    case: GroupsCase
    speeds: dict[int, np.ndarray]
    env_share: float
    policy_share: float

    @property
    def ratio(self) -> float:
        """The median over the turns of how many times as quick two groups are."""
        return float(np.median(self.speeds[2] / self.speeds[1]))


class GroupsSide:
    """A collector with a number of groups.

    Args:
        case: What is measured.
        num_groups: 1 or 2.
        policy_factory: Makes the policy.
    """

    def __init__(self, case: GroupsCase, num_groups: int, policy_factory: PolicyFactory) -> None:
        config = CollectorConfig(0, 0, case.num_slots, case.num_steps, seed=0, num_groups=num_groups)
        factory = EnvironmentFactory(case.env_id, case.vectorization, dict(case.kwargs))
        self._collector = Collector(config, factory, policy_factory)
        self._reports: list[RolloutReport] = []

    def run(self) -> float:
        """Seconds of a turn."""
        start = time.perf_counter()
        _, report = self._collector.rollout()
        self._reports.append(report)
        return time.perf_counter() - start

    def split_evenly(self) -> tuple[float, float]:
        """Shares of the seconds that were in the environments and in the policy, but for the first, which compiles."""
        reports = self._reports[1:]
        total_s = sum(report.total_s for report in reports)
        env_s, policy_s = sum(report.env_s for report in reports), sum(report.policy_s for report in reports)
        return env_s / total_s, policy_s / total_s

    def close(self) -> None:
        """Closes the environments."""
        self._collector.close()


def missing_package(case: GroupsCase) -> str | None:
    """What has to be installed for a case; None if it is there."""
    return next((package for module, package in case.needs.items() if importlib.util.find_spec(module) is None), None)


def measure(case: GroupsCase, turns: int) -> GroupsFigures:
    """Takes turns."""
    with contextlib.ExitStack() as stack:
        if case.served:
            stack.enter_context(session.connected(None))
        sides = {}
        for num_groups in (1, 2):
            policy_factory = stack.enter_context(_policy_factory(case, num_groups))
            sides[num_groups] = GroupsSide(case, num_groups, policy_factory)
            stack.callback(sides[num_groups].close)
        seconds = in_turns({str(num_groups): side.run for num_groups, side in sides.items()}, turns)
    speeds = {num_groups: case.num_slots * case.num_steps / seconds[str(num_groups)] for num_groups in sides}
    return GroupsFigures(case, speeds, *sides[1].split_evenly())


@contextlib.contextmanager
def _policy_factory(case: GroupsCase, num_groups: int) -> Iterator[PolicyFactory]:
    policy_factory = FACTORIES[case.policy]
    if not case.served:
        yield policy_factory
        return
    specs = probe(EnvironmentFactory(case.env_id, case.vectorization, dict(case.kwargs)))
    server = start_inference_server(policy_factory, *specs, case.num_slots // num_groups, WINDOW_S, {})
    try:
        yield RemotePolicySource(server, TIMEOUT_S)
    finally:
        ray.kill(server)
