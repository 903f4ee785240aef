"""Specs of observations with features for each action (arm), as bandits and ranking policies have them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec

GLOBAL_FEATURE_KEY = "global"
PER_ARM_FEATURE_KEY = "per_arm"
NUM_ACTIONS_FEATURE_KEY = "num_actions"
REWARD_SPEC_KEY = "reward"
CONSTRAINTS_SPEC_KEY = "constraint"


def create_per_arm_observation_spec(
    global_dim: int, per_arm_dim: int, max_num_actions: int | None = None, add_num_actions_feature: bool = False
) -> dict[str, TensorSpec]:
    """Returns the specs of global features, of features for each arm, and on request of the number of arms.

    Args:
        global_dim: Number of global features.
        per_arm_dim: Number of features of an arm.
        max_num_actions: Largest number of arms; None if it is not known.
        add_num_actions_feature: Whether an observation says how many arms it has.
    """
    spec = {
        GLOBAL_FEATURE_KEY: TensorSpec((global_dim,), tf.float32),
        PER_ARM_FEATURE_KEY: TensorSpec((max_num_actions, per_arm_dim), tf.float32),
    }
    if add_num_actions_feature:
        largest = tf.int32.max if max_num_actions is None else max_num_actions
        spec[NUM_ACTIONS_FEATURE_KEY] = BoundedTensorSpec((), tf.int32, 1, largest)
    return spec


def get_context_dims_from_spec(context_spec: Any, accepts_per_arm_features: bool) -> tuple[int, int]:
    """Returns the number of global features, and the number of features of an arm; 0 if arms have none.

    Args:
        context_spec: Specs of one observation.
        accepts_per_arm_features: Whether arms have features.
    """
    if accepts_per_arm_features:
        return context_spec[GLOBAL_FEATURE_KEY].shape[0], context_spec[PER_ARM_FEATURE_KEY].shape[1]
    return (context_spec.shape[0] if context_spec.shape.rank else 1), 0


def drop_arm_observation(trajectory: Any) -> Any:
    """Returns a trajectory, or its specs, without the features of arms."""
    kept = {name: leaf for name, leaf in trajectory.observation.items() if name != PER_ARM_FEATURE_KEY}
    return trajectory._replace(observation=kept)
