"""What travels to workers to build policies and agents there: functions of the config.

TensorFlow is imported inside, since the driver, which imports this module, has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.errors import DistPolicyError
from distpolicy.trajectories.time_step import TimeStep
from launch.config.train import TrainConfig
from workers.collection.collector import PolicyPair


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


def _encoding_network(config: TrainConfig, time_step_spec: TimeStep) -> Any:
    """What actor and critic share, or None where they read observations themselves."""
    import keras

    from distpolicy.networks.encoding_network import EncodingNetwork
    from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
    from distpolicy.networks.observation_encoding import preprocessing_for

    network, seed = config.network, _network_seed(config, 2)
    layers, combiner = preprocessing_for(
        time_step_spec.observation,
        conv_layer_params=network.conv_layers,
        kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0), seed=_network_seed(config, 3)),
    )
    initializer = keras.initializers.Orthogonal(math.sqrt(2.0), seed=seed)
    if network.recurrent != "none":
        return LSTMEncodingNetwork(
            time_step_spec.observation,
            preprocessing_layers=layers,
            preprocessing_combiner=combiner,
            input_fc_layer_params=network.encoder_units or None,
            lstm_size=network.recurrent_units,
            output_fc_layer_params=None,
            activation_fn=network.activation,
            cell=network.recurrent,
            kernel_initializer=initializer,
            seed=seed + len(network.encoder_units),
        )
    if layers is None and not network.encoder_units:
        return None
    return EncodingNetwork(
        time_step_spec.observation,
        preprocessing_layers=layers,
        preprocessing_combiner=combiner,
        fc_layer_params=network.encoder_units,
        activation_fn=network.activation,
        kernel_initializer=initializer,
    )


def _head_input_spec(encoding_network: Any, time_step_spec: TimeStep) -> Any:
    """What actor and critic read: encodings, or observations."""
    return time_step_spec.observation if encoding_network is None else encoding_network.create_variables()


def _actor_network(config: TrainConfig, input_spec: Any, action_spec: Any) -> Any:
    import keras

    from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
    from distpolicy.networks.categorical_projection_network import CategoricalProjectionNetwork

    network, seed = config.network, _network_seed(config, 0)
    # Small, so that the policy begins near uniform (Andrychowicz et al., "What matters in on-policy reinforcement
    # learning", 2020).
    last_initializer = keras.initializers.Orthogonal(0.01, seed=seed + len(network.actor_units))
    return ActorDistributionNetwork(
        input_spec,
        action_spec,
        fc_layer_params=network.actor_units,
        activation_fn=network.activation,
        kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0), seed=seed),
        discrete_projection_net=lambda spec: CategoricalProjectionNetwork(spec, kernel_initializer=last_initializer),
        continuous_projection_net=lambda spec: _normal_projection(spec, network.continuous, last_initializer),
    )


def _normal_projection(spec: Any, kind: str, kernel_initializer: Any) -> Any:
    """A normal whose deviation is learned but does not depend on the observation, in half widths of the bounds."""
    import tensorflow as tf

    from distpolicy.distributions.utils import action_scale
    from distpolicy.networks.normal_projection_network import NormalProjectionNetwork, scale_to_spec

    squashed = kind == "tanh_normal"
    _, half_width = action_scale(spec)
    return NormalProjectionNetwork(
        spec,
        std_bias_initializer_value=-0.5,
        mean_transform=scale_to_spec,
        std_transform=tf.exp
        if squashed
        else lambda log_stddev: tf.exp(log_stddev) * tf.cast(half_width, log_stddev.dtype),
        scale_distribution=squashed,
        kernel_initializer=kernel_initializer,
    )


def _value_network(config: TrainConfig, input_spec: Any) -> Any:
    import keras

    from distpolicy.networks.value_network import ValueNetwork

    network, seed = config.network, _network_seed(config, 1)
    return ValueNetwork(
        input_spec,
        fc_layer_params=network.value_units,
        activation_fn=network.activation,
        kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0), seed=seed),
        last_kernel_initializer=keras.initializers.Orthogonal(1.0, seed=seed + len(network.value_units)),
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
        from distpolicy.agents.actor_critic import make_policy_network
        from distpolicy.agents.ppo.policy import make_collect_policy
        from distpolicy.policies.greedy_policy import GreedyPolicy
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        encoding = _encoding_network(self.config, time_step_spec)
        actor = _actor_network(self.config, _head_input_spec(encoding, time_step_spec), action_spec)
        network = make_policy_network(time_step_spec.observation, actor, encoding)
        policy = make_collect_policy(time_step_spec, action_spec, network, self.config.ppo.normalize_observations)
        collect = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference="auto")
        greedy = PyTFEagerPolicy(GreedyPolicy(policy), use_tf_function=True, batch_time_steps=False, inference="auto")
        return PolicyPair(collect, greedy)


@dataclass(frozen=True)
class AgentFactory:
    """Builds the learner's agent, or that of one of several.

    Attributes:
        config: The run's config.
        time_step_spec: Array specs of one time step.
        action_spec: Array specs of one action.
    """

    config: TrainConfig
    time_step_spec: TimeStep
    action_spec: Any

    def __call__(self, addresses: Sequence[str] = (), rank: int = 0) -> Any:
        """The agent.

        Args:
            addresses: Of all replicas, which learn together; none if it is alone.
            rank: The place of this one among them.
        """
        import tensorflow as tf

        _require_eager()
        from distpolicy.agents.ppo.ppo_agent import PPOAgent
        from distpolicy.agents.replicas import Replicas
        from distpolicy.utils.compilation.compile_cache import use_compile_cache

        if self.config.jit_compile and self.config.compile_cache:
            use_compile_cache()
        for gpu in tf.config.list_physical_devices("GPU"):
            # Before anything runs on it: TensorFlow takes the whole memory otherwise.
            tf.config.experimental.set_memory_growth(gpu, True)
        # Before the first operation, which TensorFlow asks for.
        replicas = Replicas(addresses, rank) if addresses else None
        encoding = _encoding_network(self.config, self.time_step_spec)
        input_spec = _head_input_spec(encoding, self.time_step_spec)
        return PPOAgent(
            self.time_step_spec,
            self.action_spec,
            _actor_network(self.config, input_spec, self.action_spec),
            _value_network(self.config, input_spec),
            self.config.ppo,
            seed=self.config.seed,
            jit_compile=self.config.jit_compile,
            encoding_network=encoding,
            replicas=replicas,
            mixed_precision=self.config.mixed_precision,
        )
