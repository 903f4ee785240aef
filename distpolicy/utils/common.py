"""Updates of one set of variables from another, and the helpers that TF-Agents has in this module."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.aggregated_losses import AggregatedLosses, aggregate_losses
from distpolicy.utils.checkpointer import Checkpointer
from distpolicy.utils.compilation.flat_call import FlatCall, flat_call
from distpolicy.utils.ou_process import OUProcess, ornstein_uhlenbeck_process
from distpolicy.utils.periodically import EagerPeriodically, Periodically, periodically
from distpolicy.utils.sampling.action_distributions import entropy, log_probability
from distpolicy.utils.spec_files import load_spec, save_spec
from distpolicy.utils.spec_scaling import clip_to_spec, scale_to_spec, spec_means_and_magnitudes
from distpolicy.utils.summaries import generate_tensor_summaries, summarize_scalar_dict, summarize_tensor_dict
from distpolicy.utils.target_networks import (
    check_matching_networks,
    check_no_shared_variables,
    deduped_network_variables,
    maybe_copy_target_network_with_checks,
)
from distpolicy.utils.tensor_ops import (
    element_wise_huber_loss,
    element_wise_squared_loss,
    get_episode_mask,
    index_with_actions,
    replicate,
    transpose_batch_time,
)
from distpolicy.utils.value_sums import (
    compute_returns,
    convert_q_logits_to_values,
    discounted_future_sum,
    discounted_future_sum_masked,
    get_contiguous_sub_episodes,
    shift_values,
)
from distpolicy.utils.variables.blending import blend
from distpolicy.utils.variables.creation import create_variable, extract_shared_variables
from distpolicy.utils.variables.module_variables import NamedVariable
from distpolicy.utils.variables.pairing import SourceVariable, check_tau, paired_variables
from distpolicy.utils.variables.variable_watch import mark_updated

__all__ = [
    "AggregatedLosses",
    "Checkpointer",
    "EagerPeriodically",
    "OUProcess",
    "Periodically",
    "SoftUpdate",
    "aggregate_losses",
    "check_matching_networks",
    "check_no_shared_variables",
    "clip_to_spec",
    "compute_returns",
    "convert_q_logits_to_values",
    "create_variable",
    "deduped_network_variables",
    "discounted_future_sum",
    "discounted_future_sum_masked",
    "element_wise_huber_loss",
    "element_wise_squared_loss",
    "entropy",
    "extract_shared_variables",
    "function",
    "generate_tensor_summaries",
    "get_contiguous_sub_episodes",
    "get_episode_mask",
    "has_eager_been_enabled",
    "index_with_actions",
    "load_spec",
    "log_probability",
    "maybe_copy_target_network_with_checks",
    "ornstein_uhlenbeck_process",
    "periodically",
    "replicate",
    "safe_has_state",
    "save_spec",
    "scale_to_spec",
    "shift_values",
    "soft_device_placement",
    "soft_variables_update",
    "spec_means_and_magnitudes",
    "summarize_scalar_dict",
    "summarize_tensor_dict",
    "transpose_batch_time",
]


class SoftUpdate:
    """Computes ``target = (1 - tau) * target + tau * source`` for many variables.

    Keep one object for a target and call it again, since it stores compiled functions. A copy takes one operation for
    each variable, without the checks of ``assign``. A copy from arrays, as in ``Weights``, and a blend take one
    compiled call each; eager arithmetic on a dozen variables would take milliseconds.
    """

    def __init__(self, target: Sequence[NamedVariable]) -> None:
        self._target = list(target)
        self._blend = tf.function(self._blend_all, autograph=False)
        self._assign: FlatCall | None = None
        self._kinds: list[tuple[tuple[int, ...], np.dtype]] = []

    def __call__(
        self,
        source: Sequence[SourceVariable],
        tau: float,
        tau_non_trainable: float | None,
        sort_variables_by_name: bool,
    ) -> None:
        tau = check_tau("tau", tau)
        other = tau if tau_non_trainable is None else check_tau("tau_non_trainable", tau_non_trainable)
        if tau == other == 1.0 and not sort_variables_by_name and self._assign_arrays(source):
            return
        pairs = paired_variables(source, self._target, sort_variables_by_name)
        # All pairs are checked and all values computed before the first is assigned, so that errors change nothing.
        values = [_tensor(source.variable) for source, _ in pairs]
        if sort_variables_by_name:
            by_id = {id(item.variable): value for (_, item), value in zip(pairs, values, strict=True)}
            values = [by_id[id(item.variable)] for item in self._target]
        if tau == 1.0 and other == 1.0:
            for item, value in zip(self._target, values, strict=True):
                # variable.assign would check shapes and dtypes again, which takes longer than the assignment.
                tf.raw_ops.AssignVariableOp(resource=item.variable.handle, value=value)
        elif tau != 0.0 or other != 0.0:
            self._blend(values, tf.constant(tau, tf.float64), tf.constant(other, tf.float64))
        mark_updated(item.variable for item in self._target)

    def _assign_arrays(self, source: Sequence[SourceVariable]) -> bool:
        """Assigns arrays of the targets' shapes and dtypes. Returns False, and assigns nothing, for other sources."""
        if self._assign is None:
            self._kinds = [(tuple(item.variable.shape), item.variable.dtype.as_numpy_dtype) for item in self._target]
        arrays = [item.variable for item in source if isinstance(item.variable, np.ndarray)]
        if len(arrays) != len(source) or [(array.shape, array.dtype) for array in arrays] != self._kinds:
            return False
        # Read-only memory is shared, not copied. TensorFlow copies it before it changes a variable in place.
        arrays = [array.copy() if array.flags.writeable else array for array in arrays]
        if self._assign is None:
            specs = [tf.TensorSpec(shape, dtype) for shape, dtype in self._kinds]
            self._assign = flat_call(
                tf.function(self._assign_all, autograph=False).get_concrete_function(*specs), arrays
            )
        self._assign(arrays)
        mark_updated(item.variable for item in self._target)
        return True

    def _assign_all(self, *values: tf.Tensor) -> list[tf.Tensor]:
        for item, value in zip(self._target, values, strict=True):
            tf.raw_ops.AssignVariableOp(resource=item.variable.handle, value=value)
        return []

    def compiled_copy(self, source: Sequence[NamedVariable], sort_variables_by_name: bool) -> Callable[[], None]:
        """Returns a function that copies from these variables in one compiled call. Use it for repeated updates.

        Raises:
            SpecMismatchError: If the variables do not match.
        """
        pairs = paired_variables(source, self._target, sort_variables_by_name)

        def copy_all() -> list[tf.Tensor]:
            for one, item in pairs:
                item.variable.assign(one.variable)
            return []

        copy = flat_call(tf.function(copy_all, autograph=False).get_concrete_function(), [])

        def copy_and_tell() -> None:
            copy([])
            mark_updated(item.variable for item in self._target)

        return copy_and_tell

    def _blend_all(self, values: list[tf.Tensor], tau: tf.Tensor, tau_non_trainable: tf.Tensor) -> None:
        targets = [item.variable for item in self._target]
        blend(targets, values, [variable.trainable for variable in targets], tau, tau_non_trainable)


