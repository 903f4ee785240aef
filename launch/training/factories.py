"""PolicyFactory and AgentFactory: are sent to workers, and build policies and agents there.

TensorFlow is imported inside the functions: the driver imports this module and does not need TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import DistPolicyError
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import TimeStep
from launch.config.train import TrainConfig
from workers.collection.collector import PolicyPair
from workers.pickled_callable import PickledCallable


def _require_eager() -> None:
    """Checks that TensorFlow executes eagerly in this process; nothing here works in graph mode.

    Raises:
        DistPolicyError: If it does not; says why that happens.
    """
    import tensorflow as tf

    if not tf.executing_eagerly():
        raise DistPolicyError(
            "TensorFlow runs in graph mode in this process: `import ray.rllib` before `import tensorflow` turns eager "
            "execution off, also when an argument of a class in ray.rllib is unpickled; import tensorflow first"
        )


def _agent_config(config: TrainConfig, agent: PickledCallable | None) -> AgentConfig:
    if agent is None:
        return config.agent
    assert isinstance(config.agent, CustomAgentConfig)
    return dataclasses.replace(config.agent, factory=agent.load())


def _is_slow_by_xla(agent: Any) -> bool:
    """Returns True if TensorFlow alone is faster: on CPUs, XLA takes 15 times as long for convolutions."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return False
    return any(item.variable.trainable and item.variable.shape.rank == 4 for item in agent.named_variables())


@dataclass(frozen=True)
class PolicyFactory:
    """Builds a collector's policies; the weights come later.

    Attributes:
        config: The run's config.
        agent: The function that makes the agent, instead of the one that the config names.
    """

    config: TrainConfig
    agent: PickledCallable | None = None

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """Returns the policies, compiled."""
        _require_eager()
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        config = self.config
        specs = EnvironmentSpecs(time_step_spec, action_spec)
        policies = _agent_config(config, self.agent).make_policies(
            specs, config.network, config.seed, config.action_mask
        )
        collect, deployed = (
            PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference="auto")
            for policy in (policies.collect_policy, policies.policy)
        )
        return PolicyPair(collect, deployed)


@dataclass(frozen=True)
class AgentFactory:
    """Builds the learner's agent, or one replica's.

    Attributes:
        config: The run's config.
        specs: Specs of the environment.
        agent: The function that makes the agent, instead of the one that the config names.
    """

    config: TrainConfig
    specs: EnvironmentSpecs
    agent: PickledCallable | None = None

    def __call__(self, addresses: Sequence[str] = (), rank: int = 0) -> Any:
        """Returns the agent, initialised.

        Args:
            addresses: Addresses of all replicas that learn together; empty if there is one learner.
            rank: Rank of this replica.
        """
        import tensorflow as tf

        _require_eager()
        from distpolicy.agents.replicas import Replicas
        from distpolicy.utils.compilation.compile_cache import use_compile_cache

        config = self.config
        if config.jit_compile and config.compile_cache:
            use_compile_cache()
        for gpu in tf.config.list_physical_devices("GPU"):
            # Before anything runs on the GPU: otherwise TensorFlow takes its whole memory.
            tf.config.experimental.set_memory_growth(gpu, True)
        # TensorFlow requires that this comes before the first operation.
        replicas = Replicas(addresses, rank) if addresses else None
        options = LearnerOptions(config.seed, config.jit_compile, config.mixed_precision, replicas, config.action_mask)
        agent_config = _agent_config(config, self.agent)
        agent = agent_config.make_agent(self.specs, config.network, options)
        # A user's function decides this itself.
        is_own = not isinstance(agent_config, CustomAgentConfig)
        if is_own and agent.jit_compile and _is_slow_by_xla(agent):
            agent = agent_config.make_agent(self.specs, config.network, options._replace(jit_compile=False))
        agent.initialize()
        return agent
