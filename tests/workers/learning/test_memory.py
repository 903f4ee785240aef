"""The memory of a collector and a learner over many updates, in one process."""

from __future__ import annotations

import gc

import psutil
import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner

MIB = 2**20


def resident_mib() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / MIB


@pytest.mark.slow
@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
def test_memory_does_not_grow_with_updates(vectorization: str) -> None:
    environment = EnvironmentFactory("CartPole-v1", vectorization)  # type: ignore[arg-type]
    agent = PPOConfig(num_epochs=1, num_minibatches=2, normalize_observations=True, normalize_rewards=True)
    config = TrainConfig(jit_compile=False, network=NetworkConfig(actor_units=(256, 256)), agent=agent)
    learner = Learner(AgentFactory(config, probe(environment)))
    collector = Collector(CollectorConfig(0, 0, 16, 64, seed=0), environment, PolicyFactory(config))
    weights, before = learner.weights(), 0.0
    # Weights of 0.5 MiB and rollouts of 50 KiB: one of either that stays behind in each update would be 80 MiB.
    for update in range(200):
        if update == 50:
            before = resident_mib()
        weights, _ = learner.update(update / 200, collector.rollout(weights)[0])
    collector.close()
    assert resident_mib() - before < 25.0
