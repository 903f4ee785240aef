"""Env steps a second of one collector, beside what the environment and the inference alone allow.

Three things take turns in one process with one thread, as collectors have it:

- collector: rollouts of a :class:`workers.collector.Collector` with the policy that a run builds, each with new
  weights;
- env: the same Gymnasium vector environment, made by ``gym.make_vec`` as a user would, stepped with actions that were
  drawn beforehand;
- env + NumPy: that environment with the same network's bare inference in NumPy: two tanh layers of 64, logits, a draw
  by the Gumbel-max trick and its log-probability.

All three count slots times steps, the steps that reset a slot included. Each ratio is the median over the turns of the
two figures of one turn. The goals are shares of env for environments stepped one by one, and of env + NumPy for
vectorised ones, where inference costs as much as the environment.

    python benchmarks/collect.py
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import NamedTuple

# Before TensorFlow and NumPy are imported; the same as workers/actors.py gives to collectors.
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium as gym
import numpy as np
from reporting import met, print_header, print_table

from distpolicy.weights import Weights, WeightsPacker
from launch.config import TrainConfig
from launch.factories import PolicyFactory
from workers.collector import Collector, CollectorConfig
from workers.environment_factory import EnvironmentFactory, Vectorization
from workers.environment_probe import probe

ENV_ID = "CartPole-v1"


class Case(NamedTuple):
    """One measurement.

    Attributes:
        vectorization: How the environment is stepped.
        num_slots: Slots of the collector.
        num_rollouts: Rollouts in a turn; a tenth of a second or so.
        limit: Which limit the goal is a share of.
        goal: That share.
    """

    vectorization: Vectorization
    num_slots: int
    num_rollouts: int
    limit: str
    goal: float


CASES = (
    Case("sync", 64, 4, "env", 0.8),
    Case("vector_entry_point", 64, 12, "env + NumPy", 0.3),
    Case("vector_entry_point", 1024, 4, "env + NumPy", 0.5),
)


class CollectorSide:
    """A collector, and a source of weights for it.

    Args:
        case: What is measured.
        num_steps: Steps of a rollout.
    """

    def __init__(self, case: Case, num_steps: int) -> None:
        factory = EnvironmentFactory(ENV_ID, case.vectorization)
        policy_factory = PolicyFactory(TrainConfig())
        self._collector = Collector(CollectorConfig(0, 0, case.num_slots, num_steps, seed=0), factory, policy_factory)
        self._packer = WeightsPacker(policy_factory(*probe(factory)).collect)
        self._num_rollouts = case.num_rollouts
        self._version = 0

    def weights(self) -> Weights:
        """The next version."""
        self._version += 1
        return self._packer.pack(0, self._version)

    def run(self) -> float:
        """Seconds of a turn; packing is the learner's work and not in it."""
        versions = [self.weights() for _ in range(self._num_rollouts)]
        start = time.perf_counter()
        for weights in versions:
            self._collector.rollout(weights)
        return time.perf_counter() - start


class NumpyPolicy:
    """The same network's inference, with nothing around it.

    Args:
        weights: Weights of the policy.
    """

    def __init__(self, weights: Weights) -> None:
        named = weights.named_variables()
        kernels = [item.variable for item in named if item.path.endswith("kernel")]
        biases = [item.variable for item in named if item.path.endswith("bias")]
        *self._hidden, self._output = zip(kernels, biases, strict=True)
        self._random = np.random.default_rng(0)

    def __call__(self, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 actions ``[B]`` and their float32 log-probabilities ``[B]``."""
        values = observation
        for kernel, bias in self._hidden:
            values = np.tanh(values @ kernel + bias)
        logits = values @ self._output[0] + self._output[1]
        noise = self._random.gumbel(size=logits.shape)
        action = np.argmax(logits + noise, axis=1)
        log_sum = np.log(np.sum(np.exp(logits), axis=1))
        return action, logits[np.arange(action.size), action] - log_sum


class EnvSide:
    """The environment alone, or with the NumPy policy.

    Args:
        case: What is measured.
        num_steps: Steps of a turn.
    """

    def __init__(self, case: Case, num_steps: int) -> None:
        self._env = gym.make_vec(ENV_ID, num_envs=case.num_slots, vectorization_mode=case.vectorization)
        self._observation, _ = self._env.reset(seed=0)
        self._actions = np.random.default_rng(0).integers(2, size=(num_steps, case.num_slots))

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


def measure(case: Case, rollout_steps: int, repeats: int) -> dict[str, np.ndarray]:
    """Steps a second of each side in every turn."""
    num_steps = case.num_rollouts * rollout_steps
    collector = CollectorSide(case, rollout_steps)
    env, env_with_policy = EnvSide(case, num_steps), EnvSide(case, num_steps)
    policy = NumpyPolicy(collector.weights())
    sides: dict[str, Callable[[], float]] = {
        "collector": collector.run,
        "env": env.run,
        "env + NumPy": lambda: env_with_policy.run_policy(policy),
    }
    for run in sides.values():
        run()  # compiles, and fills caches
    seconds = {name: np.zeros(repeats) for name in sides}
    for turn in range(repeats):
        for name, run in sides.items():
            seconds[name][turn] = run()
    return {name: num_steps * case.num_slots / values for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rollout-steps", type=int, default=32, help="steps of a rollout")
    parser.add_argument("--repeats", type=int, default=60, help="turns of each side")
    arguments = parser.parse_args()
    print_header(f"collecting {ENV_ID} in one process with one thread", ["tensorflow", "gymnasium", "numpy"])
    rows, missed = [], 0
    for case in CASES:
        speeds = measure(case, arguments.rollout_steps, arguments.repeats)
        ratios = {name: float(np.median(speeds["collector"] / speeds[name])) for name in ("env", "env + NumPy")}
        reached = ratios[case.limit] >= case.goal
        missed += not reached
        rows.append(
            [
                f"{case.vectorization}, {case.num_slots} slots",
                *(f"{np.median(values):,.0f}" for values in speeds.values()),
                *(f"{ratio:.2f}" for ratio in ratios.values()),
                f">= {case.goal} of {case.limit}",
                met(reached),
            ]
        )
    columns = ["case", "collector/s", "env/s", "env + NumPy/s", "of env", "of env + NumPy", "goal", ""]
    print_table(columns, rows)
    print(f"{len(rows) - missed} of {len(rows)} goals met")


if __name__ == "__main__":
    main()
