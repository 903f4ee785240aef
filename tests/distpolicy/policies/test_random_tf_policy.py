from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_policies import BOX, DISCRETE, MASKED_STEP_SPEC, SHIFTED, STEP_SPEC, masked_step, random_step, seeds, split

from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec

NEST = {"z": BOX, "a": [SHIFTED, BoundedArraySpec((2,), np.uint8, [0, 250], [1, 255])]}


def _masked(spec: Any = SHIFTED, **arguments: Any) -> RandomTFPolicy:
    return RandomTFPolicy(MASKED_STEP_SPEC, spec, observation_and_action_constraint_splitter=split, **arguments)


def test_every_value_between_the_bounds_is_as_likely() -> None:
    action = RandomTFPolicy(STEP_SPEC, NEST).action(random_step(8000), seed=1).action
    counts = np.unique(action["a"][0], return_counts=True)
    np.testing.assert_array_equal(counts[0], [5, 6, 7, 8])
    assert np.abs(counts[1] / 8000 - 0.25).max() < 0.03
    np.testing.assert_array_equal(np.unique(action["a"][1][:, 1]), np.arange(250, 256))
    np.testing.assert_array_equal(np.unique(action["a"][1][:, 0]), [0, 1])
    share = (np.asarray(action["z"]) - BOX.minimum) / (BOX.maximum - BOX.minimum)
    assert np.abs(np.quantile(share, [0.0, 0.25, 0.5, 0.75, 1.0], axis=0).T - [0, 0.25, 0.5, 0.75, 1]).max() < 0.03
    assert type(action["a"]) is list


@settings(max_examples=10)
@given(st.permutations(range(6)), st.booleans())
def test_rows_draw_from_their_own_seeds(order: list[int], with_mask: bool) -> None:
    policy = _masked() if with_mask else RandomTFPolicy(STEP_SPEC, NEST)
    step = masked_step([[1, 1, 1, 0]] * 6) if with_mask else random_step(6)
    rows = seeds(6)
    action = policy.action(step, seed=rows).action
    permuted = policy.action(step, seed=tf.gather(rows, order)).action
    tf.nest.map_structure(lambda one, two: np.testing.assert_array_equal(np.asarray(one)[order], two), action, permuted)


@pytest.mark.parametrize("outer", [(), (3,), (3, 4)])
def test_action_has_the_time_step_s_outer_dimensions(outer: tuple[int, ...]) -> None:
    step = tf.nest.map_structure(lambda leaf: tf.zeros([*outer, *leaf.shape[1:]], leaf.dtype), random_step(1))
    result = RandomTFPolicy(STEP_SPEC, NEST, emit_log_probability=True).action(step, seed=3)
    assert result.action["z"].shape == (*outer, 2)
    assert result.info.log_probability["z"].shape == outer
    if outer:
        assert len(np.unique(np.reshape(result.action["z"], (-1, 2)), axis=0)) == np.prod(outer)


def test_log_probability_is_that_of_the_bounds() -> None:
    info = RandomTFPolicy(STEP_SPEC, NEST, emit_log_probability=True).action(random_step(3)).info.log_probability
    np.testing.assert_allclose(info["a"][0], np.full(3, -np.log(4)), rtol=1e-6)
    np.testing.assert_allclose(info["a"][1], np.full(3, -np.log(2) - np.log(6)), rtol=1e-6)
    np.testing.assert_allclose(info["z"], np.full(3, -np.log(2) - np.log(4)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (3.0, np.inf), (-np.inf, -1.0), (-1.0, 1.0)])
def test_log_probability_has_the_width_that_draws_fill(dtype: Any, low: float, high: float) -> None:
    spec = BoundedArraySpec((2,), dtype, low, high)
    step = RandomTFPolicy(STEP_SPEC, spec, emit_log_probability=True).action(random_step(1000), seed=1)
    drawn = np.asarray(step.action).astype(np.longdouble)
    log_width = np.log(drawn.max() - drawn.min())
    np.testing.assert_allclose(step.info.log_probability, np.full(1000, -2 * log_width, np.float32), atol=0.05)


