"""Where distpolicy means to differ from TF-Agents 0.19, and why.

The migration page says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from golden_registry import Raised


class Deviation(NamedTuple):
    """One place in one golden case where distpolicy's answer is another.

    Attributes:
        case: Name of the case.
        ours: What distpolicy gives there.
        place: Keys into the encoded outcome; none for all of it.
        why: The reason.
    """

    case: str
    ours: Any
    place: tuple[Any, ...]
    why: str


class TimeStep(NamedTuple):
    """A time step as it is encoded, whichever library made it."""

    step_type: Any
    reward: Any
    discount: Any
    observation: Any


def _because(why: str, *entries: tuple[Any, ...]) -> Iterable[Deviation]:
    """Deviations of one reason, each ``(case, ours, *place)``."""
    return [Deviation(case, ours, tuple(place), why) for case, ours, *place in entries]


_VALUE_ERROR, _TYPE_ERROR = Raised(["ValueError"]), Raised(["TypeError"])
_FLOAT = np.float32
_ZEROS = {"a": tf.zeros(3), "b": [tf.zeros(3)]}
_ACTION = {"a": tf.constant([[0.5, 7.0]] * 3), "b": [tf.constant([2, 2, 2], tf.int64)]}
_NEXT = ("fields", "next_time_step", "fields")
_SCRIPT_STATES = [[np.int32(index), np.int32(repeats)] for index, repeats in ((0, 1), (2, 1), (2, 2))]
_TRANSITION = TimeStep(tf.constant(1), tf.constant(2.0), tf.constant(1.0), tf.constant([1.0, 2.0]))

DEVIATIONS: tuple[Deviation, ...] = (
    *_because(
        "tau=0 with another tau_non_trainable returned before the non-trainable variables, so that the statistics of "
        "a normaliser were never copied",
        ("common/soft_variables_update/tau=0.0/non_trainable=0.3", _FLOAT(17.0), "list", 1),
        ("common/soft_variables_update/tau=0.0/non_trainable=1.0", _FLOAT(10.0), "list", 1),
        ("update/tau=0.0/non_trainable=0.3", _FLOAT(17.0), "dict", "target", "list", 1),
        ("update/tau=0.0/non_trainable=1.0", _FLOAT(10.0), "dict", "target", "list", 1),
        ("update/sorted/tau=0.0/non_trainable=0.3", _FLOAT(17.0), "list", 1),
        ("update/sorted/tau=0.0/non_trainable=1.0", _FLOAT(10.0), "list", 1),
    ),
    *_because(
        "variables are sorted by their paths in natural order: their names are not unique, and automatic numbers "
        "in them cross from 9 to 10 at another layer in each instance",
        ("update/sorted_by_name/numbers_that_cross_ten", {"a": _FLOAT(1.0), "b": _FLOAT(2.0)}),
        ("update/sorted_by_name/other_attributes", {"a": _FLOAT(1.0), "b": _FLOAT(2.0)}),
    ),
    *_because(
        "a NaN tau would make every weight NaN; it is refused",
        ("common/soft_variables_update_with_nan", _VALUE_ERROR),
        ("update/nan", _VALUE_ERROR),
    ),
    *_because(
        "integer variables have no share of the way; they are copied",
        ("common/soft_variables_update_of_integers", np.int64(3)),
        ("update/integers_move_by_a_share", [np.int32(1)]),
    ),
    *_because(
        "all pairs are checked before the first assignment; an update that fails changes nothing",
        ("common/soft_variables_update_stops_before_the_first_assignment", _FLOAT(5.0)),
        ("update/half_applied_after_an_error", _FLOAT(5.0)),
    ),
    *_because(
        "a source without variables is a mistake and no silent no-op",
        ("update/source_without_variables", _VALUE_ERROR),
    ),
    *_because(
        "validate_args checks dtype and shape of what comes in and goes out, as its documentation says",
        ("tf_policy/validate_args/inputs/dtype", _TYPE_ERROR),
        ("tf_policy/validate_args/inputs/shape", _VALUE_ERROR),
        ("tf_policy/validate_args/inputs/step_type_dtype", _TYPE_ERROR),
        ("tf_policy/validate_args/output_shape", _VALUE_ERROR),
        ("actor_policy/input_of_another_dtype", _TYPE_ERROR),
    ),
    *_because(
        "a stateful policy without a state would act without memory; it says what to give instead",
        ("tf_policy/stateful_without_a_state", _VALUE_ERROR),
    ),
    *_because(
        "a log-density may be above 0, so that its spec has no bounds",
        (
            "tf_policy/emit_log_probability_spec",
            tf.TensorSpec((), tf.float32, "log_probability"),
            "fields",
            "log_probability",
        ),
    ),
    *_because(
        "a log-probability has the batch's shape, as its spec says, in distribution() and in an info that is a dict",
        ("tf_policy/emit_log_probability_distribution", tf.zeros(3), "fields", "log_probability"),
        ("fixed_policy/distribution_info", _ZEROS, "fields", "log_probability"),
        ("fixed_policy/dict_info_with_log_probability", _ZEROS, "dict", "log_probability"),
    ),
    *_because(
        "the caller's dict is left as it was",
        ("tf_policy/emit_log_probability_leaves_the_given_dict_alone", ["extra"]),
        ("policy_step/set_log_probability_of_a_dict_leaves_it_alone", ["a"]),
    ),
    *_because(
        "an info that cannot hold the log-probability is an error; it was returned without it",
        ("policy_step/set_log_probability_of_another_container", _VALUE_ERROR),
    ),
    *_because(
        "a discrete action whose minimum is not 0 gave the lowest action at all times, or was refused",
        ("actor_policy/discrete_with_a_minimum", tf.constant([6, 5, 6], tf.int64)),
    ),
    *_because(
        "Q-values may be of actions that begin at another number than 0",
        ("q_policy/minimum_is_refused", tf.constant([7, 5, 6], tf.int64)),
    ),
    *_because(
        "a mask without any action was a uniform draw over all actions; it is an error",
        ("masked/mask_of_zeros", _VALUE_ERROR),
        ("random_py_policy/mask_of_zeros", _VALUE_ERROR),
    ),
    *_because(
        "unequal counts of values in one discrete action are supported",
        ("projections/categorical_unequal_counts", "CategoricalProjectionNetwork"),
    ),
    *_because(
        "the event shape of a squashed normal is known",
        ("projections/normal/scaled", tf.TensorShape([2]), "dict", "event_shape"),
    ),
    *_because(
        "a network creates its variables when they are first asked for",
        ("network/interface", 1, "dict", "before"),
    ),
    *_because(
        "integer bounds may differ from element to element, and a batch of them or the full range of 64 bits is drawn",
        ("array_spec/sample_full_range_of_uint64", np.dtype(np.uint64)),
        ("array_spec/sample_per_element_integer_bounds_of_a_batch", [4, 2]),
        ("random_py_policy/per_element_integer_bounds_of_a_batch", [3, 2]),
    ),
    *_because(
        "the discount of a batch has the batch's shape, as that of tensors does",
        ("time_step/transition_numpy_batch_default_discount", np.ones(2, _FLOAT), "fields", "discount"),
        ("time_step/transition_numpy_batch_scalar_discount", np.full(2, 0.5, _FLOAT), "fields", "discount"),
        ("time_step/truncation_discount_of_a_batch", np.ones(2, _FLOAT), "dict", "default"),
    ),
    *_because(
        "a list of rewards is a batch of them, and a number is one reward, whatever the observation's kind",
        ("time_step/transition_tensor_observation_python_reward", _TRANSITION),
        ("time_step/transition_list_of_rewards", np.ones(2, np.int32), "fields", "step_type"),
        ("time_step/transition_list_of_rewards", np.array([1.0, 2.0], _FLOAT), "fields", "reward"),
        ("time_step/transition_list_of_rewards", np.ones(2, _FLOAT), "fields", "discount"),
    ),
    *_because(
        "time steps of arrays are taken as those of tensors are",
        ("fixed_policy/numpy_time_step", _ACTION),
    ),
    *_because(
        "a normaliser that has seen nothing leaves values as they are; the variance was 0",
        ("tensor_normalizer/streaming_before_the_first_update", tf.constant([[2.0, 1.0], [100.0, -100.0]])),
    ),
    *_because(
        "normalised integers are fractions, which were cut off",
        ("tensor_normalizer/integer_observation", tf.constant([0.0, 0.94270432])),
    ),
    *_because(
        "the state of one environment is one row, which action() can take",
        ("py_tf_eager_policy/initial_state_without_a_batch_size", [tf.zeros((1, 2))]),
    ),
    *_because(
        "arrays in, arrays out",
        ("py_tf_eager_policy/kind_of_a_batch", "array"),
        ("random_py_policy/masked_actions_are_arrays", True),
        ("trajectory/to_transition_of_arrays", np.zeros((1, 4), _FLOAT), "fields", "time_step", "fields", "reward"),
        ("trajectory/to_transition_of_arrays", np.zeros((1, 4), _FLOAT), "fields", "time_step", "fields", "discount"),
    ),
    *_because(
        "the state of a policy over arrays is made of arrays",
        *(
            ("scripted_py_policy/sequence", state, "dict", "steps", "list", index, "fields", "state")
            for index, state in enumerate(_SCRIPT_STATES)
        ),
    ),
    *_because(
        "a wrapper of the info leaves the action alone",
        ("policy_info_updater_wrapper/info", _ACTION, "dict", "step", "fields", "action"),
    ),
    *_because(
        "an updater that returns no dict is told so by the class of error that an info without a dict is",
        ("policy_info_updater_wrapper/errors", _VALUE_ERROR, "dict", "not_a_dict"),
    ),
    *_because(
        "the state begins anew with every episode, in the first step of a run too, and has the shape that was given",
        (
            "py_driver/a_run_that_begins_an_episode_has_a_new_state",
            [0.0, 1.0, 3.0, 6.0, 0.0, 1.0, 3.0, 6.0],
        ),
        ("py_driver/state_without_a_batch", []),
    ),
    *_because(
        "transition observers get the named tuple that their documentation speaks of",
        ("py_driver/kind_of_a_transition", ["Transition"]),
    ),
    *_because(
        "n steps end where the episode ends: what follows is of another one, and after a truncation it counted",
        ("trajectory/to_n_step_transition_over_a_termination", tf.constant([2]), *_NEXT, "step_type"),
        ("trajectory/to_n_step_transition_over_a_termination", tf.constant([[4.0, 5.0]]), *_NEXT, "observation"),
        (
            "trajectory/to_n_step_transition_over_a_truncation",
            TimeStep(tf.constant([2]), tf.constant([2.8]), tf.constant([0.9]), tf.constant([[4.0, 5.0]])),
            *_NEXT[:2],
        ),
    ),
    *_because(
        "the wrapper has update()",
        ("py_tf_eager_policy/update", [np.array([[0.25, 0.0], [0.0, 0.125]], _FLOAT)]),
    ),
)
