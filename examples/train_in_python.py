"""Trains a policy for an environment that is defined in this script, and acts by it.

    python examples/train_in_python.py [TOTAL_STEPS]

Nothing has to be registered or importable, and no ``if __name__ == "__main__"`` is needed: the class travels to the
workers. Every run leaves a folder under runs/, as `distpolicy train` does.
"""

import sys

import gymnasium as gym
import numpy as np

from distpolicy import GymnasiumWrapper
from launch import TrainConfig, TrainingRun


class Corridor(gym.Env):
    """A corridor whose door is at its right end; every step costs a tenth, and the door gives 1."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int = 8) -> None:
        self.length, self.place = length, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(self.length))
        return self.look(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place = max(self.place + (1 if action else -1), 0)
        is_at_door = self.place == self.length
        return self.look(), 1.0 if is_at_door else -0.1, is_at_door, False, {}

    def look(self) -> np.ndarray:
        return np.array([self.place / self.length], np.float32)


total_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
config = TrainConfig(env_kwargs={"length": 6}, collectors=1, envs_per_collector=8, total_steps=total_steps)

with TrainingRun(config, env=Corridor) as run:
    for result in run:
        if result.totals.updates % 10 == 0:
            print(f"{result.totals.env_steps:,} env steps, return {result.metrics['return_mean_100']:.2f}")
    evaluation = run.evaluate(20)
    print(f"mean return of {len(evaluation.returns)} episodes: {np.mean(evaluation.returns):.2f}")

# The workers are gone; the policy is in the run directory.
env = GymnasiumWrapper(Corridor(length=6))
time_step, num_steps = env.reset(), 0
while not time_step.is_last() and num_steps < 20:
    time_step = env.step(run.policy.action(time_step).action)
    num_steps += 1
print(f"the policy took {num_steps} steps; the run is in {run.directory.path}")
