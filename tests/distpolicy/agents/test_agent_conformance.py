"""The agents of this package, by the suite that users run on their own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.ppo_clip_agent import PPOClipAgent
from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.testing import TFAgentConformance
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import time_step_spec

OBSERVATION = ArraySpec((3,), np.float32)
DISCRETE = BoundedArraySpec((), np.int64, 0, 2)
BOX = BoundedArraySpec((2,), np.float32, -1.0, 1.0)


def make(config: AgentConfig, action: BoundedArraySpec, networks: NetworkConfig) -> TFAgent:
    specs = EnvironmentSpecs(time_step_spec(OBSERVATION), action)
    return config.make_agent(specs, networks, LearnerOptions(seed=3, jit_compile=False))


PPO = PPOConfig(value_units=(4,), num_epochs=2, num_minibatches=2, normalize_observations=True, normalize_rewards=True)
IMPALA = ImpalaConfig(
    value_units=(4,), num_epochs=2, num_minibatches=2, normalize_observations=True, normalize_rewards=True
)
APPO = APPOConfig(
    value_units=(4,),
    num_epochs=2,
    num_minibatches=2,
    target_update_period=2,
    normalize_observations=True,
    normalize_rewards=True,
)
SMALL = NetworkConfig(actor_units=(4,))
LSTM = NetworkConfig(actor_units=(4,), recurrent="lstm", recurrent_units=(3,))


class TestPPOAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(PPO, DISCRETE, SMALL)


@pytest.mark.slow
class TestRecurrentPPOAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(PPO, BOX, LSTM)


@pytest.mark.slow
class TestPPOClipAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return PPOClipAgent(
            time_step_spec(OBSERVATION),
            BOX,
            optimizer=keras.optimizers.Adam(1e-2),
            actor_net=ActorDistributionNetwork(OBSERVATION, BOX, fc_layer_params=(4,)),
            value_net=ValueNetwork(OBSERVATION, fc_layer_params=(4,)),
            importance_ratio_clipping=0.2,
            num_epochs=2,
        )


class TestImpalaAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(IMPALA, BOX, SMALL)


@pytest.mark.slow
class TestRecurrentImpalaAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(IMPALA, DISCRETE, LSTM)


class TestAPPOAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(APPO, DISCRETE, SMALL)


@pytest.mark.slow
class TestRecurrentAPPOAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(APPO, BOX, LSTM)


class TestReinforceAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(ReinforceConfig(entropy_weight=0.01), DISCRETE, SMALL)


@pytest.mark.slow
class TestRecurrentReinforceAgent(TFAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(ReinforceConfig(), BOX, LSTM)


@pytest.mark.parametrize("config", [PPO, IMPALA, APPO, ReinforceConfig()], ids=lambda config: config.kind)
def test_the_collectors_policy_has_the_agents_variables(config: AgentConfig) -> None:
    specs = EnvironmentSpecs(time_step_spec(OBSERVATION), DISCRETE)
    policy = config.make_policies(specs, SMALL, seed=3).collect_policy
    policy.update(make(config, DISCRETE, SMALL).collect_policy)
