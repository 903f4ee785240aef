"""PPO collects from and learns from every space that has specs."""

from __future__ import annotations

import numpy as np
import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.utils.nests.array_nest import flatten
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.probe import probe
from workers.learning.learner import Learner


def config(kind: str, recurrent: str) -> TrainConfig:
    return TrainConfig(
        env="toy_envs:EverySpaceEnv",
        env_kwargs={"kind": kind},
        collectors=1,
        envs_per_collector=2,
        rollout_steps=4,
        jit_compile=False,
        network=NetworkConfig(actor_units=(4,), recurrent=recurrent, recurrent_units=(4,)),
        agent=PPOConfig(value_units=(4,), num_epochs=1, num_minibatches=2, normalize_observations=True),
    )


KINDS = ["float64", "uint64", "image", "discrete", "multi_discrete", "multi_binary", "tuple", "nested"]


@pytest.mark.parametrize(("kind", "recurrent"), [*((kind, "none") for kind in KINDS), ("nested", "gru")])
def test_observations_and_actions_of_every_space_are_learned_from(kind: str, recurrent: str) -> None:
    settings = config(kind, recurrent)
    factory = settings.environment_factory
    collector = Collector(CollectorConfig(0, 0, 2, 4, seed=0), factory, PolicyFactory(settings))
    learner = Learner(AgentFactory(settings, probe(factory)))
    rollout, _ = collector.rollout(learner.weights())
    for leaf, spec in zip(flatten(rollout.observation), flatten(probe(factory)[0].observation), strict=True):
        assert leaf.dtype == spec.dtype
    before = learner.state()
    _, metrics = learner.update(0.0, rollout)
    assert all(np.isfinite(value) for value in metrics.values())
    after = learner.state()
    assert all(np.any(after[path] != before[path]) for path in after if path.startswith("value_network/"))
