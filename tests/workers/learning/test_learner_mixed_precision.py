from __future__ import annotations

import dataclasses

import numpy as np
from toy_policies import kept

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.probe import probe
from workers.learning.learner import Learner

CONFIG = TrainConfig(
    collectors=1,
    envs_per_collector=2,
    rollout_steps=20,
    jit_compile=False,
    vectorization="sync",
    mixed_precision=True,
    network=NetworkConfig(actor_units=(8,), recurrent="lstm", recurrent_units=(8,)),
    agent=PPOConfig(value_units=(8,), num_epochs=2, num_minibatches=2, normalize_observations=True),
)


def test_collectors_and_checkpoints_of_float32_go_with_a_learner_of_mixed_precision() -> None:
    specs = probe(CONFIG.environment_factory)
    learner = Learner(AgentFactory(CONFIG, specs))
    collector = Collector(CollectorConfig(0, 0, 2, 20, seed=0), CONFIG.environment_factory, PolicyFactory(CONFIG))
    weights = learner.weights()
    for version in range(1, 3):
        rollout, _ = collector.rollout(weights)
        weights, metrics = learner.update(0.0, kept(rollout))
        assert (weights.version, metrics["policy_lag"]) == (version, 0.0)
    assert (kept(collector.rollout(weights)[0]).weights_version == [0, 2]).all()
    exact = Learner(AgentFactory(dataclasses.replace(CONFIG, mixed_precision=False), specs))
    exact.restore(learner.state())
    for kind, buffer in exact.weights().buffers.items():
        np.testing.assert_array_equal(buffer, weights.buffers[kind])
