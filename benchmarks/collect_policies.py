"""The policies that benchmarks/collect.py collects with, as factories that travel to collectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.weights import Weights
from launch.config.train import TrainConfig
from launch.training.factories import PolicyFactory
from workers.collection.collector import PolicyPair

NATURE_CNN = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


@dataclass(frozen=True)
class LSTMPolicyFactory:
    """A dense layer of 64, an LSTM of 64, and the action's distribution; observations are normalised, as in a run."""

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """The policies."""
        from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork

        network = ActorDistributionRnnNetwork(
            time_step_spec.observation,
            action_spec,
            input_fc_layer_params=(64,),
            lstm_size=(64,),
            output_fc_layer_params=None,
            seed=0,
        )
        return _pair(time_step_spec, action_spec, network, normalize_observations=True)


@dataclass(frozen=True)
class CNNPolicyFactory:
    """The network of Mnih et al., "Human-level control through deep reinforcement learning" (2015), on uint8 frames."""

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """The policies."""
        import keras

        from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork

        network = ActorDistributionNetwork(
            time_step_spec.observation,
            action_spec,
            preprocessing_layers=keras.layers.Rescaling(1.0 / 255.0),
            conv_layer_params=NATURE_CNN,
            fc_layer_params=(512,),
            seed=0,
        )
        return _pair(time_step_spec, action_spec, network, normalize_observations=False)


def _pair(time_step_spec: TimeStep, action_spec: Any, network: Any, normalize_observations: bool) -> PolicyPair:
    from distpolicy.agents.acting_policy import make_collect_policy
    from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

    policy = make_collect_policy(time_step_spec, action_spec, network, normalize_observations)
    collect = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference="auto")
    return PolicyPair(collect, collect)


# The first is the one that a run builds: two layers of 64.
FACTORIES: dict[str, Any] = {
    "64x64": PolicyFactory(TrainConfig()),
    "1024x1024": PolicyFactory(TrainConfig(network=NetworkConfig(actor_units=(1024, 1024)))),
    "LSTM 64": LSTMPolicyFactory(),
    "Nature CNN": CNNPolicyFactory(),
}


class NumpyPolicy:
    """The 64x64 network's inference for discrete actions, with nothing around it.

    Args:
        weights: Weights of the policy.
    """

    def __init__(self, weights: Weights) -> None:
        named = weights.named_variables()
        kernels = [item.variable for item in named if item.path.endswith("kernel")]
        biases = [item.variable for item in named if item.path.endswith("bias")]
        *self._hidden, self._output = zip(kernels, biases, strict=True)
        self._random = np.random.default_rng(0)

    def __call__(self, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 actions ``[B]`` and their float32 log-probabilities ``[B]``."""
        values = observation
        for kernel, bias in self._hidden:
            values = np.tanh(values @ kernel + bias)
        logits = values @ self._output[0] + self._output[1]
        noise = self._random.gumbel(size=logits.shape)
        action = np.argmax(logits + noise, axis=1)
        log_sum = np.log(np.sum(np.exp(logits), axis=1))
        return action, logits[np.arange(action.size), action] - log_sum