def test_element_without_width_is_certain() -> None:
    spec = BoundedArraySpec((2,), np.float32, [1.0, 0.0], [1.0, 2.0])
    result = RandomTFPolicy(STEP_SPEC, spec, emit_log_probability=True).action(random_step(3))
    np.testing.assert_array_equal(result.action[:, 0], np.ones(3))
    np.testing.assert_allclose(result.info.log_probability, np.full(3, -np.log(2.0)), rtol=1e-6)


def test_masked_actions_are_never_drawn_and_the_others_as_likely() -> None:
    mask = np.tile([[1, 0, 1, 1], [0, 1, 0, 0]], (3000, 1))
    result = _masked(emit_log_probability=True).action(masked_step(mask), seed=2)
    free, forced = np.asarray(result.action)[::2], np.asarray(result.action)[1::2]
    values, counts = np.unique(free, return_counts=True)
    np.testing.assert_array_equal(values, [5, 7, 8])
    assert np.abs(counts / 3000 - 1 / 3).max() < 0.04
    assert (forced == 6).all()
    assert result.action.dtype == tf.int32
    np.testing.assert_allclose(result.info.log_probability[:2], [-np.log(3), 0.0], atol=1e-6)


def test_masks_of_an_action_of_one_element() -> None:
    result = _masked(BoundedArraySpec((1,), np.int32, 5, 8), emit_log_probability=True).action(
        masked_step([[0, 0, 0, 1], [1, 0, 0, 1]])
    )
    assert result.action.shape == (2, 1)
    assert result.action[0, 0] == 8
    np.testing.assert_allclose(result.info.log_probability, [0.0, -np.log(2)], atol=1e-6)


def test_mask_of_zeros_is_an_error_that_names_the_row() -> None:
    with pytest.raises(ValueError, match=r"row \[1\]"):
        _masked().action(masked_step([[1, 0, 0, 0], [0, 0, 0, 0]]))


def test_mask_of_another_width_is_refused() -> None:
    policy = _masked(BoundedArraySpec((), np.int32, 0, 2))
    with pytest.raises(ValueError, match="3 actions"):
        policy.action(masked_step([[1, 1, 1, 1]]))


@pytest.mark.parametrize("spec", [[DISCRETE, DISCRETE], BOX, BoundedArraySpec((2,), np.int64, 0, 3)])
def test_masks_are_for_one_discrete_action(spec: Any) -> None:
    with pytest.raises(NotImplementedError, match="one bounded discrete action"):
        _masked(spec)


def test_state_passes_and_the_info_is_drawn() -> None:
    policy = RandomTFPolicy(
        STEP_SPEC,
        DISCRETE,
        policy_state_spec=ArraySpec((2,), np.float32),
        info_spec={"x": BoundedArraySpec((2,), np.float32, 3.0, 4.0)},
        emit_log_probability=True,
    )
    result = policy.action(random_step(3), tf.ones([3, 2]), seed=1)
    np.testing.assert_array_equal(result.state, np.ones((3, 2)))
    assert np.all((np.asarray(result.info["x"]) >= 3.0) & (np.asarray(result.info["x"]) <= 4.0))
    assert len(np.unique(result.info["x"])) == 6


def test_it_has_no_distribution() -> None:
    with pytest.raises(NotImplementedError):
        RandomTFPolicy(STEP_SPEC, DISCRETE).distribution(random_step(1))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_it_draws_alike_and_is_traced_once(jit_compile: bool) -> None:
    for policy, step in (
        (RandomTFPolicy(STEP_SPEC, NEST, emit_log_probability=True), random_step(3)),
        (_masked(emit_log_probability=True), masked_step([[1, 1, 0, 1]] * 3)),
    ):
        compiled = tf.function(policy.action, jit_compile=jit_compile, autograph=False)
        for seed in range(3):
            tf.nest.map_structure(
                lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6),
                compiled(step, (), seeds(3, seed)),
                policy.action(step, (), seeds(3, seed)),
            )
        assert compiled.experimental_get_tracing_count() == 1


def test_calls_without_a_seed_differ() -> None:
    policy = RandomTFPolicy(STEP_SPEC, BOX)
    assert not np.array_equal(policy.action(random_step(3)).action, policy.action(random_step(3)).action)
