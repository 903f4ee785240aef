"""IMPALA and APPO learn CartPole from data of the newest weights and from older data; in this process, without Ray."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest

from launch.config.presets import load_preset
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner


def steps_to_target(config: TrainConfig, lag: int) -> int | None:
    """Env steps until the mean of 100 episodes reached the target, by rollouts that are ``lag`` versions old."""
    environment = EnvironmentFactory(config.env)
    specs = probe(environment)
    learner = Learner(AgentFactory(config, specs), max_policy_lag=lag)
    num_slots = config.collectors * config.envs_per_collector
    collector_config = CollectorConfig(
        0, 0, num_slots, config.rollout_steps, config.seed, reward_discount=config.agent.reward_discount
    )
    collector = Collector(collector_config, environment, PolicyFactory(config))
    acting = collections.deque([learner.weights()], maxlen=lag + 1)
    returns: collections.deque[float] = collections.deque(maxlen=100)
    for steps in range(0, config.total_steps, num_slots * config.rollout_steps):
        rollout, report = collector.rollout(acting[0])
        returns.extend(report.episode_returns)
        if len(returns) == 100 and np.mean(returns) >= config.target_return:
            return steps
        weights, metrics = learner.update(steps / config.total_steps, rollout)
        assert metrics["policy_lag"] == min(lag, len(acting) - 1)
        acting.append(weights)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("preset", ["cartpole-impala", "cartpole-appo"])
def test_cartpole_is_learned_from_the_newest_and_from_older_data(preset: str, lag: int) -> None:
    steps = steps_to_target(dataclasses.replace(load_preset(preset), seed=3), lag)
    assert steps is not None
