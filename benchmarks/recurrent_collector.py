"""Steps a second of a collector with a recurrent policy, beside a feed-forward one of the same size.

Both are the policies that a run builds, in one process with one thread, as a collector's actor has it; see
benchmarks/collect.py for what a turn is. ``env`` is the environment alone as collectors have it.

    python benchmarks/recurrent_collector.py --turns 20
"""

from __future__ import annotations

import argparse
import os

# Before TensorFlow and NumPy are imported; the same as workers/actors.py gives to collectors.
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from collect_sides import Case, CollectorSide, OwnEnvSide, in_turns
from recurrent_configs import PRESETS, describe, feed_forward
from reporting import print_header, print_table

from launch.config.presets import load_preset
from launch.config.train import TrainConfig
from launch.training.factories import PolicyFactory
from workers.environments.factory import Vectorization

NUM_ROLLOUTS: dict[Vectorization, int] = {"sync": 4, "vector_entry_point": 12}


def measure(configs: dict[str, TrainConfig], vectorization: Vectorization, turns: int) -> tuple[list[list[str]], str]:
    """Takes turns; a row for each network, and what a collector's time goes to."""
    config = configs["recurrent"]
    slots, rollouts = config.collectors * config.envs_per_collector, NUM_ROLLOUTS[vectorization]
    case = Case(config.env, vectorization, slots, rollouts, "env", None, num_steps=config.rollout_steps)
    collectors = {name: CollectorSide(case, PolicyFactory(config)) for name, config in configs.items()}
    sides: dict[str, CollectorSide | OwnEnvSide] = {**collectors, "env": OwnEnvSide(case)}
    try:
        seconds = in_turns({name: side.run for name, side in sides.items()}, turns)
    finally:
        for side in sides.values():
            side.close()
    speeds = {name: case.steps_in_turn * slots / values for name, values in seconds.items()}
    rows, notes = [], []
    for name, side in collectors.items():
        label = f"{vectorization} {slots}, {describe(configs[name])}"
        of_others = [float(np.median(speeds[name] / speeds[other])) for other in ("feed-forward", "env")]
        rows.append([label, *(f"{np.median(speeds[column]):,.0f}" for column in (name, "env"))])
        rows[-1] += [f"{share:.2f}" for share in of_others]
        env_share, policy_share = side.env_s / side.total_s, side.policy_s / side.total_s
        notes.append(
            f"{label}: inference by {side.inference}; the time is {env_share:.0%} env, {policy_share:.0%} policy, "
            f"{1.0 - env_share - policy_share:.0%} the rest"
        )
    return rows, "\n".join(notes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default=PRESETS[0])
    parser.add_argument("--turns", type=int, default=20, help="turns of each side")
    arguments = parser.parse_args()
    print_header("collector: recurrent beside feed-forward", ["tensorflow", "gymnasium", "numpy"])
    recurrent = load_preset(arguments.preset)
    configs = {"recurrent": recurrent, "feed-forward": feed_forward(recurrent)}
    rows, notes = [], []
    for vectorization in NUM_ROLLOUTS:
        found, note = measure(configs, vectorization, arguments.turns)
        rows += found
        notes.append(note)
    print_table(["collector", "collector/s", "env/s", "of feed-forward", "of env"], rows)
    print("\n".join(notes), flush=True)


if __name__ == "__main__":
    main()
