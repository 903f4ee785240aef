"""RLlib's env runners as actors: memory, CPU time and seconds until each has sampled."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

COUNT = int(sys.argv[1])
SLOTS, STEPS = 8, 32
TIMEOUT_S = 600.0


def peak_mib(pid: int) -> float:
    """The peak memory of a process."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def cpu_s(pid: int) -> float:
    """The CPU time of a process; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sample(runner: Any) -> int:
    """Samples as many steps as a collector's rollout has, and returns the process's id."""
    runner.sample(num_timesteps=SLOTS * STEPS)
    return os.getpid()


def main() -> None:
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=SLOTS, gym_env_vectorize_mode="vector_entry_point")
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=False))
    )
    runner = ray.remote(SingleAgentEnvRunner).options(num_cpus=0)
    time.sleep(3.0)  # The processes that Ray has ready are up.
    begin = time.perf_counter()
    asked = [runner.remote(config=config).__ray_call__.remote(sample) for _ in range(COUNT)]
    times, pids = [], []
    while asked:
        (done, *_), asked = ray.wait(asked, timeout=TIMEOUT_S)
        pids.append(ray.get(done, timeout=TIMEOUT_S))
        times.append(time.perf_counter() - begin)
    found = {
        "peak_mib": max(map(peak_mib, pids)),
        "cpu_s": float(np.median(list(map(cpu_s, pids)))),
        "first_s": min(times),
        "all_s": max(times),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
