"""RandomTFPolicy: actions drawn uniformly within their bounds, in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.distributions.masked import MaskedCategorical
from distpolicy.policies.masks import num_values, split_mask
from distpolicy.policies.row_draws import draw_rows, outer_shape_of, seeds_of_rows, shifted_index
from distpolicy.policies.tf_policy import TFPolicy, leaf_seed
from distpolicy.specs import tensor_spec
from distpolicy.specs.uniform_draw import sampling_bounds
from distpolicy.trajectories import policy_step as ps
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.sampling.tensor_draws import row_uniform


class RandomTFPolicy(TFPolicy):
    """Draws actions uniformly between their bounds, both included, or from the actions that a mask allows.

    The info is also drawn, from ``info_spec``, except for the log-probability. Floats without bounds are drawn between
    an eighth of their dtype's minimum and an eighth of its maximum. The state passes through unchanged.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs.
        policy_state_spec: Nest of specs.
        info_spec: Nest of specs.
        clip: Whether actions are clipped to their bounds. Draws are always within them.
        emit_log_probability: Whether the info holds log-probabilities; for floats these are log-densities.
        automatic_state_reset: Whether the state is reset where the time step is FIRST.
        observation_and_action_constraint_splitter: Function from an observation to a pair; its second item is a mask
            ``[..., num_actions]``, not 0 where an action is allowed. For one discrete action of shape () or (1,).
        validate_args: Whether inputs and outputs are checked against the specs.
        name: Name of the module.

    Raises:
        NotImplementedError: If there is a splitter, but not one discrete action of shape () or (1,). Also from
            ``distribution``.
        ValueError: When the policy acts, if the width of a mask is not the number of actions; in eager mode also if a
            mask allows no action in a row.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        clip: bool = True,
        emit_log_probability: bool = False,
        automatic_state_reset: bool = True,
        observation_and_action_constraint_splitter: Any = None,
        validate_args: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            time_step_spec,
            action_spec,
            policy_state_spec=policy_state_spec,
            info_spec=info_spec,
            clip=clip,
            emit_log_probability=emit_log_probability,
            automatic_state_reset=automatic_state_reset,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
            validate_args=validate_args,
            name=name,
        )
        leaves = flatten(self.action_spec)
        if observation_and_action_constraint_splitter is not None and not (
            len(leaves) == 1
            and tensor_spec.is_bounded(leaves[0])
            and tensor_spec.is_discrete(leaves[0])
            and leaves[0].shape.as_list() in ([], [1])
        ):
            raise NotImplementedError(
                "RandomTFPolicy masks one bounded discrete action of shape () or (1,), but action_spec holds "
                + ", ".join(f"{leaf.dtype.name}{list(leaf.shape)}" for leaf in leaves)
            )

    def log_probability(self, time_step: TimeStep, action: Any) -> Any:
        """Returns the log-probability of actions within their bounds.

        Args:
            time_step: Nest of ``[..., *shape]``. Its masks are taken into account.
            action: Nest of ``[..., *shape]``.

        Returns:
            A nest like the action, with float32 ``[...]`` for each leaf.
        """
        if self._splitter is not None:
            (leaf,), (spec,) = flatten(action), flatten(self.action_spec)
            masked = self._masked(time_step)
            outer_shape = outer_shape_of(time_step.step_type)
            index = tf.reshape(leaf - tf.cast(_bounds(spec)[0].item(), spec.dtype), outer_shape)
            return tf.nest.pack_sequence_as(self.action_spec, [masked.log_prob(index)])
        outer_shape = outer_shape_of(time_step.step_type)
        return tf.nest.map_structure(
            lambda spec: tf.fill(outer_shape, np.float32(_log_density(spec))), self.action_spec
        )

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        outer_shape = outer_shape_of(time_step.step_type)
        rows = seeds_of_rows(seed, outer_shape)
        action, info = _draw_nests((self.action_spec, self.info_spec), rows, outer_shape)
        if self._splitter is not None:
            action = self._masked_action(time_step, rows, outer_shape)
        if self._emit_log_probability:
            info = ps.set_log_probability(info, self.log_probability(time_step, action))
        return PolicyStep(action, policy_state, info)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("RandomTFPolicy does not have a distribution; call action()")

    @property
    def num_actions(self) -> int:
        """Number of values of the discrete action that masks apply to."""
        (spec,) = flatten(self.action_spec)
        return num_values(spec)

    def _mask(self, time_step: TimeStep) -> tf.Tensor:
        """Returns the mask ``[..., num_actions]``, not 0 where an action is allowed."""
        (spec,) = flatten(self.action_spec)
        return tf.convert_to_tensor(split_mask(self._splitter, time_step.observation, spec)[1])

    def _masked(self, time_step: TimeStep) -> MaskedCategorical:
        mask = self._mask(time_step)
        (spec,) = flatten(self.action_spec)
        return MaskedCategorical(tf.zeros(tf.shape(mask)), mask, dtype=spec.dtype)

    def _masked_action(self, time_step: TimeStep, rows: tf.Tensor, outer_shape: tf.Tensor) -> Any:
        """Draws one of the allowed actions; any, where a mask of a graph allows none."""
        (spec,) = flatten(self.action_spec)
        mask = tf.reshape(self._masked(time_step).mask, [-1, self.num_actions])
        mask = tf.logical_or(mask, tf.logical_not(tf.reduce_any(mask, axis=-1, keepdims=True)))
        # Counted in floats, which every engine can sum.
        rank = tf.cumsum(tf.cast(mask, tf.float32), axis=-1)
        wanted = tf.floor(row_uniform(rows, 1) * rank[:, -1:])
        index = tf.cast(tf.reduce_sum(tf.cast(rank <= wanted, tf.float32), axis=-1), tf.int32)
        shape = tf.concat([outer_shape, tf.constant(spec.shape.as_list(), tf.int32)], axis=0)
        action = shifted_index(index, _bounds(spec)[0].reshape(()), spec.dtype)
        return tf.nest.pack_sequence_as(self.action_spec, [tf.reshape(action, shape)])


