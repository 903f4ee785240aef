"""Updating variables from arrays, as weights hold them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import SpecMismatchError
from distpolicy.utils.common import SoftUpdate
from distpolicy.utils.variables.module_variables import NamedVariable
from distpolicy.weights import WeightView


def variables() -> list[NamedVariable]:
    """Of several dtypes and ranks."""
    values = [tf.zeros((2, 3)), tf.constant(0, tf.int64), tf.constant([False, False]), tf.zeros((4,), tf.float16)]
    return [NamedVariable(f"part/{index}", tf.Variable(value)) for index, value in enumerate(values)]


def arrays(seed: int) -> list[np.ndarray]:
    """Values for them that nobody can write to."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=(2, 3)).astype(np.float32), np.array(seed, np.int64), rng.random(2) < 0.5]
    values.append(rng.normal(size=4).astype(np.float16))
    for value in values:
        value.setflags(write=False)
    return values


def views(values: list[np.ndarray]) -> list[WeightView]:
    return [WeightView(f"part/{index}", value) for index, value in enumerate(values)]


def assert_equal(target: list[NamedVariable], values: list[np.ndarray]) -> None:
    for item, value in zip(target, values, strict=True):
        np.testing.assert_array_equal(item.variable.numpy(), value)


def test_arrays_are_copied_time_and_again() -> None:
    target = variables()
    update = SoftUpdate(target)
    for seed in range(3):
        update(views(arrays(seed)), 1.0, None, False)
        assert_equal(target, arrays(seed))


def test_arrays_that_are_written_to_later_leave_the_variables_as_they_are() -> None:
    target = variables()
    update = SoftUpdate(target)
    for seed in range(2):
        values = [value.copy() for value in arrays(seed)]
        update(views(values), 1.0, None, False)
        values[0][:] = 100.0
        assert_equal(target, arrays(seed))


def test_variables_that_change_later_leave_the_arrays_as_they_are() -> None:
    target = variables()
    update = SoftUpdate(target)
    for seed in range(2):
        values = arrays(seed)
        update(views(values), 1.0, None, False)
        target[0].variable.assign_add(tf.ones((2, 3)))
        np.testing.assert_array_equal(values[0], arrays(seed)[0])


def test_arrays_and_variables_may_be_mixed() -> None:
    target, values = variables(), arrays(5)
    source = [*views(values)[:2], *(NamedVariable("x", tf.Variable(value)) for value in values[2:])]
    SoftUpdate(target)(source, 1.0, None, False)
    assert_equal(target, values)


@pytest.mark.parametrize("wrong", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64)])
@pytest.mark.parametrize("num_before", [0, 1])
def test_arrays_that_do_not_fit_are_refused_by_name_and_nothing_is_assigned(wrong: np.ndarray, num_before: int) -> None:
    target, before = variables(), arrays(1)
    update = SoftUpdate(target)
    if num_before:
        update(views(before), 1.0, None, False)
    else:
        before = [item.variable.numpy() for item in target]
    with pytest.raises(SpecMismatchError, match="variable part/0"):
        update(views([wrong, *arrays(2)[1:]]), 1.0, None, False)
    with pytest.raises(SpecMismatchError, match="source has 3 variables, but target has 4"):
        update(views(arrays(2)[:3]), 1.0, None, False)
    with pytest.raises(SpecMismatchError, match="source has 5 variables, but target has 4"):
        update([*views(arrays(2)), NamedVariable("more", tf.Variable(1.0))], 1.0, None, False)
    assert_equal(target, before)


def test_arrays_pair_by_name_where_asked() -> None:
    target = [NamedVariable(f"part/{index}", tf.Variable(0.0)) for index in range(11)]
    values = [np.array(index, np.float32) for index in range(11)]
    SoftUpdate(target)(views(values)[::-1], 1.0, None, True)
    assert_equal(target, values)
