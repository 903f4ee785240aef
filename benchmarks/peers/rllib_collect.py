"""RLlib's env runner: for each line on stdin one turn, and its steps a second on stdout.

One SingleAgentEnvRunner in this process, without Ray's actors, with the network of the collector in
benchmarks/collect.py (two tanh layers of 64, the value's apart) and one thread.
"""

from __future__ import annotations

import argparse

import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from turns import answer_turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rollout-steps", type=int, default=32)
    parser.add_argument("--vectorization", choices=["vector_entry_point", "sync"], default="vector_entry_point")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    num_steps = arguments.slots * arguments.rollout_steps
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=arguments.slots,
            gym_env_vectorize_mode=arguments.vectorization,
        )
        .training(train_batch_size_per_learner=num_steps)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=False))
    )
    config.rollout_fragment_length = arguments.rollout_steps
    runner = SingleAgentEnvRunner(config=config)

    def rollout() -> int:
        # The step that resets a slot counts, as it does for ours; episodes do not hold it.
        return sum(len(episode) + episode.is_done for episode in runner.sample(num_timesteps=num_steps))

    answer_turns(rollout, ["ray", "torch", "gymnasium"])


if __name__ == "__main__":
    main()
