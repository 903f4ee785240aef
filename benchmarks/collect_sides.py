"""What takes turns in benchmarks/collect.py: a collector, the environment alone, and it with bare inference."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from collect_policies import FACTORIES, NumpyPolicy

from distpolicy.weights import Weights, WeightsPacker
from workers.collection.collector import Collector, CollectorConfig, PolicyFactory
from workers.environments.factory import EnvironmentFactory, Vectorization
from workers.environments.probe import probe


class Case(NamedTuple):
    """A collector in one process, beside its limits.

    Attributes:
        env_id: The environment.
        vectorization: How it is stepped.
        num_slots: Slots of the collector.
        num_rollouts: Rollouts in a turn.
        limit: Which limit the goal is a share of: ``env`` or ``env + NumPy``.
        goal: That share; None if it is only reported.
        policy: One of :data:`collect_policies.FACTORIES`.
        num_steps: Steps of a rollout.
        most_turns: Turns are no more than these.
        needs: The packages of the environment, and what installs them.
    """

    env_id: str
    vectorization: Vectorization
    num_slots: int
    num_rollouts: int
    limit: Literal["env", "env + NumPy"]
    goal: float | None
    policy: str = "64x64"
    num_steps: int = 32
    most_turns: int = 1000
    needs: Mapping[str, str] = {}

    @property
    def steps_in_turn(self) -> int:
        """Steps of each slot in a turn."""
        return self.num_rollouts * self.num_steps


class CollectorSide:
    """A collector, and a source of weights for it.

    Args:
        case: What is measured.
        policy_factory: Makes the policies; None for the case's.
    """

    def __init__(self, case: Case, policy_factory: PolicyFactory | None = None) -> None:
        factory = EnvironmentFactory(case.env_id, case.vectorization)
        policy_factory = policy_factory or FACTORIES[case.policy]
        config = CollectorConfig(0, 0, case.num_slots, case.num_steps, seed=0)
        self._collector = Collector(config, factory, policy_factory)
        self._packer = WeightsPacker(policy_factory(*probe(factory)).collect)
        self._num_rollouts = case.num_rollouts
        self._version = 0
        self.env_s = self.policy_s = self.total_s = 0.0

    @property
    def inference(self) -> str:
        """What the policy's actions are computed by, and why not by LiteRT."""
        policy = self._collector.policy
        return f"{policy.inference} ({policy.inference_note})" if policy.inference_note else policy.inference

    def weights(self) -> Weights:
        """The next version."""
        self._version += 1
        return self._packer.pack(0, self._version)

    def run(self) -> float:
        """Seconds of a turn; packing is the learner's work and not in it."""
        versions = [self.weights() for _ in range(self._num_rollouts)]
        start = time.perf_counter()
        for weights in versions:
            _, report = self._collector.rollout(weights)
            self.env_s += report.env_s
            self.policy_s += report.policy_s
            self.total_s += report.total_s
        return time.perf_counter() - start

    def close(self) -> None:
        """Closes the environments."""
        self._collector.close()


class OwnEnvSide:
    """The environment as collectors have it, stepped alone.

    Args:
        case: What is measured.
        factory: Makes the environment; None for the case's.
    """

    def __init__(self, case: Case, factory: EnvironmentFactory | None = None) -> None:
        factory = factory or EnvironmentFactory(case.env_id, case.vectorization)
        self._env = factory(case.num_slots)
        self._env.reset(list(range(case.num_slots)))
        self._actions = _actions(self._env.action_space, case)

    def run(self) -> float:
        """Seconds of a turn with actions drawn beforehand."""
        start = time.perf_counter()
        for action in self._actions:
            self._env.step(action)
        return time.perf_counter() - start

    def close(self) -> None:
        """Closes the environments."""
        self._env.close()


