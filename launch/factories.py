"""What travels to workers to build policies and agents there: functions of the config.

TensorFlow is imported inside, since the driver, which imports this module, has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.errors import DistPolicyError
from distpolicy.trajectories.time_step import TimeStep
from launch.config import TrainConfig
from workers.collector import PolicyPair


def _require_eager() -> None:
    """Refuses a process in which TensorFlow runs as version 1, where nothing here works.

    Raises:
        DistPolicyError: If it does; says why that happens.
    """
    import tensorflow as tf

    if not tf.executing_eagerly():
        raise DistPolicyError(
            "TensorFlow runs in graph mode in this process: `import ray.rllib` before `import tensorflow` turns eager "
            "execution off, also when an argument of a class in ray.rllib is unpickled; import tensorflow first"
        )


def _actor_network(config: TrainConfig, time_step_spec: TimeStep, action_spec: Any) -> Any:
    from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
    from distpolicy.networks.projection import NormalProjection, TanhNormalProjection

    kinds: dict[str, Any] = {"clipped_normal": NormalProjection, "tanh_normal": TanhNormalProjection}
    return ActorDistributionNetwork(
        time_step_spec.observation,
        action_spec,
        fc_layer_params=config.network.actor_units,
        activation_fn=config.network.activation,
        continuous_projection_net=kinds[config.network.continuous],
        seed=_network_seed(config, 0),
    )


def _network_seed(config: TrainConfig, index: int) -> int:
    words = np.random.SeedSequence(config.seed, spawn_key=(2**16 + index,)).generate_state(1)
    return int(words[0] % 2**30)


@dataclass(frozen=True)
class PolicyFactory:
    """Builds a collector's policies; the weights come later.

    Attributes:
        config: The run's config.
    """

    config: TrainConfig

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """The policies, compiled."""
        _require_eager()
        from distpolicy.agents.ppo_agent import make_collect_policy
        from distpolicy.policies.greedy_policy import GreedyPolicy
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        network = _actor_network(self.config, time_step_spec, action_spec)
        policy = make_collect_policy(time_step_spec, action_spec, network, self.config.ppo.normalize_observations)
        collect = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False)
        greedy = PyTFEagerPolicy(GreedyPolicy(policy), use_tf_function=True, batch_time_steps=False)
        return PolicyPair(collect, greedy)


@dataclass(frozen=True)
class AgentFactory:
    """Builds the learner's agent.

    Attributes:
        config: The run's config.
        time_step_spec: Array specs of one time step.
        action_spec: Array specs of one action.
    """

    config: TrainConfig
    time_step_spec: TimeStep
    action_spec: Any

    def __call__(self) -> Any:
        """The agent."""
        import tensorflow as tf

        _require_eager()
        from distpolicy.agents.ppo_agent import PPOAgent
        from distpolicy.networks.value_network import ValueNetwork
        from distpolicy.utils.compile_cache import use_compile_cache

        if self.config.jit_compile and self.config.compile_cache:
            use_compile_cache()
        for gpu in tf.config.list_physical_devices("GPU"):
            # Before anything runs on it: TensorFlow takes the whole memory otherwise.
            tf.config.experimental.set_memory_growth(gpu, True)
        network = self.config.network
        return PPOAgent(
            self.time_step_spec,
            self.action_spec,
            _actor_network(self.config, self.time_step_spec, self.action_spec),
            ValueNetwork(
                self.time_step_spec.observation,
                fc_layer_params=network.value_units,
                activation_fn=network.activation,
                seed=_network_seed(self.config, 1),
            ),
            self.config.ppo,
            seed=self.config.seed,
            jit_compile=self.config.jit_compile,
        )
