"""CorrelatedDrawPolicy: draws from another policy's distribution with noise that changes slowly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.distributions.reparameterized import draw_with_noise
from distpolicy.errors import ConfigError
from distpolicy.policies.policy_wrapper import MemoryWrapper
from distpolicy.policies.row_draws import normal_like, outer_shape_of, where_rows
from distpolicy.policies.tf_policy import TFPolicy, leaf_seed
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten


class CorrelatedDrawPolicy(MemoryWrapper):
    """Draws actions whose noise is correlated over the steps of an episode.

    Each action alone has the wrapped policy's distribution. Correlated noise reaches states that independent noise
    averages out on the way to (Eberhard et al., "Pink noise is all you need", 2023). The noise is an autoregressive
    process of standard normal numbers, ``noise' = c noise + sqrt(1 - c²) normal``, which begins anew where a time step
    is FIRST. It is part of the policy's state, ``(wrapped_state, noise)``.

    Args:
        wrapped_policy: The policy to wrap. Its distributions are normal, perhaps transformed.
        correlation: c, the correlation of the noise of two steps, in [0, 1).
        name: Name of the module.

    Raises:
        ValueError: If an action is not continuous, or the correlation is out of range.
        NotImplementedError: From ``distribution``.
    """

    def __init__(self, wrapped_policy: TFPolicy, correlation: float, name: str | None = None) -> None:
        super().__init__(wrapped_policy, "draw_noise", name=name)
        if not 0 <= correlation < 1:
            raise ConfigError(f"correlation must be in [0, 1), but is {correlation}")
        self._correlation = correlation

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = self._wrapped_policy.distribution(time_step, policy_state[0])
        outer_shape, is_first = outer_shape_of(time_step.step_type), tf.convert_to_tensor(time_step.is_first())
        noise, actions = [], []
        leaves = zip(
            flatten(self._memory(time_step, policy_state)), flatten(self.action_spec), flatten(step.action), strict=True
        )
        for index, (memory, spec, distribution) in enumerate(leaves):
            normal = normal_like(leaf_seed(seed, index), outer_shape, spec)
            moved = self._correlation * memory + math.sqrt(1.0 - self._correlation**2) * normal
            noise.append(where_rows(is_first, normal, moved))
            size = int(np.prod(spec.shape))
            action, _ = draw_with_noise(distribution, tf.reshape(noise[-1], [-1, size]))
            actions.append(tf.cast(action, spec.dtype))
        return PolicyStep(
            tf.nest.pack_sequence_as(self.action_spec, actions),
            (step.state, tf.nest.pack_sequence_as(self.action_spec, noise)),
            step.info,
        )
