"""Trains an LSTM on CartPole without velocities, and acts by it, keeping its state from step to step.

python examples/recurrent_policy.py [TOTAL_STEPS]
"""

import dataclasses
import sys

import gymnasium as gym
import numpy as np

from distpolicy.trajectories import time_step as ts
from launch import TrainConfig, TrainingRun
from launch.config.presets import load_preset

config: TrainConfig = load_preset("stateless-cartpole-lstm")
if len(sys.argv) > 1:
    config = dataclasses.replace(config, total_steps=int(sys.argv[1]), eval_episodes=0)

with TrainingRun(config) as run:
    for result in run:
        if result.totals.updates % 10 == 0:
            print(f"{result.totals.env_steps:,} env steps, return {result.metrics['return_mean_100']:.1f}")

policy = run.policy  # of the run directory, now that the run is over
env = gym.make(config.env)
observation, _ = env.reset(seed=7)
time_step, state = ts.restart(observation), policy.get_initial_state()
episode_return = 0.0
while not time_step.is_last():
    step = policy.action(time_step, state)
    observation, reward, terminated, truncated, _ = env.step(int(step.action))
    # The state is the caller's: forget it, and the policy no longer knows how fast the pole falls.
    state = step.state
    episode_return += float(reward)
    time_step = (ts.termination if terminated or truncated else ts.transition)(observation, np.float32(reward))
print(f"an episode with the state: {episode_return:.0f}")
