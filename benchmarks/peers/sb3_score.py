"""Training one of Stable-Baselines3's algorithms until it is solved, as the peers of this folder that measure it do."""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib.metadata import version

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

TARGET_RETURN = 475.0
# RL-Zoo's budget for CartPole with and without velocities: learning rate and clip range fall to 0 over these steps.
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


def linear(initial: float, max_steps: int) -> Callable[[float], float]:
    """A schedule from ``initial`` at the first step to 0 at ``SCHEDULE_STEPS``, in a training of ``max_steps``."""
    return lambda remaining: initial * max(0.0, 1.0 - (1.0 - remaining) * max_steps / SCHEDULE_STEPS)


def train(
    description: str, make_model: Callable[[int, int], BaseAlgorithm], max_steps: int, packages: Sequence[str]
) -> None:
    """Reads the command line, trains until the target or the last step, and prints a line of JSON.

    Args:
        description: Of the command.
        make_model: Makes the algorithm for a seed and a number of steps.
        max_steps: Steps after which training ends in any case, if the command line does not say.
        packages: Distributions whose versions matter.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    parser.add_argument("--max-steps", type=int, default=max_steps, help=f"most env steps (default: {max_steps})")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    model = make_model(arguments.seed, arguments.max_steps)
    callback = StopAtTarget()
    model.learn(arguments.max_steps, callback=callback)
    result = {
        "solved": callback.solved,
        "train_s": callback.train_s,
        "env_steps": model.num_timesteps,
        "versions": {name: version(name) for name in packages},
    }
    print(json.dumps(result))
