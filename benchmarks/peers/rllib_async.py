"""RLlib's IMPALA or APPO on CartPole-v1, one run; prints its figures as JSON on the last line.

The settings are those that RLlib gives as tuned for this environment. ``score`` trains until the mean return of the
last 100 episodes is 475, or for 300 s; ``speed`` trains for 30 s with one env runner of 64 environments, and counts the
env steps of the last 20 s.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import metadata
from typing import Any

import ray
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

LONGEST_S, SPEED_S, WARM_UP_S = 300.0, 30.0, 10.0


def make_config(algorithm: str, kind: str, seed: int) -> Any:
    """Returns the config of a run."""
    if algorithm == "impala":
        config = IMPALAConfig().training(
            train_batch_size_per_learner=500, grad_clip=40.0, grad_clip_by="global_norm", lr=0.0005, vf_loss_coeff=0.05
        )
        model = DefaultModelConfig(vf_share_layers=True)
    else:
        config = APPOConfig().training(
            train_batch_size_per_learner=1000,
            vf_loss_coeff=0.05,
            entropy_coeff=0.01,
            num_epochs=2,
            minibatch_size=250,
            lr=0.00075,
        )
        model = DefaultModelConfig(fcnet_hiddens=[32])
    runners = {"num_env_runners": 1, "num_envs_per_env_runner": 64} if kind == "speed" else {}
    return (
        config.environment("CartPole-v1")
        .env_runners(gym_env_vectorize_mode="vector_entry_point", **runners)
        .rl_module(model_config=model)
        .reporting(min_time_s_per_iteration=1, metrics_num_episodes_for_smoothing=100)
        .debugging(seed=seed, log_level="ERROR")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("algorithm", choices=["impala", "appo"])
    parser.add_argument("kind", choices=["speed", "score"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    algorithm = make_config(arguments.algorithm, arguments.kind, arguments.seed).build_algo()
    start = time.perf_counter()
    marks: list[tuple[float, int]] = []
    is_solved = False
    limit_s = SPEED_S if arguments.kind == "speed" else LONGEST_S
    while not is_solved and time.perf_counter() - start < limit_s:
        found = algorithm.train()["env_runners"]
        marks.append((time.perf_counter() - start, int(found.get("num_env_steps_sampled_lifetime", 0))))
        is_solved = arguments.kind == "score" and found.get("episode_return_mean", 0.0) >= 475.0
    first = next((mark for mark in marks if mark[0] >= WARM_UP_S), marks[0])
    (begin_s, begin), (end_s, end) = first, marks[-1]
    figures = {
        "solved": is_solved,
        "train_s": end_s,
        "env_steps": end,
        "steps_per_s": (end - begin) / (end_s - begin_s) if end_s > begin_s else 0.0,
        "versions": {name: metadata.version(name) for name in ("ray", "torch", "gymnasium")},
    }
    algorithm.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
