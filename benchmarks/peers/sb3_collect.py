"""Stable-Baselines3's rollout collection: for each line on stdin one turn, and its steps a second on stdout.

The same network as the collector's in benchmarks/collect.py (and a value network of the same size, which PPO's rollouts
of Stable-Baselines3 always compute), the same environments one after the other in this process, one thread.
"""

from __future__ import annotations

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from turns import answer_turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rollout-steps", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    environment = make_vec_env("CartPole-v1", n_envs=arguments.slots, seed=0)
    model = PPO(
        "MlpPolicy",
        environment,
        n_steps=arguments.rollout_steps,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        device="cpu",
        seed=0,
    )
    _, callback = model._setup_learn(10**9)

    def rollout() -> int:
        model.collect_rollouts(model.env, callback, model.rollout_buffer, arguments.rollout_steps)
        return arguments.slots * arguments.rollout_steps

    answer_turns(rollout, ["stable-baselines3", "torch", "gymnasium"])


if __name__ == "__main__":
    main()