def _tensor(value: Any) -> tf.Tensor:
    if not isinstance(value, np.ndarray):
        return tf.convert_to_tensor(value)
    # Read-only memory is shared, not copied. TensorFlow copies it before it changes a variable in place.
    return tf.constant(value) if value.flags.writeable else tf.raw_ops.Identity(input=value)


def soft_variables_update(
    source_variables: Sequence[tf.Variable],
    target_variables: Sequence[tf.Variable],
    tau: float = 1.0,
    tau_non_trainable: float | None = None,
    sort_variables_by_name: bool = False,
) -> None:
    """Moves target variables towards their sources: ``target = (1 - tau) * target + tau * source``.

    Args:
        source_variables: As many variables as the targets, with the same shapes and dtypes.
        target_variables: The variables to change. Their ``trainable`` decides which tau applies.
        tau: Share for trainable variables, in [0, 1]; 1 copies.
        tau_non_trainable: Share for the other variables; None for ``tau``. It applies even if ``tau`` is 0. Integers
            and bools are copied unless it is 0.
        sort_variables_by_name: Pairs variables by the natural order of their names instead of by position.

    Raises:
        ValueError: If a tau is NaN or outside [0, 1], or the variables do not match. Nothing has changed then.
    """
    update = SoftUpdate([NamedVariable(item.name, item) for item in target_variables])
    update(
        [NamedVariable(item.name, item) for item in source_variables], tau, tau_non_trainable, sort_variables_by_name
    )


def function(*args: Any, **kwargs: Any) -> Any:
    """Calls ``tf.function``, by default without autograph and with as few traces as shapes allow.

    It can be used as a decorator, with or without parentheses.
    """
    return tf.function(*args, **{"autograph": False, "reduce_retracing": True, **kwargs})


def has_eager_been_enabled() -> bool:
    """Returns True unless TensorFlow 1's graphs have been switched on."""
    with tf.init_scope():
        return tf.executing_eagerly()


def safe_has_state(state: Any) -> bool:
    """Returns True if there is a state, which is neither None nor an empty tuple or list."""
    return state is not None and not (isinstance(state, list | tuple) and not state)


@contextlib.contextmanager
def soft_device_placement() -> Iterator[None]:
    """Lets operations that a device does not support run on another device within the block."""
    before = tf.config.get_soft_device_placement()
    tf.config.set_soft_device_placement(True)
    try:
        yield
    finally:
        tf.config.set_soft_device_placement(before)
