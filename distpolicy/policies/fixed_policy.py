"""FixedPolicy: the same action at every step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.errors import SpecMismatchError
from distpolicy.policies.row_draws import outer_shape_of
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories import policy_step as ps
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.common import replicate
from distpolicy.utils.nests.array_nest import paths


class FixedPolicy(TFPolicy):
    """Always returns the same action, for a single time step or a batch of any size. It has no variables.

    Actions are returned as given, even outside their bounds.

    Args:
        actions: Nest of values like ``action_spec``: arrays, tensors or numbers.
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs.
        emit_log_probability: Whether the info holds the log-probability, which is 0.
        policy_info: Nest of values like ``info_spec``, either for one step, which a batch repeats, or for a batch.
        info_spec: Nest of specs.
        name: Name of the module.

    Raises:
        ValueError: If a structure or shape does not match its spec. The message names the leaf.
        TypeError: If a container's type does not match, or a value cannot be converted to its spec's dtype.
    """

    def __init__(
        self,
        actions: Any,
        time_step_spec: TimeStep,
        action_spec: Any,
        emit_log_probability: bool = True,
        policy_info: Any = (),
        info_spec: Any = (),
        name: str | None = None,
    ) -> None:
        super().__init__(
            time_step_spec,
            action_spec,
            info_spec=info_spec,
            clip=False,
            emit_log_probability=emit_log_probability,
            name=name,
        )
        tf.nest.assert_same_structure(actions, self.action_spec)
        values = tf.nest.map_structure(
            lambda value, spec: tf.convert_to_tensor(value, spec.dtype), actions, self.action_spec
        )
        leaves = zip(paths(self.action_spec), tf.nest.flatten(values), tf.nest.flatten(self.action_spec), strict=True)
        for path, value, spec in leaves:
            if not spec.shape.is_compatible_with(value.shape):
                raise SpecMismatchError(f"actions{path}: expected shape {spec.shape}, got {value.shape}")
        # Avoids tf.Module's tracking, which would wrap the user's lists and dicts.
        object.__setattr__(self, "_actions", values)
        if emit_log_probability:
            certain = tf.nest.map_structure(lambda _: 0.0, self.action_spec)
            policy_info = ps.set_log_probability(policy_info, certain)
        tf.nest.assert_same_structure(policy_info, self.info_spec)
        object.__setattr__(self, "_policy_info", policy_info)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        outer_shape = outer_shape_of(time_step.step_type)
        actions = tf.nest.map_structure(lambda value: replicate(value, outer_shape), self._actions)
        return PolicyStep(actions, policy_state, self._info(outer_shape))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        step = self._action(time_step, policy_state, None)
        certain = tf.nest.map_structure(lambda value: tfp.distributions.Deterministic(loc=value), step.action)
        return PolicyStep(certain, policy_state, step.info)

    def _info(self, outer_shape: tf.Tensor) -> Any:
        def repeated(value: Any, spec: Any) -> tf.Tensor:
            value = tf.convert_to_tensor(value, spec.dtype)
            return replicate(value, outer_shape) if value.shape.rank == spec.shape.rank else value

        return tf.nest.map_structure(repeated, self._policy_info, self.info_spec)
