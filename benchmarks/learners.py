"""What several learners cost and bring: an update with one and with two, and adding up over processes.

- sums: milliseconds to add up a vector over two processes on this machine, for the gradient of a small network and for
  one of a million numbers: by TensorFlow's collective operation in a loop of a graph, as learners do; by the replica
  context of MultiWorkerMirroredStrategy, which stands on it; and by numpy arrays that actors send each other through
  Ray's object store. ray.util.collective has no row: its backends want torch or cupy, and take their arrays.
- updates: milliseconds of an update by one learner with XLA, by one without, and by two with half of the rollouts each
  and XLA between their collectives; and of the latter how much is adding up gradients.

What is compared takes turns; each ratio is the median of those of the turns. On one machine two learners share its
cores, which the one has for itself: what they bring is to be seen where each has its own.

    python benchmarks/learners.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")

import numpy as np
import ray
from reporting import print_header, print_table

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.rollout import Rollout, zero_rollout
from distpolicy.trajectories.time_step import StepType
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory
from launch.training.learner_group import LearnerGroup
from workers.actors import start_learners
from workers.learning.replica import LearnerReplica

TIMEOUT_S = 600.0
SIZES = {"small network": 9_155, "a million": 1_000_000}


@dataclass(frozen=True)
class Task:
    """An update to be timed."""

    name: str
    observation_size: int
    config: TrainConfig


def tasks() -> list[Task]:
    small = TrainConfig(
        collectors=2,
        envs_per_collector=16,
        rollout_steps=64,
        compile_cache=False,
        network=NetworkConfig(actor_units=(64, 64)),
        agent=PPOConfig(num_epochs=4, num_minibatches=4),
    )
    large = replace(small, network=NetworkConfig(actor_units=(680, 680)))
    recurrent = replace(
        small,
        network=NetworkConfig(recurrent="lstm", recurrent_units=(64,), actor_units=()),
        agent=replace(small.agent, sequence_length=16),
    )
    return [Task("64-64", 4, small), Task("680-680, 1M parameters", 64, large), Task("LSTM 64", 4, recurrent)]


class Adder:
    """One of several processes that add up vectors by TensorFlow."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    address = LearnerReplica.address

    def join(self, *addresses: str) -> None:
        from distpolicy.agents.replicas import Replicas

        self._replicas = Replicas(addresses, self._rank)
        self._functions: dict[tuple[str, int], Callable[[], Any]] = {}

    def collective(self, size: int, count: int) -> float:
        """Milliseconds of a sum by the operation in a loop."""
        import tensorflow as tf

        def one(index: Any, vector: Any) -> tuple[Any, Any]:
            return index + 1, self._replicas.all_sum(vector) * 0.5

        def loop() -> Any:
            return tf.while_loop(lambda index, _: index < count, one, (tf.constant(0), tf.ones([size])))[1]

        function = self._traced(("collective", size), loop)
        start = time.perf_counter()
        function().numpy()
        return 1e3 * (time.perf_counter() - start) / count

    def replica_context(self, size: int, count: int) -> float:
        """Milliseconds of a sum by the strategy."""
        import tensorflow as tf

        def add() -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.ones([size]))

        strategy = self._replicas._strategy
        function = self._traced(("replica context", size), lambda: strategy.run(add))
        start = time.perf_counter()
        for _ in range(count):
            function().numpy()
        return 1e3 * (time.perf_counter() - start) / count

    def _traced(self, key: tuple[str, int], function: Callable[[], Any]) -> Callable[[], Any]:
        import tensorflow as tf

        if key not in self._functions:
            self._functions[key] = tf.function(function, autograph=False)
            self._functions[key]()
        return self._functions[key]


class Sender:
    """One of two processes that add up vectors by sending them to each other."""

    def __init__(self) -> None:
        self._arrived: dict[int, np.ndarray] = {}
        self._changed = threading.Condition()

    def deliver(self, number: int, vector: np.ndarray) -> None:
        """Takes the vector of the other."""
        with self._changed:
            self._arrived[number] = vector
            self._changed.notify_all()

    def object_store(self, size: int, count: int, first: int, other: Any) -> float:
        """Milliseconds of a sum by vectors sent from actor to actor."""
        vector = np.ones(size, np.float32)
        start = time.perf_counter()
        for number in range(first, first + count):
            other.deliver.remote(number, vector)
            with self._changed:
                self._changed.wait_for(lambda number=number: number in self._arrived)
                vector = (vector + self._arrived.pop(number)) * 0.5
        return 1e3 * (time.perf_counter() - start) / count


