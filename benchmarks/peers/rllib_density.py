"""RLlib's env runners as actors: memory, CPU time and seconds until each has sampled."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np
import ray
from process_costs import cpu_s, peak_mib
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

COUNT = int(sys.argv[1])
SLOTS, STEPS = 8, 32
TIMEOUT_S = 600.0


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
    # Kept: an actor ends with its last handle, and is asked for its costs below.
    runners = [runner.remote(config=config) for _ in range(COUNT)]
    asked = [one.__ray_call__.remote(sample) for one in runners]
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
