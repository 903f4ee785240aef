"""The agents that learn from replay, by the suite that users run on their own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.categorical_dqn.config import C51Config
from distpolicy.agents.ddpg.config import DDPGConfig
from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.agents.r2d2.config import R2D2Config
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.td3.config import TD3Config
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.testing import OffPolicyAgentConformance
from distpolicy.testing.off_policy_agent import Batch
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import time_step_spec

OBSERVATION = ArraySpec((3,), np.float32)
NESTED = {"screen": BoundedArraySpec((6, 6, 1), np.uint8, 0, 255), "speed": ArraySpec((2,), np.float32)}
FLOATS = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [3.0, 0.5])
SEVERAL = {"turn": BoundedArraySpec((), np.float32, -1.0, 1.0), "push": FLOATS}
DISCRETE = BoundedArraySpec((), np.int64, 0, 2)
SMALL = NetworkConfig(actor_units=(4,))
LSTM = NetworkConfig(actor_units=(4,), recurrent="lstm", recurrent_units=(3,))


def make(
    config: AgentConfig, action: Any = DISCRETE, observation: Any = OBSERVATION, networks: NetworkConfig = SMALL
) -> TFAgent:
    specs = EnvironmentSpecs(time_step_spec(observation), action)
    return config.make_agent(specs, networks, LearnerOptions(seed=3, jit_compile=False))


class TestDdqnAgent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(DQNConfig(target_update_period=2))


@pytest.mark.slow
class TestDqnAgentWithDuelingNetworkOverNests(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(DQNConfig(double_q=False, dueling=True, target_update_tau=0.5), observation=NESTED)


class TestNoisyDdqnAgent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(DQNConfig(exploration="noisy", dueling=True))


class TestC51Agent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(C51Config(num_atoms=5))


@pytest.mark.slow
class TestC51AgentOverNests(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(C51Config(num_atoms=5, target_update_tau=0.5, epsilon_spread=7.0), observation=NESTED)


class TestSacAgent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(SACConfig(critic_units=(4,)), FLOATS)


@pytest.mark.slow
class TestSacAgentOverNests(OffPolicyAgentConformance):
    # Correlated noise is there from the start, and stays as it is.
    explores = False

    def make_agent(self) -> TFAgent:
        networks = NetworkConfig(actor_units=(4,), encoder_units=(5,))
        config = SACConfig(critic_units=(4,), learn_alpha=False, target_update_period=2, exploration_correlation=0.9)
        return make(config, SEVERAL, NESTED, networks)


@pytest.mark.slow
class TestDiscreteSacAgent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(SACConfig(critic_units=(4,)))


@pytest.mark.slow
class TestTd3Agent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(TD3Config(critic_units=(4,), final_exploration_noise=0.5), FLOATS)


@pytest.mark.slow
class TestTd3AgentOverNests(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        config = TD3Config(critic_units=(4,), exploration_correlation=0.9, final_exploration_noise=0.5)
        return make(config, {"push": FLOATS}, NESTED)


@pytest.mark.slow
class TestDdpgAgent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(DDPGConfig(critic_units=(4,)), FLOATS)


@pytest.mark.slow
class TestDdpgAgentOverNests(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(DDPGConfig(critic_units=(4,)), {"push": FLOATS}, NESTED)


@pytest.mark.slow
class TestR2d2Agent(OffPolicyAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(R2D2Config(burn_in=2, sequence_length=4, n_step=2, epsilon_spread=7.0), networks=LSTM)

    def make_batch(self, agent: TFAgent, rollout: Rollout) -> Batch:
        arguments = {**self.arguments(agent, self.num_slots), "policy_state": rollout.policy_state}
        return Batch(rollout.trajectory, rollout.step_weights, arguments)


@pytest.mark.slow
class TestR2d2AgentOverNests(TestR2d2Agent):
    def make_agent(self) -> TFAgent:
        config = R2D2Config(burn_in=0, sequence_length=6, n_step=2)
        return make(config, observation=NESTED, networks=dataclasses.replace(LSTM, recurrent="gru"))


@pytest.mark.parametrize(
    ("config", "action"),
    [
        (DQNConfig(), DISCRETE),
        (DQNConfig(dueling=True), DISCRETE),
        (C51Config(), DISCRETE),
        (SACConfig(), FLOATS),
        (SACConfig(), DISCRETE),
        (TD3Config(), FLOATS),
        (DDPGConfig(), FLOATS),
    ],
)
def test_the_collectors_policy_has_the_agents_variables(config: AgentConfig, action: Any) -> None:
    specs = EnvironmentSpecs(time_step_spec(OBSERVATION), action)
    policy = config.make_policies(specs, SMALL, seed=3).collect_policy
    policy.update(make(config, action).collect_policy)


@pytest.mark.parametrize(
    ("config", "action"),
    [
        (DQNConfig(), DISCRETE),
        (C51Config(), DISCRETE),
        (SACConfig(), FLOATS),
        (TD3Config(), FLOATS),
        (DDPGConfig(), FLOATS),
        (R2D2Config(burn_in=2, sequence_length=4, n_step=2), DISCRETE),
    ],
)
def test_rewards_are_scaled(config: AgentConfig, action: Any) -> None:
    is_recurrent = isinstance(config, R2D2Config)
    suite = TestR2d2Agent() if is_recurrent else OffPolicyAgentConformance()
    losses = {}
    for scale, factor in ((1.0, 1.0), (3.0, 1.0), (1.0, 3.0)):
        changed = dataclasses.replace(config, reward_scale=scale)  # type: ignore[call-arg]  # Of all of these.
        agent = make(changed, action, networks=LSTM if is_recurrent else SMALL)
        rollout = suite.make_rollout(agent)
        losses[scale, factor] = float(suite.train(agent, rollout._replace(reward=factor * rollout.reward)).loss)
    assert losses[3.0, 1.0] == pytest.approx(losses[1.0, 3.0], rel=1e-5)
    # C51 projects returns onto atoms that lie far apart.
    assert losses[3.0, 1.0] != pytest.approx(losses[1.0, 1.0], rel=5e-5)