def time_sums(turns: int) -> dict[tuple[str, str], float]:
    """Prints the table of sums; milliseconds by the way and the size."""
    options: dict[str, Any] = {"num_cpus": 0, "runtime_env": {"env_vars": _ENVIRONMENT}}
    adders = [ray.remote(Adder).options(**options).remote(rank) for rank in range(2)]
    senders = [ray.remote(Sender).options(max_concurrency=4, **options).remote() for _ in range(2)]
    addresses = [adder.address.remote() for adder in adders]
    ray.get([adder.join.remote(*addresses) for adder in adders], timeout=TIMEOUT_S)
    ways = ("collective", "replica context", "object store")
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(turns + 1):
        for size_name, size in SIZES.items():
            count = 100 if size < 100_000 else 20
            for way in ways:
                if way == "object store":
                    pairs = zip(senders, reversed(senders), strict=True)
                    calls = [sender.object_store.remote(size, count, turn * count, other) for sender, other in pairs]
                else:
                    calls = [getattr(adder, way.replace(" ", "_")).remote(size, count) for adder in adders]
                value = max(ray.get(calls, timeout=TIMEOUT_S))
                if turn:  # in the first one things start
                    found.setdefault((way, size_name), []).append(value)
    for actor in [*adders, *senders]:
        ray.kill(actor)
    names = {
        "collective": "TensorFlow's collective operation in a loop",
        "replica context": "MultiWorkerMirroredStrategy, replica context",
        "object store": "numpy from actor to actor",
    }
    rows = []
    for way in ways:
        cells = []
        for size_name in SIZES:
            values, base = found[way, size_name], found["collective", size_name]
            ratio = statistics.median(value / of for value, of in zip(values, base, strict=True))
            cells += [f"{statistics.median(values):.2f}", f"{ratio:.2f}"]
        rows.append([names[way], *cells])
    columns = ["way"]
    for size_name, size in SIZES.items():
        columns += [f"{size_name} ({size:,}), ms", "ratio"]
    print_table(columns, rows)
    return {key: statistics.median(values) for key, values in found.items()}


_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def make_rollout(task: Task, seed: int) -> Rollout:
    config, generator = task.config, np.random.default_rng(seed)
    info = _info_spec()
    state = ([ArraySpec((64,), np.float32)] * 2,) if config.network.recurrent == "lstm" else ()
    zeros = zero_rollout(
        *_specs(task),
        info,
        config.envs_per_collector,
        config.rollout_steps,
        seed * config.envs_per_collector,
        policy_state_spec=state,
    )
    return zeros._replace(
        observation=generator.normal(size=zeros.observation.shape).astype(np.float32),
        step_type=np.full(zeros.step_type.shape, StepType.MID, np.int32),
        policy_info=info._replace(log_probability=np.full(zeros.reward.shape, -np.log(2.0), np.float32)),
        reward=generator.normal(size=zeros.reward.shape).astype(np.float32),
        discount=np.ones_like(zeros.discount),
    )


def _info_spec() -> Any:
    from distpolicy.trajectories.policy_step import PolicyInfo

    return PolicyInfo(log_probability=ArraySpec((), np.float32))


def _specs(task: Task) -> tuple[ArraySpec, ArraySpec]:
    return (
        ArraySpec((task.observation_size,), np.float32, "observation"),
        BoundedArraySpec((), np.int64, 0, 1, "action"),
    )


def time_updates(task: Task, turns: int) -> dict[str, list[float]]:
    """Milliseconds of updates by each group of learners, which take turns."""
    observation, action = _specs(task)
    configs = {
        "one, XLA": task.config,
        "one, no XLA": replace(task.config, jit_compile=False),
        "two": replace(task.config, learners=2),
    }
    groups = {name: _start(config, ts.time_step_spec(observation), action) for name, config in configs.items()}
    parts = [ray.put(make_rollout(task, seed)) for seed in range(2)]
    found: dict[str, list[float]] = {name: [] for name in groups}
    for group in groups.values():
        ray.get(group.warm_up(2 * task.config.envs_per_collector, task.config.rollout_steps), timeout=TIMEOUT_S)
    for _ in range(turns):
        for name, group in groups.items():
            _, metrics = group.update(0.0, parts)
            found[name].append(1e3 * ray.get(metrics, timeout=TIMEOUT_S)["update_s"])
    for group in groups.values():
        group.kill()
    return found


def _start(config: TrainConfig, time_step_spec: Any, action_spec: Any) -> LearnerGroup:
    factory = AgentFactory(config, EnvironmentSpecs(time_step_spec, action_spec))
    group = LearnerGroup(lambda generation: start_learners(factory, generation, config.learners, {}))
    group.start(0)
    return group


def print_updates(turns: int, sums: dict[tuple[str, str], float]) -> None:
    """The table of updates."""
    rows = []
    for task, size_name in zip(tasks(), ("small network", "a million", "small network"), strict=True):
        found = time_updates(task, turns)
        base = found["one, XLA"]
        cells = [f"{statistics.median(base):.1f}"]
        for name in ("one, no XLA", "two"):
            ratio = statistics.median(value / of for value, of in zip(found[name], base, strict=True))
            cells += [f"{statistics.median(found[name]):.1f}", f"{ratio:.2f}"]
        num_steps = task.config.agent.num_epochs * task.config.agent.num_minibatches
        share = num_steps * sums["collective", size_name] / statistics.median(found["two"])
        rows.append([f"{task.name}: {task.config.batch_size} steps, {num_steps} minibatches", *cells, f"{share:.0%}"])
    columns = ["update", "one learner, ms", "no XLA, ms", "ratio", "two learners, ms", "ratio", "of it sums"]
    print_table(columns, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15, help="turns of each")
    turns = parser.parse_args(arguments).turns
    print_header("several learners: adding up over processes, and updates", ["ray", "tensorflow"])
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    sums = time_sums(turns)
    print_updates(turns, sums)
    ray.shutdown()


if __name__ == "__main__":
    main()
