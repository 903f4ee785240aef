"""RLlib's IMPALA or APPO on CartPole-v1, one run; prints ``[seconds, env steps, mean return]`` about once a second.

The settings are those that RLlib gives as tuned for this environment. ``speed`` has one env runner of 64 environments,
layers as ours, and a batch of the size given.
It trains until it is ended.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import ray
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig


def make_config(algorithm: str, kind: str, seed: int, batch: int | None, envs: int | None) -> Any:
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
    if kind == "speed":
        model = DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=algorithm == "impala")
    if batch is not None:
        config.training(train_batch_size_per_learner=batch)
    if kind == "speed":
        envs = 64
    runners = {} if envs is None else {"num_env_runners": 1, "num_envs_per_env_runner": envs}
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
    parser.add_argument("--batch", type=int, help="rows of a batch; by default those of the tuned settings")
    parser.add_argument(
        "--envs", type=int, help="of score: environments of one env runner; by default the tuned number"
    )
    arguments = parser.parse_args()
    # Its actors ask for more CPUs than two, and would wait for them.
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    algorithm = make_config(
        arguments.algorithm, arguments.kind, arguments.seed, arguments.batch, arguments.envs
    ).build_algo()
    start = time.perf_counter()
    while True:
        found = algorithm.train()["env_runners"]
        num_steps = int(found.get("num_env_steps_sampled_lifetime", 0))
        mark = [time.perf_counter() - start, num_steps, float(found.get("episode_return_mean", math.nan))]
        print(json.dumps(mark), flush=True)


if __name__ == "__main__":
    main()
