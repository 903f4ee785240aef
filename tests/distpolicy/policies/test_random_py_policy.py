from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.errors import ConfigError
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure

OBSERVATION = {"z": ArraySpec((), np.int32), "a": [ArraySpec((2, 2), np.float32)]}
STEP_SPEC = ts.time_step_spec(OBSERVATION)
NEST = {
    "z": BoundedArraySpec((2,), np.float32, [-1.0, 5.0], [0.0, 6.0]),
    "a": [BoundedArraySpec((2,), np.int32, [0, 10], [1, 13]), BoundedArraySpec((), np.int64, -3, -3)],
}
MASKED_SPEC = ts.time_step_spec({"x": ArraySpec((2,), np.float32), "mask": ArraySpec((4,), np.int8)})
SHIFTED = BoundedArraySpec((), np.int16, 5, 8)


def _step(outer: tuple[int, ...] = ()) -> TimeStep:
    observation = {"z": np.zeros(outer, np.int32), "a": [np.zeros((*outer, 2, 2), np.float32)]}
    return TimeStep(np.zeros(outer, np.int32), np.zeros(outer, np.float32), np.ones(outer, np.float32), observation)


def _masked(spec: Any = SHIFTED, **arguments: Any) -> RandomPyPolicy:
    splitter = arguments.pop("splitter", lambda observation: (observation["x"], observation["mask"]))
    return RandomPyPolicy(MASKED_SPEC, spec, observation_and_action_constraint_splitter=splitter, **arguments)


def _masked_step(mask: Any) -> TimeStep:
    mask = np.asarray(mask, np.int8)
    outer = mask.shape[:-1]
    return TimeStep(
        np.zeros(outer, np.int32),
        np.zeros(outer, np.float32),
        np.ones(outer, np.float32),
        {"x": np.zeros((*outer, 2), np.float32), "mask": mask},
    )


def _assert_same(left: Any, right: Any) -> None:
    for one, two in zip(flatten(left), flatten(right), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(None, None), (-np.inf, np.inf), (3.0, np.inf), (-np.inf, -1.0)])
def test_floats_without_bounds_are_drawn_as_by_the_tf_policy(seed: Any, dtype: Any, low: Any, high: Any) -> None:
    spec = ArraySpec((2,), dtype) if low is None else BoundedArraySpec((2,), dtype, low, high)
    largest = np.finfo(dtype).max / 8
    drawn = RandomPyPolicy(STEP_SPEC, spec, seed=1).action(_step((1000,)), seed=seed).action
    bounds = [-largest if low in (None, -np.inf) else low, largest if high in (None, np.inf) else high]
    np.testing.assert_allclose([drawn.min(), drawn.max()], bounds, atol=largest / 50)
    if seed is not None:
        expected = RandomTFPolicy(STEP_SPEC, spec).action(_step((1000,)), seed=seed).action
        np.testing.assert_allclose(drawn, expected, rtol=1e-6)


@pytest.mark.parametrize("outer", [(), (3,), (3, 4)])
@pytest.mark.parametrize("seed", [None, 5])
def test_action_has_the_observation_s_outer_dimensions(outer: tuple[int, ...], seed: Any) -> None:
    step = RandomPyPolicy(STEP_SPEC, NEST, info_spec=[NEST["z"]]).action(_step(outer), "state", seed)
    for leaf, spec in zip(flatten(step.action), flatten(NEST), strict=True):
        assert isinstance(leaf, np.ndarray)
        assert leaf.shape == (*outer, *spec.shape)
        assert leaf.dtype == spec.dtype
        assert np.all((leaf >= spec.minimum) & (leaf <= spec.maximum))
    assert type(step.action["a"]) is list
    assert step.info[0].shape == (*outer, 2)
    assert step.state == "state"


