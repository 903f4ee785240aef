"""What an agent says that it learns from, and its loss without learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.agent_config import LearnerOptions, RunShape
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.agents.dqn.dqn_agent import DqnAgent
from distpolicy.agents.experience_config import AgentsOwn, OnPolicy, Replay
from distpolicy.agents.reinforce.reinforce_agent import ReinforceAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.q_network import QNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import trajectory
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import time_step_spec

OBSERVATION = ArraySpec((3,), np.float32)
ACTION = BoundedArraySpec((), np.int64, 0, 1)
B = 4


def dqn(**arguments: Any) -> DqnAgent:
    network = QNetwork(OBSERVATION, ACTION, fc_layer_params=(4,))
    agent = DqnAgent(
        time_step_spec(OBSERVATION),
        ACTION,
        network,
        tf.keras.optimizers.SGD(0.1),
        jit_compile=False,
        **arguments,
    )
    agent.initialize()
    return agent


def reinforce() -> ReinforceAgent:
    network = ActorDistributionNetwork(OBSERVATION, ACTION, fc_layer_params=(4,))
    return ReinforceAgent(time_step_spec(OBSERVATION), ACTION, network, tf.keras.optimizers.SGD(0.1))


def batch(num_steps: int) -> trajectory.Trajectory:
    generator = np.random.default_rng(0)
    types = np.ones((B, num_steps + 1), np.int32)
    types[:, -1] = 2
    return trajectory.Trajectory(
        types[:, :-1],
        generator.normal(size=(B, num_steps, 3)).astype(np.float32),
        generator.integers(0, 2, (B, num_steps)),
        (),
        types[:, 1:],
        generator.normal(size=(B, num_steps)).astype(np.float32),
        np.ones((B, num_steps), np.float32),
    )


def test_a_q_learner_has_a_replay_buffer_by_its_own_steps_and_discount() -> None:
    found = dqn(n_step_update=3, gamma=0.9).experience({"batch_size": 32}, rollout_steps=16)
    assert found == Replay(n_step=3, discount=0.9, batch_size=32)


def test_a_policy_gradient_learns_from_rollouts_unless_a_buffer_is_asked_for() -> None:
    assert reinforce().experience({}, rollout_steps=16) == OnPolicy()
    assert reinforce().experience({"capacity": 10}, rollout_steps=16) == Replay(capacity=10)


def test_the_settings_leave_it_to_the_agent() -> None:
    config = CustomAgentConfig("module:make", replay={"batch_size": 8})
    shape = RunShape(1, 4, 16, 1, 0, recurrent=False)
    assert config.experience(shape) == AgentsOwn({"batch_size": 8}, 16)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("num_updates", 0, "a whole number of 1 or more, but is 0"),
        ("n_step", 0, "a whole number of 1 or more, but is 0"),
        ("capacity", 1e6, "a whole number of 1 or more, but is 1000000.0"),
        ("sequence_length", -1, "a whole number of 1 or more, but is -1"),
        ("min_size", "many", "a whole number of 0 or more, but is 'many'"),
        ("samples_per_insert", 0.0, "a finite number above 0, but is 0.0"),
        ("samples_per_insert", float("inf"), "a finite number above 0, but is inf"),
        ("importance_exponent", 1.5, r"in \[0, 1\], but is 1.5"),
    ],
)
def test_settings_of_a_buffer_out_of_range_are_refused_before_anything_starts(name: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} of a replay buffer must be {told}"):
        CustomAgentConfig("module:make", replay={name: value})


@pytest.mark.parametrize("make", [dqn, reinforce], ids=lambda make: make.__name__)
def test_the_loss_is_what_training_returns_and_changes_nothing(make: Any) -> None:
    agent, experience = make(), batch(2)
    before = [variable.numpy() for variable in agent.policy.variables()]
    loss = float(agent.loss(experience).loss)
    for old, new in zip(before, agent.policy.variables(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(agent.train_step_counter) == 0
    np.testing.assert_allclose(float(agent.train(experience).loss), loss, rtol=1e-5)


def test_a_function_without_options_is_refused_with_mixed_precision() -> None:
    specs, networks = EnvironmentSpecs(time_step_spec(OBSERVATION), ACTION), NetworkConfig()
    with pytest.raises(ConfigError, match=r"has no parameter options: leave it out, or give it one, and pass options"):
        CustomAgentConfig(lambda *_: dqn()).make_agent(specs, networks, LearnerOptions(mixed_precision=True))
    given = []
    takes = CustomAgentConfig(lambda *_, options: given.append(options) or dqn())
    takes.make_agent(specs, networks, LearnerOptions(mixed_precision=True))
    assert [options.mixed_precision for options in given] == [True]
