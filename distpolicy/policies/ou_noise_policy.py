"""OUNoisePolicy: another policy's actions with noise that drifts back to 0."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.policies.policy_wrapper import MemoryWrapper
from distpolicy.policies.row_draws import normal_like, outer_shape_of
from distpolicy.policies.tf_policy import TFPolicy, leaf_seed
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten


class OUNoisePolicy(MemoryWrapper):
    """Adds Ornstein-Uhlenbeck noise: ``noise' = (1 - damping) * noise + stddev * normal``.

    Every row has a process of its own, which begins at 0 where a time step is FIRST. Since policies are pure, the noise
    is part of the policy's state, ``(wrapped_state, noise)``.

    Args:
        wrapped_policy: The policy to wrap. All its actions are continuous.
        ou_stddev: Standard deviation of the normal number that each step adds to the noise.
        ou_damping: Share of the noise that each step removes.
        clip: Whether actions are clipped to their bounds after the noise is added.
        name: Name of the module.

    Raises:
        ValueError: If an action is not continuous. The message names the leaf.
        NotImplementedError: From ``distribution``.
    """

    def __init__(
        self,
        wrapped_policy: TFPolicy,
        ou_stddev: Any = 1.0,
        ou_damping: Any = 1.0,
        clip: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(wrapped_policy, "ou_noise", clip=clip, name=name)
        self._ou_stddev = ou_stddev
        self._ou_damping = ou_damping

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = self._wrapped_policy.action(time_step, policy_state[0], seed)
        outer_shape, own_seed = outer_shape_of(time_step.step_type), self._own_seed(seed)

        def moved(noise: tf.Tensor, spec: Any, index: int) -> tf.Tensor:
            stddev, damping = tf.cast(self._ou_stddev, noise.dtype), tf.cast(self._ou_damping, noise.dtype)
            return (1 - damping) * noise + stddev * normal_like(leaf_seed(own_seed, index), outer_shape, spec)

        leaves = zip(flatten(self._memory(time_step, policy_state)), flatten(self.action_spec), strict=True)
        noise = [moved(leaf, spec, index) for index, (leaf, spec) in enumerate(leaves)]
        noisy = [action + drift for action, drift in zip(flatten(step.action), noise, strict=True)]
        return PolicyStep(
            tf.nest.pack_sequence_as(self.action_spec, noisy),
            (step.state, tf.nest.pack_sequence_as(self.action_spec, noise)),
            step.info,
        )
