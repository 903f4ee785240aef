"""Stable-Baselines3's environments in processes: memory, CPU time and seconds until each has been stepped."""

from __future__ import annotations

import json
import sys
import time

import gymnasium as gym
import numpy as np
from process_costs import cpu_s, peak_mib
from stable_baselines3.common.vec_env import SubprocVecEnv

COUNT = int(sys.argv[1])


def main() -> None:
    start = time.perf_counter()
    envs = SubprocVecEnv([lambda: gym.make("CartPole-v1")] * COUNT)
    envs.reset()
    envs.step(np.zeros(COUNT, np.int64))
    seconds = time.perf_counter() - start
    found = {
        "peak_mib": max(peak_mib(process.pid) for process in envs.processes),
        "cpu_s": float(np.median([cpu_s(process.pid) for process in envs.processes])),
        "all_s": seconds,
    }
    envs.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