@pytest.mark.parametrize("seed", [None, 5])
def test_every_value_between_the_bounds_is_as_likely(seed: Any) -> None:
    action = RandomPyPolicy(STEP_SPEC, NEST, seed=1).action(_step((8000,)), (), seed).action
    values, counts = np.unique(action["a"][0][:, 1], return_counts=True)
    np.testing.assert_array_equal(values, [10, 11, 12, 13])
    assert np.abs(counts / 8000 - 0.25).max() < 0.03
    assert np.abs(np.quantile(action["z"][:, 1], [0.0, 0.25, 0.5, 0.75, 1.0]) - [5, 5.25, 5.5, 5.75, 6]).max() < 0.03


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
@pytest.mark.parametrize("seed", [None, 5])
def test_whole_range_of_64_bits_is_drawn(dtype: Any, seed: Any) -> None:
    spec = BoundedArraySpec((4,), dtype)
    action = RandomPyPolicy(STEP_SPEC, spec, seed=1).action(_step((500,)), (), seed).action
    assert action.dtype == dtype
    # Each quarter of the range has its share.
    quarter = (action.view(np.uint64) >> np.uint64(62)).ravel()
    assert np.bincount(quarter.astype(np.int64), minlength=4).min() > 400


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.uint8])
@pytest.mark.parametrize("seed", [None, 5])
def test_specs_without_bounds_are_drawn_from_their_dtype_s(dtype: Any, seed: Any) -> None:
    action = RandomPyPolicy(STEP_SPEC, ArraySpec((3,), dtype), seed=1).action(_step((50,)), (), seed).action
    assert action.dtype == dtype
    assert np.all(np.isfinite(action))
    assert len(np.unique(action)) > (1 if dtype == np.bool_ else 30)


def test_same_seed_gives_the_same_stream() -> None:
    def stream(seed: int) -> list[Any]:
        policy = RandomPyPolicy(STEP_SPEC, NEST, info_spec=NEST["z"], seed=seed)
        return [policy.action(_step((2,))) for _ in range(3)]

    _assert_same(stream(3), stream(3))
    assert not np.array_equal(stream(3)[0].action["z"], stream(4)[0].action["z"])
    assert not np.array_equal(stream(3)[0].action["z"], stream(3)[1].action["z"])


def test_given_seed_makes_a_draw_and_leaves_the_stream() -> None:
    policy, other = (RandomPyPolicy(STEP_SPEC, NEST, seed=3) for _ in range(2))
    one = policy.action(_step((2,)), (), 7)
    _assert_same(one, RandomPyPolicy(STEP_SPEC, NEST, seed=99).action(_step((2,)), (), 7))
    assert not np.array_equal(one.action["z"], policy.action(_step((2,)), (), 8).action["z"])
    _assert_same(policy.action(_step((2,))), other.action(_step((2,))))


@pytest.mark.parametrize(
    "spec",
    [
        BoundedArraySpec((), np.int32, 0, 2**12 - 1),
        BoundedArraySpec((2,), np.int8, -128, 127),
        BoundedArraySpec((2,), np.uint64, 2**64 - 5, 2**64 - 1),
        BoundedArraySpec((), np.int64, -(2**63), -(2**63) + 1),
        ArraySpec((2,), np.bool_),
    ],
)
def test_few_values_are_drawn_alike_by_both(spec: Any) -> None:
    step, rows = _step((3000,)), np.random.default_rng(1).integers(2**31, size=(3000, 2), dtype=np.int32)
    found = RandomPyPolicy(STEP_SPEC, spec).action(step, (), rows).action
    expected = RandomTFPolicy(STEP_SPEC, spec).action(tf.nest.map_structure(tf.constant, step), (), rows).action
    np.testing.assert_array_equal(found, expected)
    values, counts = np.unique(found, return_counts=True)
    if len(values) <= 5:
        assert np.abs(counts / found.size - 1 / len(values)).max() < 0.03
    single = _step(())
    one = RandomPyPolicy(STEP_SPEC, spec).action(single, (), rows[0]).action
    other = RandomTFPolicy(STEP_SPEC, spec).action(tf.nest.map_structure(tf.constant, single), (), rows[0]).action
    np.testing.assert_array_equal(one, other)


