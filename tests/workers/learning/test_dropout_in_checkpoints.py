"""Networks with Dropout: a checkpoint in the middle changes nothing, as for networks without random layers."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_training import zero_rollout_for
from distpolicy.agents.dqn.dqn_agent import DqnAgent
from distpolicy.agents.experience_config import ExperienceConfig, OnPolicy, Replay
from distpolicy.agents.ppo.ppo_agent import PPOAgent
from distpolicy.agents.reinforce.reinforce_agent import ReinforceAgent
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, time_step_spec
from workers.learning.learner import Learner

OBSERVATION, ACTION = ArraySpec((2,), np.float32), BoundedArraySpec((), np.int64, 0, 1)
STEPS = time_step_spec(OBSERVATION)
LAYERS = {"fc_layer_params": (8,), "dropout_layer_params": (0.5,)}


def dqn() -> TFAgent:
    network = QNetwork(OBSERVATION, ACTION, seed=1, **LAYERS)
    network.create_variables()
    optimizer = Adam(network.trainable_variables, 1e-8, None, 1e-2)
    return DqnAgent(STEPS, ACTION, network, optimizer, jit_compile=False)


def ppo() -> TFAgent:
    actor = ActorDistributionNetwork(OBSERVATION, ACTION, seed=1, **LAYERS)
    value = ValueNetwork(OBSERVATION, seed=2, fc_layer_params=(8,))
    return PPOAgent(STEPS, ACTION, keras.optimizers.Adam(1e-2), actor, value, num_epochs=2)


def reinforce() -> TFAgent:
    actor = ActorDistributionNetwork(
        OBSERVATION,
        ACTION,
        seed=1,
        preprocessing_layers=keras.Sequential([keras.layers.Dense(8), keras.layers.Dropout(0.5, seed=3)]),
        fc_layer_params=(8,),
    )
    return ReinforceAgent(STEPS, ACTION, actor, keras.optimizers.Adam(1e-2))


def of_version(rollout: Rollout, learner: Learner) -> Rollout:
    return rollout._replace(weights_version=np.array([[0, learner.weights().version]] * rollout.num_slots))


def made_rollout(agent: TFAgent) -> Rollout:
    """Returns steps in the middle of an episode, from which there is something to learn."""
    zeros, draws = zero_rollout_for(agent, 2, 8), np.random.default_rng(0)
    return zeros._replace(
        observation=draws.normal(size=zeros.observation.shape).astype(np.float32),
        step_type=np.full_like(zeros.step_type, StepType.MID),
        action=draws.integers(0, 2, zeros.action.shape, zeros.action.dtype),
        reward=draws.normal(size=zeros.reward.shape).astype(np.float32),
        discount=np.ones_like(zeros.discount),
    )


def agent_state(learner: Learner) -> dict[str, np.ndarray]:
    """Returns the state without the replay buffer, whose parts depend on when states were taken."""
    kept = ("experience/", "segment-", "learner/")
    return {path: value for path, value in learner.state().items() if not path.startswith(kept)}


CASES: dict[str, tuple[Callable[[], TFAgent], ExperienceConfig]] = {
    "dqn": (dqn, Replay(capacity=100, batch_size=4, num_updates=2, min_size=0)),
    "ppo": (ppo, OnPolicy(0)),
    "reinforce": (reinforce, OnPolicy(0)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_in_the_middle_changes_nothing(case: str) -> None:
    make, experience = CASES[case]

    def learner() -> Learner:
        def made() -> TFAgent:
            keras.utils.set_random_seed(0)
            agent = make()
            agent.initialize()
            return agent

        found = Learner(made, experience=experience)
        found.warm_up(2, 8)
        return found

    whole, first, second = learner(), learner(), learner()
    rollout = made_rollout(make())
    for number in range(6):
        whole.update(0.0, of_version(rollout, whole))
        part = first if number < 3 else second
        if number == 3:
            second.restore(first.state())
        part.update(0.0, of_version(rollout, part))
    found, expected = agent_state(second), agent_state(whole)
    assert found.keys() == expected.keys()
    assert [path for path in expected if "seeds/" in path]
    for path, value in expected.items():
        np.testing.assert_array_equal(value, found[path], err_msg=path)
