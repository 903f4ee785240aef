"""Stable-Baselines3's PPO on CartPole-v1 until it is solved, with RL-Zoo's settings; prints a line of JSON.

python benchmarks/peers/sb3_cartpole.py --seed 0
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Callable
from importlib.metadata import version

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

TARGET_RETURN = 475.0
MAX_STEPS = 300_000
# RL-Zoo's budget: learning rate and clip range fall to 0 over these steps.
SCHEDULE_STEPS = 100_000


class StopAtTarget(BaseCallback):
    """Ends training at the target mean return of the last 100 episodes, and takes the time from the first env step."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: deque[float] = deque(maxlen=100)
        self.solved = False
        self.start = 0.0
        self.train_s = 0.0

    def _on_rollout_start(self) -> None:
        self.start = self.start or time.perf_counter()

    def _on_step(self) -> bool:
        ended = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        self.returns.extend(ended)
        full = bool(ended) and len(self.returns) == self.returns.maxlen
        self.solved = full and sum(self.returns) / len(self.returns) >= TARGET_RETURN
        self.train_s = time.perf_counter() - self.start
        return not self.solved


def linear(initial: float) -> Callable[[float], float]:
    """A schedule from ``initial`` at the first step to 0 at ``SCHEDULE_STEPS``."""
    return lambda remaining: initial * max(0.0, 1.0 - (1.0 - remaining) * MAX_STEPS / SCHEDULE_STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    # make_vec_env makes a DummyVecEnv of monitored environments.
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=arguments.seed),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=linear(0.001),
        clip_range=linear(0.2),
        seed=arguments.seed,
        device="cpu",
    )
    callback = StopAtTarget()
    model.learn(MAX_STEPS, callback=callback)
    result = {
        "solved": callback.solved,
        "train_s": callback.train_s,
        "env_steps": model.num_timesteps,
        "versions": {name: version(name) for name in ("stable-baselines3", "torch", "gymnasium")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
