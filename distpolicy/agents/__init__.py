"""Agents: the algorithms that train policies."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "BehavioralCloningAgent": "distpolicy.agents.behavioral_cloning.behavioral_cloning_agent",
    "CategoricalDqnAgent": "distpolicy.agents.categorical_dqn.categorical_dqn_agent",
    "DdpgAgent": "distpolicy.agents.ddpg.ddpg_agent",
    "DqnAgent": "distpolicy.agents.dqn.dqn_agent",
    "PPOAgent": "distpolicy.agents.ppo.ppo_agent",
    "ReinforceAgent": "distpolicy.agents.reinforce.reinforce_agent",
    "SacAgent": "distpolicy.agents.sac.sac_agent",
    "TFAgent": "distpolicy.agents.tf_agent",
    "Td3Agent": "distpolicy.agents.td3.td3_agent",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
