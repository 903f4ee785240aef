"""DQN or SAC of Stable-Baselines3 or SBX with RL-Zoo's settings, beside benchmarks/off_policy.py.

Trains until an evaluation reaches the target, and prints a line of JSON; or, with --turns, takes gradient steps for
each line on stdin.

    python benchmarks/peers/sb3_off_policy.py sb3 dqn-cartpole --seed 0
    python benchmarks/peers/sb3_off_policy.py sbx sac-256 --turns
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
from frames_env import Frames
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from turns import answer_turns

# The environment, the algorithm, its settings, the target, env steps between evaluations, and the most env steps.
RUNS: dict[str, tuple[str, str, dict[str, Any], float, int, int]] = {
    "dqn-cartpole": (
        "CartPole-v1",
        "DQN",
        {
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
        475.0,
        5_000,
        50_000,
    ),
    "sac-pendulum": ("Pendulum-v1", "SAC", {"learning_rate": 1e-3}, -200.0, 1_000, 20_000),
    "sac-pendulum-64": (
        "Pendulum-v1",
        "SAC",
        {"learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}},
        -200.0,
        1_000,
        20_000,
    ),
}
# What takes gradient steps: the environment, the algorithm, its policy, its settings, the steps that fill the buffer,
# and the gradient steps of a turn.
STEPS: dict[str, tuple[Any, str, str, dict[str, Any], int, int]] = {
    "dqn-64": ("CartPole-v1", "DQN", "MlpPolicy", {"policy_kwargs": {"net_arch": [64, 64]}}, 5_000, 256),
    "dqn-nature": (Frames, "DQN", "CnnPolicy", {"buffer_size": 5_000}, 2_000, 4),
    "sac-256": ("Pendulum-v1", "SAC", "MlpPolicy", {"policy_kwargs": {"net_arch": [256, 256]}}, 5_000, 256),
    "sac-64": ("Pendulum-v1", "SAC", "MlpPolicy", {"policy_kwargs": {"net_arch": [64, 64]}}, 5_000, 256),
}
BATCH_SIZE = 256
EPISODES = 20


class StopAtTarget(BaseCallback):
    """Evaluates every so many env steps, and ends training at the target."""

    def __init__(self, env_id: str, target: float, every: int, seed: int) -> None:
        super().__init__()
        self._env, self._target, self._every = gym.make(env_id), target, every
        self._env.reset(seed=10_000 + seed)
        self._next = every
        self.solved, self.start, self.train_s = False, 0.0, 0.0

    def _on_rollout_start(self) -> None:
        self.start = self.start or time.perf_counter()

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self._every
            mean, _ = evaluate_policy(self.model, self._env, EPISODES, warn=False)
            self.solved = float(np.mean(mean)) >= self._target
        self.train_s = time.perf_counter() - self.start
        return not self.solved


def train(library: Any, name: str, seed: int, packages: list[str]) -> None:
    """Trains until the target, and prints a line of JSON."""
    env_id, algorithm, settings, target, every, most = RUNS[name]
    model = getattr(library, algorithm)("MlpPolicy", gym.make(env_id), seed=seed, **settings)
    callback = StopAtTarget(env_id, target, every, seed)
    model.learn(most, callback=callback)
    result = {
        "solved": callback.solved,
        "train_s": callback.train_s,
        "env_steps": model.num_timesteps,
        "versions": {name: version(name) for name in packages},
    }
    print(json.dumps(result))


def take_steps(library: Any, name: str, packages: list[str]) -> None:
    """Takes gradient steps in turns."""
    env_id, algorithm, policy, settings, num_rows, num_steps = STEPS[name]
    env = gym.make(env_id) if isinstance(env_id, str) else env_id()
    shared = {"batch_size": BATCH_SIZE, "buffer_size": 100_000, "learning_starts": num_rows, "seed": 0}
    model = getattr(library, algorithm)(policy, env, **(shared | settings))
    model.learn(num_rows)
    model.set_logger(Logger(None, []))

    def steps() -> int:
        model.train(batch_size=BATCH_SIZE, gradient_steps=num_steps)
        return num_steps

    answer_turns(steps, packages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=["sb3", "sbx"], help="the library")
    parser.add_argument("case", choices=[*RUNS, *STEPS], help="what is trained")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    parser.add_argument("--turns", action="store_true", help="take gradient steps for each line on stdin")
    arguments = parser.parse_args()
    library = importlib.import_module({"sb3": "stable_baselines3", "sbx": "sbx"}[arguments.library])
    packages = {"sb3": ["stable-baselines3", "torch"], "sbx": ["sbx-rl", "jax"]}[arguments.library]
    if arguments.threads is not None:
        import torch

        torch.set_num_threads(arguments.threads)
    if arguments.turns:
        take_steps(library, arguments.case, packages)
    else:
        train(library, arguments.case, arguments.seed, packages)


if __name__ == "__main__":
    main()
