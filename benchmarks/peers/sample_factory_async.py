"""Sample Factory's APPO on CartPole-v1; prints its env steps a second as JSON on the last line.

64 environments in as many workers as given, in two groups that take turns, as Sample Factory advises. Layers, rollouts
and batch are those of our preset. Half of the steps count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib import metadata
from typing import Any

import gymnasium as gym
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner

ENV, NUM_ENVS = "CartPole-v1", 64
NUM_STEPS = 400_000


def make_env(name: str, config: Any = None, env_config: Any = None, render_mode: str | None = None) -> gym.Env:
    """Returns an environment; the arguments are those that Sample Factory gives."""
    return gym.make(name, render_mode=render_mode)


def settings(num_workers: int, seed: int, folder: str) -> list[str]:
    """Returns the command line of a run."""
    given = {
        "algo": "APPO",
        "env": ENV,
        "experiment": "speed",
        "train_dir": folder,
        "seed": seed,
        "device": "cpu",
        "num_workers": num_workers,
        "num_envs_per_worker": NUM_ENVS // num_workers,
        "rollout": 32,
        "batch_size": 32 * NUM_ENVS,
        "num_epochs": 1,
        "with_vtrace": False,
        "use_rnn": False,
        "recurrence": 1,
        "normalize_input": False,
        "nonlinearity": "tanh",
        "learning_rate": 0.001,
        "set_workers_cpu_affinity": False,
        "train_for_env_steps": NUM_STEPS,
        "save_every_sec": 1000,
        "save_best_every_sec": 1000,
    }
    return [*(f"--{name}={value}" for name, value in given.items()), "--encoder_mlp_layers", "64", "64"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    register_env(ENV, make_env)
    with tempfile.TemporaryDirectory() as folder:
        given = settings(arguments.workers, arguments.seed, folder)
        parsed, _ = parse_sf_args(given)
        _, runner = make_runner(parse_full_cfg(parsed, given))
        runner.init()
        runner.run()
    marks = list(runner.fps_stats)
    end_s, end = marks[-1]
    begin_s, begin = next((mark for mark in marks if mark[1] >= end / 2), marks[0])
    versions = {name: metadata.version(name) for name in ("sample-factory", "torch", "gymnasium")}
    print(json.dumps({"steps_per_s": (end - begin) / (end_s - begin_s), "versions": versions}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