def test_masked_actions_are_drawn_alike_by_both() -> None:
    splitter: Any = lambda observation: (observation["x"], observation["mask"])  # noqa: E731
    mask = np.random.default_rng(0).integers(0, 2, size=(500, 4))
    mask[:, 1] |= ~mask.any(axis=1)
    step, rows = _masked_step(mask), np.random.default_rng(1).integers(2**31, size=(500, 2), dtype=np.int32)
    tf_policy = RandomTFPolicy(MASKED_SPEC, SHIFTED, observation_and_action_constraint_splitter=splitter)
    found = _masked().action(step, (), rows).action
    np.testing.assert_array_equal(found, tf_policy.action(tf.nest.map_structure(tf.constant, step), (), rows).action)


@settings(max_examples=25)
@given(
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64, np.uint64]),
)
def test_given_seeds_draw_what_random_tf_policy_draws(num_rows: int, entropy: int, dtype: Any) -> None:
    generator = np.random.default_rng(entropy)
    if np.issubdtype(dtype, np.floating):
        bounds = np.sort(generator.normal(size=(2, 3)) * 100, axis=0).astype(dtype)
    else:
        info = np.iinfo(dtype)
        bounds = np.sort(generator.integers(info.min, info.max, (2, 3), dtype, endpoint=True), axis=0)
    spec = {"z": BoundedArraySpec((3,), dtype, *bounds), "a": BoundedArraySpec((), dtype, 3, 100)}
    rows = generator.integers(2**31, size=(num_rows, 2), dtype=np.int32)
    step = _step((num_rows,))
    for seed in (rows, rows[0]):
        ours = RandomPyPolicy(STEP_SPEC, spec, info_spec=spec).action(step, (), seed)
        theirs = RandomTFPolicy(STEP_SPEC, spec, info_spec=spec).action(
            tf.nest.map_structure(tf.constant, step), (), seed
        )
        for one, two in zip(flatten((ours.action, ours.info)), flatten((theirs.action, theirs.info)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6)


def test_row_draws_from_its_own_seed() -> None:
    rows = np.random.default_rng(0).integers(2**31, size=(5, 2), dtype=np.int32)
    policy = RandomPyPolicy(STEP_SPEC, NEST)
    whole = policy.action(_step((5,)), (), rows).action
    _assert_same(policy.action(_step((2,)), (), rows[[4, 1]]).action, map_structure(lambda leaf: leaf[[4, 1]], whole))
    with pytest.raises(ValueError, match="a seed for each row"):
        policy.action(_step((4,)), (), rows)


def test_outer_dims_are_those_that_were_given() -> None:
    action = RandomPyPolicy(STEP_SPEC, NEST, outer_dims=[4, 5]).action(_step((2,))).action
    assert action["z"].shape == (4, 5, 2)


def test_without_a_time_step_spec_there_are_none() -> None:
    policy = RandomPyPolicy(None, NEST)
    assert policy.time_step_spec == TimeStep((), (), (), ())
    assert policy.action(_step((2,))).action["z"].shape == (2,)
    assert RandomPyPolicy(None, NEST, outer_dims=(3,)).action(_step()).action["z"].shape == (3, 2)


# Masks.


@pytest.mark.parametrize("seed", [None, 5])
def test_masked_actions_are_never_drawn_and_the_others_as_likely(seed: Any) -> None:
    mask = np.tile([[1, 0, 1, 1], [0, 1, 0, 0]], (3000, 1))
    action = _masked(seed=1).action(_masked_step(mask), (), seed).action
    assert isinstance(action, np.ndarray)
    assert action.dtype == np.int16
    values, counts = np.unique(action[::2], return_counts=True)
    np.testing.assert_array_equal(values, [5, 7, 8])
    assert np.abs(counts / 3000 - 1 / 3).max() < 0.04
    assert (action[1::2] == 6).all()


def test_seed_of_the_constructor_makes_masked_actions_reproducible() -> None:
    step = _masked_step(np.ones((40, 4)))
    first, second = (_masked(seed=3).action(step).action for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, _masked(seed=4).action(step).action)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_masks_of_single_steps_and_of_actions_of_one_element(shape: tuple[int, ...], seed: Any) -> None:
    policy = _masked([BoundedArraySpec(shape, np.int32, 5, 8)])
    one = policy.action(_masked_step([0, 0, 1, 0]), (), seed).action
    assert type(one) is list
    assert isinstance(one[0], np.ndarray)
    np.testing.assert_array_equal(one[0], np.full(shape, 7))
    many = policy.action(_masked_step(np.tile([0, 0, 1, 0], (2, 3, 1))), (), seed).action
    np.testing.assert_array_equal(many[0], np.full((2, 3, *shape), 7))


def test_outer_dims_repeat_the_mask() -> None:
    action = _masked(outer_dims=(6,)).action(_masked_step([0, 0, 1, 0])).action
    np.testing.assert_array_equal(action, np.full(6, 7))


@pytest.mark.parametrize("seed", [None, 5])
def test_mask_of_zeros_is_an_error_that_names_the_row(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"row \[1\]"):
        _masked().action(_masked_step([[1, 0, 0, 0], [0, 0, 0, 0]]), (), seed)


def test_mask_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="3 actions"):
        _masked(BoundedArraySpec((), np.int32, 0, 2)).action(_masked_step([1, 1, 1, 1]))


