"""Sample Factory's APPO on CartPole-v1; prints ``[seconds, env steps, NaN]`` once a second.

64 environments in as many workers as given, in two groups that take turns, as Sample Factory advises. Layers, rollouts
and batch are those of our preset. It trains until it is ended.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from typing import Any

import gymnasium as gym
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner

ENV, NUM_ENVS = "CartPole-v1", 64
# More than it gets to. It does not always end its processes by itself.
NUM_STEPS = 1_000_000_000
MARK_EVERY_S = 1.0


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


def tell_marks(runner: Any) -> None:
    """Prints marks for ever, from the first env step on."""
    while not runner.total_env_steps_since_resume:
        time.sleep(0.01)
    start = time.perf_counter()
    while True:
        print(json.dumps([time.perf_counter() - start, runner.total_env_steps_since_resume, math.nan]), flush=True)
        time.sleep(MARK_EVERY_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", required=True, help="folder for what it writes")
    arguments = parser.parse_args()
    register_env(ENV, make_env)
    given = settings(arguments.workers, arguments.seed, arguments.folder)
    parsed, _ = parse_sf_args(given)
    _, runner = make_runner(parse_full_cfg(parsed, given))
    runner.init()
    threading.Thread(target=tell_marks, args=(runner,), daemon=True).start()
    runner.run()


if __name__ == "__main__":
    main()
