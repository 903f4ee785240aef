"""Learners with a replay buffer: N updates, a checkpoint and N more are 2 N updates, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.agent_training import zero_rollout_for
from distpolicy.agents.dqn.dqn_agent import DqnAgent
from distpolicy.agents.experience_config import Replay
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.q_network import QNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.utils.nests.array_nest import map_structure
from launch.config.train import TrainConfig
from launch.training.checkpoint_store import CheckpointStore
from launch.training.factories import AgentFactory, PolicyFactory
from launch.training.totals import TrainingTotals
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.probe import probe
from workers.experience.replay import memory
from workers.learning.learner import Learner, transitions_left_out

NUM_UPDATES = 12
SMALL = {
    "replay_capacity": 200,
    "batch_size": 8,
    "updates_per_call": 2,
    "samples_per_insert": 1.3,
    "learning_starts": 30,
}


def config_of(kind: str, env: str = "CartPole-v1", **settings: Any) -> TrainConfig:
    agent = AgentConfig.of_kind(kind)
    more = {"critic_units": (8,)} if hasattr(agent, "critic_units") else {}
    return TrainConfig(
        env=env,
        collectors=1,
        envs_per_collector=3,
        rollout_steps=8,
        vectorization="sync",
        jit_compile=False,
        network=NetworkConfig(actor_units=(8,), recurrent="lstm" if kind == "r2d2" else "none", recurrent_units=(4,)),
        agent=agent(**{**SMALL, **more, **settings}),
    )


def make_learner(config: TrainConfig) -> Learner:
    specs = probe(config.environment_factory)
    learner = Learner(AgentFactory(config, specs), 0, 0, config.agent.experience(config.shape), config.seed)
    learner.warm_up(config.envs_per_collector, config.rollout_steps)
    return learner


def update(learner: Learner, rollout: Rollout) -> dict[str, float]:
    # The same rollouts for both: they are from the first version's weights.
    version = np.array([[0, learner.weights().version]] * rollout.num_slots)
    return learner.update(0.1, rollout._replace(weights_version=version))[1]


# A gradient step of R2D2 takes 64 samples.
SEQUENCES = {"sequence_length": 8, "burn_in": 2, "n_step": 2, "samples_per_insert": 6.0, "priority_exponent": 0.9}
SPREAD = {"epsilon_spread": 7.0, "epsilon_final": 0.4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn": ("dqn", {}),
    "r2d2": ("r2d2", SEQUENCES),
    "prioritised": ("dqn", {"priority_exponent": 0.6, "n_step": 3, "target_update_period": 5}),
    "noisy": ("dqn", {"exploration": "noisy", "dueling": True}),
    "spread": ("dqn", SPREAD),
    "r2d2-spread": ("r2d2", {**SEQUENCES, **SPREAD}),
    "c51": ("c51", {"num_atoms": 5}),
    "sac": ("sac", {"env": "Pendulum-v1"}),
    "discrete-sac": ("sac", {}),
    "td3": ("td3", {"env": "Pendulum-v1"}),
    "ddpg": ("ddpg", {"env": "Pendulum-v1"}),
}
QUICK = ("dqn", "r2d2")


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_a_checkpoint_in_the_middle_changes_nothing(case: str, tmp_path: Path) -> None:
    kind, settings = CASES[case]
    config = config_of(kind, **settings)
    learner = make_learner(config)
    collector = Collector(CollectorConfig(0, 0, 3, 8, 0), config.environment_factory, PolicyFactory(config))
    rollouts = [map_structure(np.array, collector.rollout(learner.weights())[0]) for _ in range(2 * NUM_UPDATES)]
    collector.close()
    found = [update(learner, rollout) for rollout in rollouts]
    assert "loss" not in found[0]
    assert np.isfinite(found[-1]["loss"])

    other, store = make_learner(config), CheckpointStore(tmp_path, keep=1)
    for number, rollout in enumerate(rollouts[:NUM_UPDATES], 1):
        update(other, rollout)
        if number % 4 == 0:
            store.save(other.state(store.kept_parts), TrainingTotals(updates=number))
    resumed = make_learner(config)
    checkpoint = CheckpointStore(tmp_path, keep=1).latest_to_resume()
    for segment in checkpoint.segments():
        resumed.take_part(segment)
    resumed.restore(checkpoint.state)
    again = [update(resumed, rollout) for rollout in rollouts[NUM_UPDATES:]]
    assert [one.get("loss") for one in again] == [one.get("loss") for one in found[NUM_UPDATES:]]
    left, right = learner.state(), resumed.state()
    assert left.keys() == right.keys()
    for path, value in left.items():
        np.testing.assert_array_equal(value, right[path], err_msg=path)


def test_each_transition_is_learned_from_as_often_as_was_asked_for() -> None:
    config = config_of("dqn")
    learner = make_learner(config)
    collector = Collector(CollectorConfig(0, 0, 3, 8, 0), config.environment_factory, PolicyFactory(config))
    inserted = 0
    for _ in range(2 * NUM_UPDATES):
        rollout = collector.rollout(learner.weights())[0]
        inserted += int(rollout.step_weights.sum())
        update(learner, rollout)
    collector.close()
    due = 1.3 * (inserted - 30)
    (steps,) = (value for path, value in learner.state().items() if path.endswith("train_step_counter"))
    assert due - 16 < int(steps) * 8 <= due


def test_a_run_that_goes_on_without_its_rows_fills_the_buffer_anew() -> None:
    config = config_of("dqn", checkpoint_replay=False)
    learner, resumed = make_learner(config), make_learner(config)
    collector = Collector(CollectorConfig(0, 0, 3, 8, 0), config.environment_factory, PolicyFactory(config))
    rollouts = [map_structure(np.array, collector.rollout(learner.weights())[0]) for _ in range(NUM_UPDATES)]
    collector.close()
    held = [update(learner, rollout)["replay_size"] for rollout in rollouts][-1]
    state = learner.state()
    assert [path for path in state if path.startswith(("experience/", "segment-"))] == ["experience/left_out"]
    assert transitions_left_out(state) == held > 150
    resumed.restore(state)
    assert transitions_left_out(resumed.state()) == 0
    metrics = [update(resumed, rollout) for rollout in rollouts[:3]]
    assert "loss" not in metrics[0]
    assert "loss" in metrics[-1]
    assert metrics[0]["replay_size"] <= 24


def test_a_learner_that_goes_on_warms_up_without_room_for_a_second_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("dqn")
    learner, resumed = make_learner(config), make_learner(config)
    collector = Collector(CollectorConfig(0, 0, 3, 8, 0), config.environment_factory, PolicyFactory(config))
    for _ in range(NUM_UPDATES):
        update(learner, collector.rollout(learner.weights())[0])
    collector.close()
    state = learner.state()
    resumed.restore(state)
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 0)
    resumed.warm_up(config.envs_per_collector, config.rollout_steps)
    after = resumed.state()
    assert after.keys() == state.keys()
    for path, value in state.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)


class AgentWithoutPriorities(DqnAgent):
    """Returns the loss alone, as an agent of one's own may."""

    def _train(self, experience: Any, weights: Any) -> LossInfo:
        return LossInfo(super()._train(experience, weights).loss, ())


def test_an_agent_without_priorities_is_told_what_it_lacks() -> None:
    observation, action = ArraySpec((2,), np.float32), BoundedArraySpec((), np.int64, 0, 1)
    network = QNetwork(observation, action, fc_layer_params=(4,))
    network.create_variables()
    optimizer = Adam(network.trainable_variables, 1e-8, None, 1e-3)
    agent = AgentWithoutPriorities(time_step_spec(observation), action, network, optimizer, jit_compile=False)
    replay = Replay(capacity=100, batch_size=4, num_updates=2, min_size=0, priority_exponent=0.6)
    learner = Learner(lambda: agent, experience=replay)
    with pytest.raises(ConfigError, match=r"train returns no priorities in LossInfo\.extra: .* priority_exponent to 0"):
        learner.update(0.0, zero_rollout_for(agent, 2, 8))