@pytest.mark.parametrize(
    "spec",
    [
        [SHIFTED, SHIFTED],
        BoundedArraySpec((2,), np.int32, 0, 3),
        BoundedArraySpec((), np.float32),
        ArraySpec((), np.int32),
    ],
)
def test_masks_are_for_one_bounded_discrete_action(spec: Any) -> None:
    with pytest.raises(NotImplementedError):
        _masked(spec)


def test_it_needs_no_tensorflow() -> None:
    code = (
        "import sys, numpy as np\n"
        "from distpolicy.policies.random_py_policy import RandomPyPolicy\n"
        "from distpolicy.specs.array_spec import BoundedArraySpec\n"
        "from distpolicy.trajectories import time_step as ts\n"
        "spec = BoundedArraySpec((4,), np.int32, 0, 1)\n"
        "policy = RandomPyPolicy(ts.time_step_spec(spec), BoundedArraySpec((), np.int64, 0, 3), seed=1,\n"
        "    observation_and_action_constraint_splitter=lambda observation: (observation, observation))\n"
        "step = ts.restart(np.ones((3, 4), np.int32), 3)\n"
        "policy.action(step), policy.action(step, (), 3)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spec_with_an_open_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="give all its dimensions"):
        RandomPyPolicy(STEP_SPEC, ArraySpec((None, 2), np.float32))


@pytest.mark.parametrize(("num_steps", "num_rows"), [(1, 1), (7, 5), (40, 700)])
def test_prepared_seeds_draw_what_the_seeds_draw(num_steps: int, num_rows: int) -> None:
    policy = RandomPyPolicy(STEP_SPEC, NEST, info_spec=[NEST["z"]])
    seeds = np.random.default_rng(0).integers(2**31, size=(num_steps, num_rows, 2), dtype=np.int32)
    step = _step((num_rows,))
    for seed, prepared in zip(seeds, policy.prepare_seeds(seeds), strict=True):
        found, expected = policy.action(step, "state", prepared), policy.action(step, "state", seed)
        assert found.state == "state"
        for got, want in zip(
            flatten((found.action, found.info)), flatten((expected.action, expected.info)), strict=True
        ):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)


def test_prepared_seeds_of_another_batch_are_refused_as_the_seeds_are() -> None:
    policy = RandomPyPolicy(STEP_SPEC, NEST)
    (prepared,) = policy.prepare_seeds(np.zeros((1, 4, 2), np.int32))
    with pytest.raises(ConfigError, match="a seed for each row"):
        policy.action(_step((5,)), (), prepared)


def test_a_mask_has_a_say_in_prepared_seeds() -> None:
    policy = _masked()
    seeds = np.random.default_rng(0).integers(2**31, size=(3, 50, 2), dtype=np.int32)
    mask = np.random.default_rng(1).random((50, 4)) < 0.5
    mask[:, 2] = True
    for seed in policy.prepare_seeds(seeds):
        action = policy.action(_masked_step(mask), (), seed).action
        assert mask[np.arange(50), action - 5].all()
