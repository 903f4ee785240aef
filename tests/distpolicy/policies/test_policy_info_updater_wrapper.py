from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import BOX, STEP_SPEC, actor_policy, random_step

from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.policy_info_updater_wrapper import PolicyInfoUpdaterWrapper
from distpolicy.specs.array_spec import ArraySpec

NOTE = {"note": ArraySpec((), np.int32)}


def _wrapped(updater: Any, **more: Any) -> PolicyInfoUpdaterWrapper:
    inner = FixedPolicy(np.array([5.0, 5.0]), STEP_SPEC, BOX, False, {"note": 1}, NOTE)
    return PolicyInfoUpdaterWrapper(inner, {**NOTE, **more}, updater)


def test_what_the_function_returns_is_put_into_the_info() -> None:
    def updater(step: Any) -> dict[str, tf.Tensor]:
        return {"model": tf.fill([3], 7), "note": step.info["note"] + 1}

    policy = _wrapped(updater, model=ArraySpec((), np.int32))
    for info in (policy.action(random_step(3)).info, policy.distribution(random_step(3)).info):
        np.testing.assert_array_equal(info["model"], [7, 7, 7])
        np.testing.assert_array_equal(info["note"], [2, 2, 2])


def test_action_is_the_wrapped_policy_s_also_outside_the_bounds() -> None:
    policy = _wrapped(lambda step: {})
    np.testing.assert_array_equal(policy.action(random_step(1)).action, [[5.0, 5.0]])


def test_the_wrapped_policy_s_info_is_left_as_it_was() -> None:
    policy = _wrapped(lambda step: {"note": step.info["note"] + 1})
    np.testing.assert_array_equal(policy.action(random_step(2)).info["note"], [2, 2])
    np.testing.assert_array_equal(policy.wrapped_policy.action(random_step(2)).info["note"], [1, 1])


@pytest.mark.parametrize(
    ("update", "error", "message"),
    [
        (lambda step: tf.zeros([2]), ValueError, "updater_fn returns must be a dict"),
        (lambda step: {"other": tf.zeros([2])}, ValueError, "info"),
        (lambda step: {"note": tf.zeros([2])}, TypeError, "info/note.*int32"),
        (lambda step: {"note": tf.zeros([2, 1], tf.int32)}, ValueError, "info/note"),
    ],
)
def test_info_that_does_not_match_its_spec_is_refused(update: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _wrapped(update).action(random_step(2))


def test_policy_without_info_gets_what_the_function_returns() -> None:
    policy = PolicyInfoUpdaterWrapper(actor_policy(), NOTE, lambda step: {"note": tf.fill([2], 7)})
    np.testing.assert_array_equal(policy.action(random_step(2)).info["note"], [7, 7])


def test_info_that_is_no_dict_is_refused() -> None:
    policy = PolicyInfoUpdaterWrapper(actor_policy(emit_log_probability=True), NOTE, lambda step: {})
    with pytest.raises(ValueError, match="wrapped policy's info must be a dict, not a PolicyInfo"):
        policy.action(random_step(2))
