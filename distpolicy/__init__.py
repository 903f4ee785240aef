"""TensorFlow policies that run on a Ray cluster.

The public names are loaded on first use, so that a process that does not need TensorFlow, such as the driver, does not
import it.
"""

from distpolicy import agents, drivers, environments, networks, policies, replay_buffers
from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    **agents._MODULES,
    **drivers._MODULES,
    **environments._MODULES,
    **networks._MODULES,
    **policies._MODULES,
    **replay_buffers._MODULES,
    "APPOAgent": "distpolicy.agents.appo.appo_agent",
    "APPOConfig": "distpolicy.agents.appo.config",
    "C51Config": "distpolicy.agents.categorical_dqn.config",
    "CategoricalDqnAgent": "distpolicy.agents.categorical_dqn.categorical_dqn_agent",
    "CriticNetwork": "distpolicy.agents.ddpg.critic_network",
    "DQNConfig": "distpolicy.agents.dqn.config",
    "DdqnAgent": "distpolicy.agents.dqn.dqn_agent",
    "DqnAgent": "distpolicy.agents.dqn.dqn_agent",
    "GymnasiumWrapper": "distpolicy.environments.gymnasium_wrapper",
    "ImpalaAgent": "distpolicy.agents.impala.impala_agent",
    "ImpalaConfig": "distpolicy.agents.impala.config",
    "MixturePolicy": "distpolicy.bandits.policies.mixture_policy",
    "PPOConfig": "distpolicy.agents.ppo.config",
    "PolicyStep": "distpolicy.trajectories.policy_step",
    "PyDriver": "distpolicy.drivers.py_driver",
    "PyEnvironment": "distpolicy.environments.py_environment",
    "R2D2Config": "distpolicy.agents.r2d2.config",
    "R2d2Agent": "distpolicy.agents.r2d2.r2d2_agent",
    "Rollout": "distpolicy.trajectories.rollout",
    "StreamingTensorNormalizer": "distpolicy.utils.tensor_normalizer",
    "TimeStep": "distpolicy.trajectories.time_step",
    "Trajectory": "distpolicy.trajectories.trajectory",
    "Weights": "distpolicy.weights",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
