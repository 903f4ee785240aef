"""TorchRL's collector: for each line on stdin one turn, and its steps a second on stdout.

The collector that runs in the calling process, on environments one after the other, with the network of the
collector in benchmarks/collect.py (two tanh layers of 64) and one thread. It takes no vectorised environment that
resets in the step after an episode's last, as CartPole's own form does; of what it takes in one process, SerialEnv is
quicker than Gymnasium's SyncVectorEnv.
"""

from __future__ import annotations

import argparse

import torch
import torchrl.collectors
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.envs import GymEnv, SerialEnv
from torchrl.modules import ProbabilisticActor
from turns import answer_turns

# Named SyncDataCollector before TorchRL 0.11.
COLLECTOR = getattr(torchrl.collectors, "Collector", None) or torchrl.collectors.SyncDataCollector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rollout-steps", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    actor = ProbabilisticActor(
        TensorDictModule(layers, in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )
    environment = SerialEnv(arguments.slots, lambda: GymEnv("CartPole-v1", categorical_action_encoding=True))
    collector = COLLECTOR(
        environment, actor, frames_per_batch=arguments.slots * arguments.rollout_steps, total_frames=-1
    )
    rollouts = iter(collector)
    answer_turns(lambda: next(rollouts).numel(), ["torchrl", "torch", "gymnasium"])
    collector.shutdown()


if __name__ == "__main__":
    main()
