"""Stable-Baselines3's environments in processes: memory, CPU time and seconds until each has been stepped."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv

COUNT = int(sys.argv[1])


def peak_mib(pid: int) -> float:
    """The peak memory of a process."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def cpu_s(pid: int) -> float:
    """The CPU time of a process; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
