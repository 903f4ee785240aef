"""The agents that learn from datasets, by the suite that users run on their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from offline_batches import CONTINUOUS, DISCRETE, NESTED, OBSERVATION, specs_of, transitions

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.cql.config import CQLConfig
from distpolicy.agents.iql.config import IqlConfig
from distpolicy.agents.marwil.config import MarwilConfig
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.testing import OffPolicyAgentConformance

SEEN = {"screen": BoundedArraySpec((6, 6, 1), np.uint8, 0, 255), "speed": ArraySpec((2,), np.float32)}


def make(config: AgentConfig, action: Any, observation: Any = OBSERVATION) -> TFAgent:
    networks = NetworkConfig(actor_units=(4,), encoder_units=() if observation is OBSERVATION else (5,))
    return config.make_agent(specs_of(action, observation), networks, LearnerOptions(seed=3, jit_compile=False))


class OfflineAgentConformance(OffPolicyAgentConformance):
    """Of agents without collectors, for whose data nothing explores, and of which all rows are drawn alike."""

    returns_priorities = False
    explores = False


class TestBehavioralCloningAgent(OfflineAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(BehavioralCloningConfig(), NESTED)


@pytest.mark.slow
class TestBehavioralCloningAgentOverNests(OfflineAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(BehavioralCloningConfig(), NESTED, SEEN)


@pytest.mark.slow
class TestMarwilAgent(OfflineAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(MarwilConfig(value_units=(4,)), NESTED, SEEN)

    def arguments(self, agent: TFAgent, num_rows: int) -> dict[str, Any]:
        draws = np.random.default_rng(num_rows)
        final = {
            "screen": draws.integers(0, 256, (num_rows, 6, 6, 1)).astype(np.uint8),
            "speed": draws.normal(size=(num_rows, 2)).astype(np.float32),
        }
        returned, discount = draws.normal(size=(2, num_rows)).astype(np.float32)
        more = {"return_to_go": returned, "final_discount": np.clip(discount, 0, 1), "final_observation": final}
        return {**super().arguments(agent, num_rows), **more}


@pytest.mark.slow
class TestIqlAgent(OfflineAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(IqlConfig(critic_units=(4,)), NESTED, SEEN)


@pytest.mark.slow
class TestCqlDqnAgent(OfflineAgentConformance):
    def make_agent(self) -> TFAgent:
        return make(CQLConfig(critic_units=(4,)), DISCRETE)


@pytest.mark.slow
class TestCqlSacAgent(OfflineAgentConformance):
    def make_agent(self) -> TFAgent:
        config = CQLConfig(critic_units=(4,), num_cql_samples=2, learn_cql_alpha=True, num_bc_steps=2)
        return make(config, CONTINUOUS, SEEN)


@pytest.mark.parametrize("config", [BehavioralCloningConfig(), IqlConfig(critic_units=(4,))], ids=["bc", "iql"])
def test_mixed_precision_is_near_and_leaves_policies_in_float32(config: AgentConfig) -> None:
    networks, batch = NetworkConfig(actor_units=(6,), encoder_units=(5,)), transitions(NESTED)
    exact, mixed = (
        config.make_agent(specs_of(NESTED), networks, LearnerOptions(3, jit_compile=False, mixed_precision=is_mixed))
        for is_mixed in (False, True)
    )
    losses = []
    for agent in (exact, mixed):
        agent.initialize()
        losses.append(float(agent.train(batch).loss))
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert losses[0] != losses[1]
    mixed.policy.update(exact.policy)
    found, expected = (agent.policy.action(batch.time_step).action["move"] for agent in (mixed, exact))
    np.testing.assert_array_equal(found, expected)
