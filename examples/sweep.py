"""Searches for better settings: several short runs; the bad ones are ended early.

    python examples/sweep.py [STEPS] [SAMPLES]

`distpolicy tune` does the same from a shell.
"""

import sys

from launch import TrainConfig, TuneConfig, TuningRun

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
num_samples = int(sys.argv[2]) if len(sys.argv) > 2 else 8

search = {"ppo.learning-rate": "loguniform 1e-4 1e-2", "ppo.num-epochs": "choice 4 10"}
train = TrainConfig(env="CartPole-v1", collectors=1, total_steps=200_000)
config = TuneConfig(search=search, steps=steps, samples=num_samples)
tuning = TuningRun(config, train, serial=True)  # a process for each trial
result = tuning.run()

assert result.best is not None
print(f"best of {num_samples}: {result.best.settings} with a mean return of {result.best.score:.1f}")
print(f"train with it: {result.train_command}")