class PlainEnvSide:
    """The vector environment that a user makes, alone or with bare inference.

    Args:
        case: What is measured.
    """

    def __init__(self, case: Case) -> None:
        self._env: Any
        if case.vectorization == "envpool":
            import envpool

            self._env = envpool.make_gymnasium(case.env_id, num_envs=case.num_slots, num_threads=1, seed=0)
            self._observation, _ = self._env.reset()
            space = self._env.action_space
        else:
            self._env = gym.make_vec(case.env_id, num_envs=case.num_slots, vectorization_mode=case.vectorization)
            self._observation, _ = self._env.reset(seed=0)
            space = self._env.single_action_space
        self._actions = _actions(space, case)

    def run(self) -> float:
        """Seconds of a turn with actions drawn beforehand."""
        start = time.perf_counter()
        for action in self._actions:
            self._env.step(action)
        return time.perf_counter() - start

    def run_policy(self, policy: NumpyPolicy) -> float:
        """Seconds of a turn with the policy's actions."""
        start = time.perf_counter()
        for _ in self._actions:
            action, _ = policy(self._observation)
            self._observation = self._env.step(action)[0]
        return time.perf_counter() - start

    def close(self) -> None:
        """Closes the environments."""
        self._env.close()


def in_turns(sides: Mapping[str, Callable[[], float]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of each side in every turn, after one that is not counted: it compiles, and fills caches."""
    for run in sides.values():
        run()
    seconds = {name: np.zeros(turns) for name in sides}
    for turn in range(turns):
        for name, run in sides.items():
            seconds[name][turn] = run()
    return seconds


class Figures(NamedTuple):
    """What a case came to.

    Attributes:
        speeds: Steps a second of each side in every turn, ``env`` being the faster of the environments alone.
        env_name: Which one that is.
        inference: What the policy's actions were computed by.
        env_share: Share of the collector's seconds that were in the environments.
        policy_share: Likewise in the policy.
    """

    speeds: dict[str, np.ndarray]
    env_name: str
    inference: str
    env_share: float
    policy_share: float

    def ratio(self, limit: str) -> float:
        """The median over the turns of the collector's share of a limit."""
        return float(np.median(self.speeds["collector"] / self.speeds[limit]))


def measure(case: Case, turns: int) -> Figures:
    """Takes turns."""
    collector, own = CollectorSide(case), OwnEnvSide(case)
    sides: dict[str, Callable[[], float]] = {"collector": collector.run, "own": own.run}
    opened: list[Any] = [collector, own]
    # Atari's frames are prepared: what a user makes of such an environment is what ours makes.
    if not case.env_id.startswith("ALE/"):
        plain = PlainEnvSide(case)
        sides["plain"] = plain.run
        opened.append(plain)
    if case.env_id == "CartPole-v1" and case.policy == "64x64":
        with_policy, policy = PlainEnvSide(case), NumpyPolicy(collector.weights())
        sides["env + NumPy"] = lambda: with_policy.run_policy(policy)
        opened.append(with_policy)
    try:
        seconds = in_turns(sides, min(turns, case.most_turns))
    finally:
        for side in opened:
            side.close()
    speeds = {name: case.steps_in_turn * case.num_slots / values for name, values in seconds.items()}
    alone = [name for name in ("own", "plain") if name in speeds]
    faster = max(alone, key=lambda name: float(np.median(speeds[name])))
    env_name = "ours" if faster == "own" else ("EnvPool's" if case.vectorization == "envpool" else "Gymnasium's")
    kept = {"collector": speeds["collector"], "env": speeds[faster]}
    if "env + NumPy" in speeds:
        kept["env + NumPy"] = speeds["env + NumPy"]
    total = collector.total_s
    return Figures(kept, env_name, collector.inference, collector.env_s / total, collector.policy_s / total)


def _actions(space: gym.Space, case: Case) -> list[Any]:
    """Actions ``[B, ...]`` for each step of a turn."""
    batched = gym.vector.utils.batch_space(space, case.num_slots)
    batched.seed(0)
    return [batched.sample() for _ in range(case.steps_in_turn)]
