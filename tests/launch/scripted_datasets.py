"""Datasets that are written here by a scripted policy, for runs that learn from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from workers.collection.collector import Collector, CollectorConfig, PolicyPair
from workers.datasets.manifest import DatasetManifest
from workers.datasets.reader import read_episodes
from workers.datasets.schema import DatasetSchema
from workers.datasets.writer import DatasetWriter
from workers.environments.factory import EnvironmentFactory

Act = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class FunctionPolicy(PyPolicy):
    """Acts by a function of the observations ``[B, ...]`` and a generator."""

    def __init__(self, time_step_spec: TimeStep, action_spec: Any, act: Act) -> None:
        super().__init__(time_step_spec, action_spec)
        self._act = act

    def named_variables(self) -> list[Any]:
        return []

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        drawn = self._act(time_step.observation, np.random.default_rng(np.abs(np.asarray(seed, np.int64)).ravel()))
        return PolicyStep(drawn.astype(self.action_spec.dtype), (), ())


def cartpole_expert(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keeps the pole up for 500 steps."""
    return (observation @ np.array([1.0, 1.6, 18.7, 3.4]) > 0.0).astype(np.int64)


def cartpole_random(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, len(observation))


def cartpole_mixed(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The expert in some rows and chance in the others: each row more or less often."""
    share = np.linspace(0.3, 1.0, len(observation))
    is_random = rng.random(len(observation)) < share
    return np.where(is_random, cartpole_random(observation, rng), cartpole_expert(observation, rng))


def pendulum_expert(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Swings the pendulum up by its energy, and holds it up there."""
    cosine, sine, speed = observation.T
    energy = 0.5 * speed**2 + 15.0 * cosine
    swing = np.sign(speed) * np.clip(15.0 - energy, -2.0, 2.0)
    hold = -8.0 * np.arctan2(sine, cosine) - 1.5 * speed
    return np.clip(np.where(cosine > 0.9, hold, swing), -2.0, 2.0)[:, np.newaxis]


def pendulum_mixed(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The expert in some steps and chance in the others: each row more or less often."""
    share = np.linspace(0.1, 1.0, len(observation))[:, np.newaxis]
    is_random = rng.random((len(observation), 1)) < share
    return np.where(is_random, rng.uniform(-2.0, 2.0, (len(observation), 1)), pendulum_expert(observation, rng))


def mean_return(folder: str) -> float:
    """The mean return of the episodes that end in a dataset."""
    returns = [episode["reward"].sum() for episode in read_episodes(folder, only_ended=True)]
    return float(np.mean(returns))


def write(folder: Path, env: str, act: Act, num_steps: int, num_envs: int = 8, seed: int = 0) -> str:
    """Writes ``num_steps`` steps of each environment; returns the folder."""
    factory = EnvironmentFactory(env, "sync")

    def policies(time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        policy = FunctionPolicy(time_step_spec, action_spec, act)
        return PolicyPair(policy, policy)

    collector = Collector(CollectorConfig(0, 0, num_envs, num_steps, seed), factory, policies)
    schema = DatasetSchema(collector.time_step_spec, collector.action_spec)
    writer = DatasetWriter(folder, "collector0", schema)
    writer.write(collector.rollout()[0])
    manifest = DatasetManifest(schema, env, "scripted", seed, num_envs).with_generation(0.0, 0)
    manifest.with_shards(writer.flush()).save(folder)
    writer.close()
    collector.close()
    return str(folder)
