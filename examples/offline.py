"""Collects a dataset with a policy that chance drives, and learns from it without a further step.

python examples/offline.py [COLLECTED_STEPS] [GRADIENT_STEPS]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import ray

from distpolicy.agents.marwil.config import MarwilConfig
from launch import CollectConfig, CollectionRun, TrainConfig, TrainingRun
from workers.datasets import read_episodes

num_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
gradient_steps = int(sys.argv[2]) if len(sys.argv) > 2 else 5_000
folder = Path(tempfile.mkdtemp()) / "data"

if not ray.is_initialized():
    ray.init()  # both runs share it; without it each starts its own

with CollectionRun(CollectConfig(env="CartPole-v1", policy="random", steps=num_steps), folder) as collection:
    collection.run()
returns = [episode["reward"].sum() for episode in read_episodes(folder)]
print(f"{len(returns):,} episodes of random actions, mean return {np.mean(returns):.1f}: {folder}")

config = TrainConfig(
    env="CartPole-v1", dataset=(str(folder),), total_steps=gradient_steps, agent=MarwilConfig(), eval_episodes=20
)
with TrainingRun(config) as run:
    run.run()
    evaluation = run.evaluate(20)
print(f"after {run.totals.gradient_steps:,} gradient steps: mean return {np.mean(evaluation.returns):.1f}")
