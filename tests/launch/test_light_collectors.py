"""Collectors act without TensorFlow, in training and in collecting, and with it where a policy needs it."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import ray
from commands import no_process_left

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.environments import suite_gym
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_program import NeedsTensorFlow
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.tf_policy import TFPolicy
from launch import CollectConfig, CollectionRun, TrainConfig, TrainingObserver, TrainingRun
from workers.collection.collector import PolicyPair
from workers.inference.program_source import ProgramSource

__all__ = ["no_process_left"]

# Ray's worker, Gymnasium, LiteRT and the rollouts. With TensorFlow it is four times as much.
MOST_BYTES = 170 * 2**20
CONFIG = TrainConfig(
    env="Pendulum-v1",
    collectors=1,
    envs_per_collector=4,
    rollout_steps=8,
    total_steps=10_000,
    jit_compile=False,
    eval_episodes=0,
    eval_max_episode_steps=5,
    network=NetworkConfig(actor_units=(8,), recurrent="lstm", recurrent_units=(4,)),
    agent=PPOConfig(value_units=(8,), num_epochs=1, num_minibatches=2),
)


@pytest.fixture(scope="module", autouse=True)
def shared_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def tensorflow_of(actor: Any) -> list[str]:
    """Returns TensorFlow's modules in an actor's process."""

    def found(worker: Any) -> list[str]:
        import sys

        return sorted({"tensorflow", "keras", "tensorflow_probability"} & set(sys.modules))

    return ray.get(actor.__ray_call__.remote(found), timeout=60)


def peak_bytes_of(actor: Any) -> int:
    return ray.get(actor.__ray_call__.remote(lambda worker: worker.peak_memory_bytes()), timeout=60)


class Notes(TrainingObserver):
    """Notes what a run tells while it comes up."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_preparing(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.slow
def test_a_training_runs_collectors_and_their_replacements_have_no_tensorflow(tmp_path: Path) -> None:
    notes = Notes()
    with TrainingRun(CONFIG, [notes], run_dir=tmp_path / "run") as run:
        next(run)
        first = run._trainer.handles[0].actor
        assert len(run.evaluate(3, "greedy").returns) == 3
        assert len(run.evaluate(3, "stochastic").returns) == 3
        assert tensorflow_of(first) == []
        assert peak_bytes_of(first) < MOST_BYTES
        os.kill(ray.get(first.__ray_call__.remote(lambda worker: os.getpid()), timeout=60), signal.SIGKILL)
        for _ in range(3):
            next(run)
        second = run._trainer.handles[0].actor
        assert second is not first
        assert tensorflow_of(second) == []
        assert peak_bytes_of(second) < MOST_BYTES
    assert not any("TensorFlow" in text for text in notes.told)


def assert_light_run(config: TrainConfig, env: type[gym.Env], folder: Path, num_episodes: int) -> None:
    """Trains and evaluates; no collector may have imported TensorFlow, and no note may tell of it."""
    notes = Notes()
    with TrainingRun(config, [notes], run_dir=folder / "run", env=env) as run:
        for _ in range(3):
            next(run)
        assert len(run.evaluate(num_episodes, "greedy").returns) == num_episodes
        actor = run._trainer.handles[0].actor
        assert tensorflow_of(actor) == []
        assert peak_bytes_of(actor) < MOST_BYTES
    assert not any("TensorFlow" in text for text in notes.told)