def _bounds(spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and upper bounds of a spec. A spec without bounds has its dtype's."""
    if tensor_spec.is_bounded(spec):
        return np.asarray(spec.minimum), np.asarray(spec.maximum)
    if spec.dtype == tf.bool:
        return np.asarray(False), np.asarray(True)
    return np.asarray(spec.dtype.min), np.asarray(spec.dtype.max)


def _draw_nests(specs: Any, rows: tf.Tensor, outer_shape: tf.Tensor) -> Any:
    """Draws ``[*outer_shape, *shape]`` for each spec, with a seed for each row."""

    def draw(index: int, spec: Any) -> tf.Tensor:
        drawn = draw_rows(spec, leaf_seed(rows, index))
        return tf.reshape(drawn, tf.concat([outer_shape, spec.shape.as_list()], axis=0))

    return tf.nest.pack_sequence_as(specs, [draw(index, spec) for index, spec in enumerate(tf.nest.flatten(specs))])


def _log_density(spec: Any) -> float:
    """Returns the log-probability, or log-density, of every value of a spec; they are all equally likely."""
    minimum, maximum = _bounds(spec)
    if spec.dtype.is_floating:
        low, high = sampling_bounds(minimum, maximum, float(spec.dtype.max))
        width = np.broadcast_to(np.asarray(high) - low, spec.shape.as_list())
        # An element with equal bounds is certain.
        return -float(np.sum(np.log(np.where(width > 0, width, 1.0))))
    counts = np.asarray(maximum.astype(object) - minimum.astype(object) + 1, np.float64)
    return -float(np.sum(np.log(np.broadcast_to(counts, spec.shape.as_list()))))
