"""Infos of bandit policies, their specs, and actions under masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.policies import utils
from distpolicy.specs import bandit_spec_utils
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories.trajectory import Trajectory


def test_the_number_of_actions() -> None:
    assert utils.get_num_actions_from_tensor_spec(BoundedTensorSpec((), tf.int64, 0, 4)) == 5
    for wrong in (
        TensorSpec((), tf.int32),
        BoundedTensorSpec((1,), tf.int32, 0, 4),
        BoundedTensorSpec((), tf.float32, 0, 4),
        BoundedTensorSpec((), tf.int32, 1, 4),
    ):
        with pytest.raises(ValueError, match="action_spec must be"):
            utils.get_num_actions_from_tensor_spec(wrong)


def test_the_largest_allowed_element() -> None:
    found = utils.masked_argmax(
        tf.constant([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [1.0, 3.0, 2.0]]),
        tf.constant([[1, 1, 1], [1, 0, 1], [0, 0, 0]]),
        tf.int64,
    )
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, [1, 2, -1])
    with pytest.raises(ValueError, match="compatible"):
        utils.masked_argmax(tf.zeros([2, 3]), tf.ones([2, 2]))


def test_infos_are_filled_as_asked_for() -> None:
    estimates, optimistic = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])
    arms = {"x": tf.constant([[[1.0], [2.0]]])}
    arguments: tuple[Any, ...] = (arms, tf.constant([1]), optimistic, estimates)
    info = utils.populate_policy_info(*arguments, [utils.InfoFields.PREDICTED_REWARDS_MEAN], False)
    assert info == utils.PolicyInfo(predicted_rewards_mean=estimates)
    info = utils.populate_policy_info(*arguments, [utils.InfoFields.PREDICTED_REWARDS_OPTIMISTIC], True)
    assert info.predicted_rewards_optimistic is optimistic
    assert info.predicted_rewards_mean == ()
    np.testing.assert_array_equal(info.chosen_arm_features["x"], [[2.0]])
    assert utils.has_chosen_arm_features(info)
    assert not utils.has_chosen_arm_features(info, check_for_tensor=True)
    assert not utils.has_chosen_arm_features(utils.PolicyInfo())


def test_the_policy_type_is_set_where_there_is_a_field() -> None:
    kind = tf.constant([utils.BanditPolicyType.GREEDY])
    assert utils.set_bandit_policy_type((), kind) == utils.PolicyInfo(bandit_policy_type=kind)
    info = utils.set_bandit_policy_type(utils.PerArmPolicyInfo(log_probability=1.0), kind)
    assert (info.log_probability, info.bandit_policy_type) == (1.0, kind)
    assert utils.has_bandit_policy_type(info, check_for_tensor=True)
    assert not utils.has_bandit_policy_type(utils.PolicyInfo(), check_for_tensor=True)
    given = {"a": 1}
    assert utils.set_bandit_policy_type(given, kind) == {"a": 1, "bandit_policy_type": kind}
    assert given == {"a": 1}
    assert utils.set_bandit_policy_type((1, 2), kind) == (1, 2)
    masked = utils.bandit_policy_uniform_mask(tf.constant([1, 1]), tf.constant([True, False]))
    np.testing.assert_array_equal(masked, [2, 1])
    spec = utils.create_bandit_policy_type_tensor_spec((3,))
    assert (spec.shape, spec.dtype, spec.minimum, spec.maximum) == ((3,), tf.int32, 0, 4)


def test_specs_of_arms() -> None:
    spec = bandit_spec_utils.create_per_arm_observation_spec(4, 2, 5, add_num_actions_feature=True)
    assert {name: leaf.shape.as_list() for name, leaf in spec.items()} == {
        "global": [4],
        "per_arm": [5, 2],
        "num_actions": [],
    }
    assert spec["num_actions"].maximum == 5
    assert bandit_spec_utils.get_context_dims_from_spec(spec, True) == (4, 2)
    assert bandit_spec_utils.get_context_dims_from_spec(TensorSpec((3,), tf.float32), False) == (3, 0)
    assert bandit_spec_utils.get_context_dims_from_spec(TensorSpec((), tf.float32), False) == (1, 0)
    assert utils.create_chosen_arm_features_info_spec(spec) == TensorSpec((2,), tf.float32)
    trajectory = Trajectory((), dict(spec), (), (), (), (), ())
    assert set(bandit_spec_utils.drop_arm_observation(trajectory).observation) == {"global", "num_actions"}
    assert "per_arm" in trajectory.observation
    assert [utils.get_model_index(2, features) for features in (True, False)] == [0, 2]
    utils.check_no_mask_with_arm_features(True, None)
    with pytest.raises(NotImplementedError, match="num_actions"):
        utils.check_no_mask_with_arm_features(True, lambda x: x)
