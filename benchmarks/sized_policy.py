"""A policy of a given size, built in the benchmark's own process and in its collectors alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from distpolicy.trajectories.time_step import TimeStep
from workers.collection.collector import PolicyPair

NUM_LAYERS = 5
FLOAT_BYTES = 4


@dataclass(frozen=True)
class SizedPolicyFactory:
    """Builds policies with five dense layers of one width, chosen so that the weights have about a given size.

    Attributes:
        num_bytes: Size of all weights.
    """

    num_bytes: int

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """The policies that a collector takes, compiled when first called."""
        from distpolicy.policies.greedy_policy import GreedyPolicy
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        policy = self.build(time_step_spec, action_spec)
        return PolicyPair(
            PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False),
            PyTFEagerPolicy(GreedyPolicy(policy), use_tf_function=True, batch_time_steps=False),
        )

    def build(self, time_step_spec: TimeStep, action_spec: Any) -> Any:
        """The policy itself, whose weights a learner publishes."""
        from distpolicy.agents.acting_policy import make_collect_policy
        from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork

        width = _width(self.num_bytes, time_step_spec.observation.shape[0])
        network = ActorDistributionNetwork(
            time_step_spec.observation, action_spec, fc_layer_params=(width,) * NUM_LAYERS, activation_fn="tanh", seed=0
        )
        return make_collect_policy(time_step_spec, action_spec, network, normalize_observations=False)


def _width(num_bytes: int, num_inputs: int) -> int:
    """The width w at which (NUM_LAYERS - 1) w² + (inputs + NUM_LAYERS + 2) w parameters fill the size.

    The linear term is of the first kernel, the biases, and the two logits.
    """
    square, linear = NUM_LAYERS - 1, num_inputs + NUM_LAYERS + 2
    count = num_bytes / FLOAT_BYTES
    return round((math.sqrt(linear**2 + 4 * square * count) - linear) / (2 * square))
