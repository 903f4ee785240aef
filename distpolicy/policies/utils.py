"""Infos of bandit policies, and actions under masks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.specs import bandit_spec_utils, tensor_spec
from distpolicy.specs.tensor_spec import BoundedTensorSpec
from distpolicy.trajectories.policy_step import CommonFields


class InfoFields:
    """Names of the fields of an info."""

    LOG_PROBABILITY = CommonFields.LOG_PROBABILITY
    PREDICTED_REWARDS_MEAN = "predicted_rewards_mean"
    MULTIOBJECTIVE_SCALARIZED_PREDICTED_REWARDS_MEAN = "multiobjective_scalarized_predicted_rewards_mean"
    PREDICTED_REWARDS_OPTIMISTIC = "predicted_rewards_optimistic"
    PREDICTED_REWARDS_SAMPLED = "predicted_rewards_sampled"
    BANDIT_POLICY_TYPE = "bandit_policy_type"
    CHOSEN_ARM_FEATURES = "chosen_arm_features"


class PolicyInfo(NamedTuple):
    """What a bandit policy tells of its choice; ``()`` for what it does not tell.

    Attributes:
        log_probability: Log-probability of the action.
        predicted_rewards_mean: Mean predicted reward of each arm.
        multiobjective_scalarized_predicted_rewards_mean: The number made of the mean rewards of several objectives.
        predicted_rewards_optimistic: Optimistic estimate of each arm's reward.
        predicted_rewards_sampled: A draw of each arm's reward.
        bandit_policy_type: A :class:`BanditPolicyType`.
    """

    log_probability: Any = ()
    predicted_rewards_mean: Any = ()
    multiobjective_scalarized_predicted_rewards_mean: Any = ()
    predicted_rewards_optimistic: Any = ()
    predicted_rewards_sampled: Any = ()
    bandit_policy_type: Any = ()


class PerArmPolicyInfo(NamedTuple):
    """A :class:`PolicyInfo` with the features of the chosen arm.

    Attributes:
        log_probability: See :class:`PolicyInfo`.
        predicted_rewards_mean: See :class:`PolicyInfo`.
        multiobjective_scalarized_predicted_rewards_mean: See :class:`PolicyInfo`.
        predicted_rewards_optimistic: See :class:`PolicyInfo`.
        predicted_rewards_sampled: See :class:`PolicyInfo`.
        bandit_policy_type: See :class:`PolicyInfo`.
        chosen_arm_features: Features of the chosen arm.
    """

    log_probability: Any = ()
    predicted_rewards_mean: Any = ()
    multiobjective_scalarized_predicted_rewards_mean: Any = ()
    predicted_rewards_optimistic: Any = ()
    predicted_rewards_sampled: Any = ()
    bandit_policy_type: Any = ()
    chosen_arm_features: Any = ()


class BanditPolicyType:
    """How an action was chosen."""

    UNKNOWN = 0
    GREEDY = 1
    UNIFORM = 2
    BOLTZMANN = 3
    FALCON = 4


def get_num_actions_from_tensor_spec(action_spec: BoundedTensorSpec) -> Any:
    """Returns the number of actions.

    Args:
        action_spec: A bounded scalar int32 or int64 spec that begins with 0.

    Raises:
        ValueError: If it is another spec.
    """
    if not isinstance(action_spec, BoundedTensorSpec):
        raise ConfigError(f"action_spec must be a BoundedTensorSpec, not {action_spec!r}")
    if action_spec.shape.rank != 0 or action_spec.dtype not in (tf.int32, tf.int64) or action_spec.minimum != 0:
        raise ConfigError(f"action_spec must be a scalar int32 or int64 with minimum 0, not {action_spec}")
    return action_spec.maximum + 1


def populate_policy_info(
    arm_observations: Any,
    chosen_actions: tf.Tensor,
    rewards_for_argmax: tf.Tensor,
    est_rewards: tf.Tensor,
    emit_policy_info: Collection[str],
    accepts_per_arm_features: bool,
) -> PolicyInfo | PerArmPolicyInfo:
    """Returns the info of a choice.

    Args:
        arm_observations: Nest of the arms' features ``[B, num_arms, ...]``; not used without such features.
        chosen_actions: Integers ``[B]``.
        rewards_for_argmax: The estimates that the policy chose by ``[B, num_arms]``.
        est_rewards: The model's estimates ``[B, num_arms]``.
        emit_policy_info: Names of :class:`InfoFields` to fill.
        accepts_per_arm_features: Whether arms have features.
    """
    values = {
        InfoFields.PREDICTED_REWARDS_OPTIMISTIC: rewards_for_argmax,
        InfoFields.PREDICTED_REWARDS_SAMPLED: rewards_for_argmax,
        InfoFields.PREDICTED_REWARDS_MEAN: est_rewards,
    }
    asked_for = {name: value for name, value in values.items() if name in emit_policy_info}
    if not accepts_per_arm_features:
        return PolicyInfo(**asked_for)
    features = tf.nest.map_structure(lambda leaf: tf.gather(leaf, chosen_actions, batch_dims=1), arm_observations)
    return PerArmPolicyInfo(**asked_for, chosen_arm_features=features)


def create_bandit_policy_type_tensor_spec(shape: Any) -> BoundedTensorSpec:
    """Returns the spec of :class:`BanditPolicyType` numbers, int32."""
    return BoundedTensorSpec(shape, tf.int32, BanditPolicyType.UNKNOWN, BanditPolicyType.FALCON)


def masked_argmax(input_tensor: tf.Tensor, mask: tf.Tensor, output_type: tf.DType = tf.int32) -> tf.Tensor:
    """Returns the place of the largest element of each row that its mask allows; -1 if it allows none.

    Args:
        input_tensor: Floats ``[B, n]``.
        mask: Bools or numbers ``[B, n]``; 0 where an element does not count.
        output_type: Integer dtype of the result ``[B]``.

    Raises:
        ValueError: If the shapes differ.
    """
    input_tensor, mask = tf.convert_to_tensor(input_tensor), tf.cast(mask, tf.bool)
    input_tensor.shape.assert_is_compatible_with(mask.shape)
    allowed = tf.where(mask, input_tensor, tf.constant(float("-inf"), input_tensor.dtype))
    places = tf.argmax(allowed, axis=-1, output_type=output_type)
    return tf.where(tf.reduce_any(mask, axis=-1), places, tf.constant(-1, output_type))


def has_bandit_policy_type(info: Any, check_for_tensor: bool = False) -> bool:
    """Returns True if an info has the field ``bandit_policy_type``, or a tensor in it."""
    return _has(info, InfoFields.BANDIT_POLICY_TYPE, check_for_tensor)


def has_chosen_arm_features(info: Any, check_for_tensor: bool = False) -> bool:
    """Returns True if an info has the field ``chosen_arm_features``, or a tensor in it."""
    return _has(info, InfoFields.CHOSEN_ARM_FEATURES, check_for_tensor)


def set_bandit_policy_type(info: Any, bandit_policy_type: Any) -> Any:
    """Returns an info with this policy type; an info without such a field as it is.

    Args:
        info: A namedtuple or a dict. An empty one becomes a :class:`PolicyInfo`.
        bandit_policy_type: Tensor of :class:`BanditPolicyType` numbers, or their spec.
    """
    if not info:
        return PolicyInfo(bandit_policy_type=bandit_policy_type)
    if has_bandit_policy_type(info):
        return info._replace(bandit_policy_type=bandit_policy_type)
    if isinstance(info, dict):
        return {**info, InfoFields.BANDIT_POLICY_TYPE: bandit_policy_type}
    return info


def bandit_policy_uniform_mask(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns policy types with ``UNIFORM`` where the mask is True, int32 like ``values``."""
    return tf.where(mask, tf.fill(tf.shape(values), tf.cast(BanditPolicyType.UNIFORM, values.dtype)), values)


def get_model_index(arm_index: int, accepts_per_arm_features: bool) -> int:
    """Returns the number of an arm's model: arms with features share one."""
    return 0 if accepts_per_arm_features else arm_index


def create_chosen_arm_features_info_spec(observation_spec: Any) -> Any:
    """Returns the specs of one arm's features from the specs of an observation."""
    return tensor_spec.remove_outer_dims_nest(observation_spec[bandit_spec_utils.PER_ARM_FEATURE_KEY], 1)


def check_no_mask_with_arm_features(
    accepts_per_arm_features: bool, observation_and_action_constraint_splitter: Callable[[Any], Any] | None
) -> None:
    """Checks that arms do not have both features and a mask.

    Raises:
        NotImplementedError: If they do.
    """
    if accepts_per_arm_features and observation_and_action_constraint_splitter is not None:
        raise NotImplementedError(
            "arms with features cannot have a mask; say how many there are by the observation's "
            f"{bandit_spec_utils.NUM_ACTIONS_FEATURE_KEY!r}"
        )


def _has(info: Any, name: str, check_for_tensor: bool) -> bool:
    found = bool(info) and name in getattr(info, "_fields", ())
    return found and (not check_for_tensor or tf.is_tensor(getattr(info, name)))