class Wide(gym.Env):
    """Has observations in float64, as MuJoCo's environments do."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.normal(3.0, 9.0, 17), {}

    def step(self, action: Any) -> Any:
        return self.np_random.normal(3.0, 9.0, 17), float(action.sum()), False, False, {}


class WideActions(Wide):
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("env", [Wide, WideActions])
def test_collectors_of_float64_environments_have_no_tensorflow(tmp_path: Path, env: type[gym.Env]) -> None:
    agent = dataclasses.replace(CONFIG.agent, normalize_observations=True)
    config = dataclasses.replace(CONFIG, agent=agent, vectorization="sync")
    assert_light_run(config, env, tmp_path, num_episodes=3)


class Pictures(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (12, 12, 1), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros((12, 12, 1), np.uint8), {}

    def step(self, action: Any) -> Any:
        return np.zeros((12, 12, 1), np.uint8), 1.0, False, False, {}


@pytest.mark.slow
def test_collectors_with_convolutions_have_no_tensorflow(tmp_path: Path) -> None:
    network = NetworkConfig(actor_units=(8,), conv_layers=((4, 3, 2),))
    config = dataclasses.replace(CONFIG, network=network, vectorization="sync")
    assert_light_run(config, Pictures, tmp_path, num_episodes=2)


class Counters(gym.Env):
    """Has observations that LiteRT cannot convert to floats."""

    observation_space = gym.spaces.Box(0, np.iinfo(np.uint64).max, (2,), np.uint64)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.uint64), {}

    def step(self, action: Any) -> Any:
        return np.ones(2, np.uint64), 1.0, False, False, {}


@pytest.mark.slow
def test_a_policy_that_needs_tensorflow_gets_it_and_a_note_says_what_that_costs(tmp_path: Path) -> None:
    notes = Notes()
    config = dataclasses.replace(CONFIG, vectorization="sync")
    with TrainingRun(config, [notes], run_dir=tmp_path / "run", env=Counters) as run:
        next(run)
        assert len(run.evaluate(2, "greedy").returns) == 2
        assert "tensorflow" in tensorflow_of(run._trainer.handles[0].actor)
    (note,) = [text for text in notes.told if "TensorFlow" in text]
    assert "MiB" in note
    assert "does not have these operations for these dtypes" in note


def assert_it_collects_without_tensorflow(policy: TFPolicy, folder: Path) -> None:
    """Saves a policy for Pendulum, and collects with it."""
    PolicySaver(policy).save(str(folder / "policy"))
    config = CollectConfig("Pendulum-v1", policy=str(folder / "policy"), steps=2_000, collectors=1, num_envs=4)
    run = CollectionRun(config, folder / "data")
    with run:
        next(iter(run))
        (handle,) = run._workers.pool.handles
        assert tensorflow_of(handle.actor) == []
        assert run.description.inference == "litert"
        for _ in run:
            pass
    assert run.manifest.num_rows == 2_000


@pytest.mark.slow
def test_collectors_of_a_saved_policy_have_no_tensorflow(tmp_path: Path) -> None:
    env = suite_gym.load("Pendulum-v1")
    network = ActorDistributionRnnNetwork(
        env.time_step_spec().observation, env.action_spec(), input_fc_layer_params=None, lstm_size=(4,)
    )
    policy = GreedyPolicy(ActorPolicy(env.time_step_spec(), env.action_spec(), network))
    assert_it_collects_without_tensorflow(policy, tmp_path)


@pytest.mark.slow
def test_collectors_of_a_saved_policy_that_draws_have_no_tensorflow(tmp_path: Path) -> None:
    env = suite_gym.load("Pendulum-v1")
    network = ActorDistributionNetwork(
        env.time_step_spec().observation,
        env.action_spec(),
        fc_layer_params=(8,),
        continuous_projection_net=TanhNormalProjectionNetwork,
    )
    policy = ActorPolicy(env.time_step_spec(), env.action_spec(), network, emit_log_probability=True)
    assert_it_collects_without_tensorflow(policy, tmp_path)


def test_without_a_program_a_collector_builds_the_policy_itself() -> None:
    pair = PolicyPair("collect", "greedy")

    @ray.remote
    def lost() -> None:
        raise RuntimeError("the builder is gone")

    for reference in (lost.remote(), ray.put(NeedsTensorFlow("of a reason"))):
        assert ProgramSource((reference,), lambda *specs: pair, 60.0)(None, None) is pair  # type: ignore[arg-type]


@ray.remote
def never() -> None:
    time.sleep(600)


def test_a_program_that_does_not_come_in_time_is_not_waited_for() -> None:
    pair = PolicyPair("collect", "greedy")
    assert ProgramSource((never.remote(),), lambda *specs: pair, 0.1)(None, None) is pair  # type: ignore[arg-type]
