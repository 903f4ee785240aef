"""TensorFlow policies that run on a Ray cluster.

The public names are loaded when they are first used, so that a process which needs no TensorFlow, such as the
driver, does not import it.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "ActorDistributionNetwork": "distpolicy.networks.actor_distribution_network",
    "ActorPolicy": "distpolicy.policies.actor_policy",
    "GreedyPolicy": "distpolicy.policies.greedy_policy",
    "Network": "distpolicy.networks.network",
    "PPOAgent": "distpolicy.agents.ppo_agent",
    "PPOConfig": "distpolicy.agents.ppo_config",
    "PolicySaver": "distpolicy.policies.policy_saver",
    "PolicyStep": "distpolicy.trajectories.policy_step",
    "PyPolicy": "distpolicy.policies.py_policy",
    "PyTFEagerPolicy": "distpolicy.policies.py_tf_eager_policy",
    "Rollout": "distpolicy.trajectories.rollout",
    "TFPolicy": "distpolicy.policies.tf_policy",
    "TimeStep": "distpolicy.trajectories.time_step",
    "Trajectory": "distpolicy.trajectories.trajectory",
    "ValueNetwork": "distpolicy.networks.value_network",
    "Weights": "distpolicy.weights",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'distpolicy' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
