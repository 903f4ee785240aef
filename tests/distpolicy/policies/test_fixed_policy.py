from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import BOX, DISCRETE, STEP_SPEC, random_step

from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import PolicyInfo
from distpolicy.trajectories.time_step import TimeStep

ACTIONS = {"box": np.array([0.5, 9.0]), "kind": [2]}
SPEC = {"box": BOX, "kind": [DISCRETE]}


def _step(outer: tuple[int, ...]) -> TimeStep:
    return TimeStep(
        np.zeros(outer, np.int32),
        np.zeros(outer, np.float32),
        np.ones(outer, np.float32),
        np.ones((*outer, 3), np.float32),
    )


@pytest.mark.parametrize("outer", [(), (4,), (2, 5)])
@pytest.mark.parametrize("as_tensors", [True, False])
def test_action_is_repeated_for_any_batch_of_arrays_or_tensors(outer: tuple[int, ...], as_tensors: bool) -> None:
    step = tf.nest.map_structure(tf.constant, _step(outer)) if as_tensors else _step(outer)
    result = FixedPolicy(ACTIONS, STEP_SPEC, SPEC).action(step)
    # Outside the bounds, as it was given.
    np.testing.assert_array_equal(result.action["box"], np.broadcast_to(np.float32([0.5, 9.0]), (*outer, 2)))
    np.testing.assert_array_equal(result.action["kind"][0], np.full(outer, 2))
    assert result.action["kind"][0].dtype == tf.int64
    assert type(result.action) is dict
    assert type(result.action["kind"]) is list
    log_probability = result.info.log_probability
    np.testing.assert_array_equal(log_probability["box"], np.zeros(outer))
    np.testing.assert_array_equal(log_probability["kind"][0], np.zeros(outer))


def test_log_probability_is_emitted_unless_told_otherwise() -> None:
    assert FixedPolicy(ACTIONS, STEP_SPEC, SPEC).emit_log_probability
    assert isinstance(FixedPolicy(ACTIONS, STEP_SPEC, SPEC).info_spec, PolicyInfo)
    quiet = FixedPolicy(ACTIONS, STEP_SPEC, SPEC, emit_log_probability=False)
    assert quiet.info_spec == ()
    assert quiet.action(_step((2,))).info == ()


def test_policy_info_is_repeated_or_taken_as_the_batch_that_it_is() -> None:
    for info in (7, np.array([7, 7, 7])):
        policy = FixedPolicy(
            ACTIONS, STEP_SPEC, SPEC, policy_info={"note": info}, info_spec={"note": ArraySpec((), np.int32)}
        )
        found = policy.action(_step((3,))).info
        np.testing.assert_array_equal(found["note"], [7, 7, 7])
        assert found["log_probability"]["box"].shape == (3,)
        assert found["log_probability"]["kind"][0].shape == (3,)


def test_namedtuple_info_gets_its_log_probability() -> None:
    Info = collections.namedtuple("Info", ["log_probability", "note"])
    spec = Info((), ArraySpec((2,), np.float32))
    policy = FixedPolicy(2, STEP_SPEC, DISCRETE, policy_info=Info((), np.ones(2)), info_spec=spec)
    found = policy.action(_step((3,))).info
    assert found.note.shape == (3, 2)
    np.testing.assert_array_equal(found.log_probability, np.zeros(3))


def test_distribution_is_certain_of_the_action() -> None:
    step = FixedPolicy(ACTIONS, STEP_SPEC, SPEC).distribution(random_step(3))
    np.testing.assert_array_equal(step.action["box"].mode(), np.tile(np.float32([[0.5, 9.0]]), (3, 1)))
    np.testing.assert_array_equal(step.action["kind"][0].sample(), [2, 2, 2])
    assert step.info.log_probability["box"].shape == (3,)


@pytest.mark.parametrize(
    ("actions", "spec", "error"),
    [
        ({"a": 1}, {"b": DISCRETE}, ValueError),
        ([1], [DISCRETE, DISCRETE], ValueError),
        ((1,), [DISCRETE], TypeError),
        (1.5, DISCRETE, TypeError),
        ([1.0, 2.0], BOX, ValueError),
    ],
)
def test_actions_that_do_not_match_their_specs_are_refused(actions: Any, spec: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        FixedPolicy(actions, STEP_SPEC, spec)


def test_info_that_does_not_match_its_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="structure"):
        FixedPolicy(2, STEP_SPEC, DISCRETE, policy_info={"other": 1}, info_spec={"note": ArraySpec((), np.int32)})


def test_wrong_shape_is_refused_and_the_leaf_is_named() -> None:
    with pytest.raises(ValueError, match=r"actions/box: expected shape \(2,\), got \(3,\)"):
        FixedPolicy({"box": np.zeros(3), "kind": [2]}, STEP_SPEC, SPEC)


def test_it_has_no_variables_and_update_changes_nothing() -> None:
    policy = FixedPolicy(ACTIONS, STEP_SPEC, SPEC)
    assert not policy.variables()
    policy.update(FixedPolicy({"box": np.zeros(2), "kind": [1]}, STEP_SPEC, SPEC))
    np.testing.assert_array_equal(policy.action(_step(())).action["kind"][0], 2)


def test_xla_compiles_it() -> None:
    policy = FixedPolicy(ACTIONS, STEP_SPEC, SPEC)
    compiled = tf.function(policy.action, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(compiled(random_step(3)).action["kind"][0], [2, 2, 2])
