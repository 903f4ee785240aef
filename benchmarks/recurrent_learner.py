"""Updates a second of PPO with a recurrent network, beside a feed-forward one of the same size, with XLA and without.

A turn is one update of a :class:`workers.learning.learner.Learner` on a rollout of all slots of a run: all epochs and
minibatches, and packing the weights. The schedules are at their end, so that the learning rate is 0: every update of a
side computes the same. The unroll alone is the recurrent network over as many minibatches, forward and backward,
without actor, critic, losses and optimizer. This process has the threads of a learner: as many as there are cores.

    python benchmarks/recurrent_learner.py --turns 20
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from collect_sides import in_turns
from recurrent_configs import PRESETS, describe, feed_forward
from reporting import print_header, print_table

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from launch.config.presets import load_preset
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner

XLA = {"XLA": True, "no XLA": False}


class LearnerSide:
    """A learner, and a rollout that it learns from again and again.

    Args:
        config: The run's settings.
    """

    def __init__(self, config: TrainConfig) -> None:
        factory = config.environment_factory
        self._learner = Learner(AgentFactory(config, probe(factory)))
        self._rollout = collect(config, factory)

    def run(self) -> float:
        """Seconds of an update."""
        start = time.perf_counter()
        self._learner.update(1.0, self._rollout)
        return time.perf_counter() - start


def collect(config: TrainConfig, factory: EnvironmentFactory) -> Rollout:
    """A rollout of all slots of a run, the second one, so that episodes and states go on from before it."""
    slots = config.collectors * config.envs_per_collector
    collector = Collector(CollectorConfig(0, 0, slots, config.rollout_steps, seed=0), factory, PolicyFactory(config))
    collector.rollout()
    rollout, _ = collector.rollout()
    kept = map_structure(np.array, rollout)
    collector.close()
    return kept


def unroll_side(config: TrainConfig, time_step_spec: TimeStep, jit_compile: bool) -> Callable[[], float]:
    """Seconds of the recurrent network's unrolls in an update, forward and backward: one compiled loop over them."""
    import tensorflow as tf

    from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork

    network = LSTMEncodingNetwork(
        time_step_spec.observation,
        input_fc_layer_params=config.network.encoder_units or None,
        lstm_size=config.network.recurrent_units,
        output_fc_layer_params=None,
        cell=config.network.recurrent,
        seed=0,
    )
    network.create_variables()
    rows, steps = minibatch(config)
    draw = np.random.default_rng(0)
    observation = tf.constant(draw.normal(size=(rows, steps, *time_step_spec.observation.shape)), tf.float32)
    step_type = tf.constant(np.where(draw.random((rows, steps)) < 0.05, 0, 1), tf.int32)

    def one(index: Any, state: Any, sums: list[Any]) -> tuple[Any, Any, list[Any]]:
        with tf.GradientTape() as tape:
            encoding, after = network(observation, step_type=step_type, network_state=state)
            loss = tf.reduce_sum(encoding)
        gradients = tape.gradient(loss, network.trainable_variables)
        return index + 1, after, [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

    # Each begins with the state that the last one came to, so that the compiler cannot take one for the other.
    @tf.function(autograph=False, jit_compile=jit_compile)
    def unrolls(state: Any) -> Any:
        zeros = [tf.zeros_like(variable) for variable in network.trainable_variables]
        return tf.while_loop(lambda index, *_: index < num_minibatches(config), one, (tf.constant(0), state, zeros))

    state = network.get_initial_state(rows)

    def run() -> float:
        start = time.perf_counter()
        unrolls(state)[0].numpy()
        return time.perf_counter() - start

    return run


def num_minibatches(config: TrainConfig) -> int:
    """Of an update, over all generations."""
    return config.agent.num_epochs * config.agent.num_minibatches


def minibatch(config: TrainConfig) -> tuple[int, int]:
    """Sequences of a minibatch, and their steps."""
    length = config.agent.sequence_length or config.rollout_steps
    return config.batch_size // length // config.agent.num_minibatches, length


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default=PRESETS[0])
    parser.add_argument("--turns", type=int, default=20, help="updates of each side")
    arguments = parser.parse_args()
    print_header("learner: recurrent beside feed-forward, XLA on and off", ["tensorflow", "keras", "numpy"])
    recurrent = dataclasses.replace(load_preset(arguments.preset), compile_cache=False)
    configs = {"recurrent": recurrent, "feed-forward": feed_forward(recurrent)}
    time_step_spec, _ = probe(recurrent.environment_factory)
    sides: dict[str, Callable[[], float]] = {}
    for xla, jit_compile in XLA.items():
        for name, config in configs.items():
            sides[f"{name}, {xla}"] = LearnerSide(dataclasses.replace(config, jit_compile=jit_compile)).run
        sides[f"unroll, {xla}"] = unroll_side(recurrent, time_step_spec, jit_compile)
    report(configs, in_turns(sides, arguments.turns))


def report(configs: dict[str, TrainConfig], seconds: dict[str, np.ndarray]) -> None:
    """Prints a row for each network, the choice of XLA, and what an update's time goes to."""

    def speed(name: str) -> str:
        return f"{np.median(1.0 / seconds[name]):.2f}"

    def ratio(name: str, other: str) -> float:
        return float(np.median(seconds[other] / seconds[name]))

    rows = [
        [
            describe(config),
            *(speed(f"{name}, {xla}") for xla in XLA),
            f"{ratio(f'{name}, XLA', f'{name}, no XLA'):.2f} x",
            f"{ratio(f'{name}, XLA', 'feed-forward, XLA'):.2f}",
            f"{ratio(f'{name}, no XLA', 'feed-forward, no XLA'):.2f}",
        ]
        for name, config in configs.items()
    ]
    columns = ["network", "XLA: updates/s", "no XLA: updates/s", "XLA / no XLA"]
    print_table([*columns, "of feed-forward, XLA", "of feed-forward, no XLA"], rows)
    config = configs["recurrent"]
    rows_of_minibatch, steps = minibatch(config)
    for xla in XLA:
        unroll = seconds[f"unroll, {xla}"]
        share = float(np.median(unroll / seconds[f"recurrent, {xla}"]))
        each_s = float(np.median(unroll)) / num_minibatches(config)
        print(
            f"{xla}: the unroll of a minibatch [{rows_of_minibatch}, {steps}], forward and backward, takes "
            f"{1e3 * each_s:.2f} ms; all {num_minibatches(config)} are {share:.0%} of the update"
        )
    quicker = "XLA" if ratio("unroll, XLA", "unroll, no XLA") >= 1.0 else "no XLA"
    print(
        f"the unroll is faster with {quicker}: XLA does {ratio('unroll, XLA', 'unroll, no XLA'):.2f} times as many a "
        f"second; a run's update has XLA {'on' if config.jit_compile else 'off'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
