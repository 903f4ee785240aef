from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import tensorflow as tf

from distpolicy.trajectories.policy_step import PolicyInfo, PolicyStep, get_log_probability, set_log_probability


class Info(NamedTuple):
    value: float = 1.0
    log_probability: Any = ()


class OtherInfo(NamedTuple):
    value: float = 1.0


@pytest.mark.parametrize("empty", [None, ()])
def test_empty_info_becomes_a_policy_info(empty: Any) -> None:
    assert set_log_probability(empty, -2.0) == PolicyInfo(-2.0)


def test_dict_is_not_mutated() -> None:
    info = {"value": 1.0}
    assert set_log_probability(info, -2.0) == {"value": 1.0, "log_probability": -2.0}
    assert info == {"value": 1.0}
    held = {"log_probability": -1.0}
    assert set_log_probability(held, -2.0) == {"log_probability": -2.0}
    assert held == {"log_probability": -1.0}
    assert isinstance(set_log_probability(OrderedDict(a=1), -2.0), OrderedDict)


def test_namedtuple_keeps_its_type_and_other_fields() -> None:
    assert set_log_probability(Info(3.0), -2.0) == Info(3.0, -2.0)


@pytest.mark.parametrize("info", [OtherInfo(), (1.0,), [1.0], 3.0])
def test_info_that_cannot_hold_it_is_refused(info: Any) -> None:
    with pytest.raises(ValueError, match=r"log.probability"):
        set_log_probability(info, -2.0)


def test_log_probability_is_read_from_any_kind_of_info() -> None:
    assert get_log_probability(PolicyInfo(-1.0)) == -1.0
    assert get_log_probability({"log_probability": -1.0}) == -1.0
    assert get_log_probability(set_log_probability((), -3.0)) == -3.0
    for without in ({}, (), OtherInfo(), None):
        assert get_log_probability(without) is None
        assert get_log_probability(without, 5.0) == 5.0


def test_step_is_replaced_by_a_copy() -> None:
    step = PolicyStep(1)
    assert step.replace(state=2) == PolicyStep(1, 2, ())
    assert step == PolicyStep(1, (), ())


def test_wrappers_that_a_module_puts_around_infos_count_as_what_they_wrap() -> None:
    module = tf.Module()
    module.info, module.named = {"value": [1.0]}, Info(3.0)
    changed = set_log_probability(module.info, -2.0)
    assert changed == {"value": [1.0], "log_probability": -2.0}
    assert type(changed) is dict
    assert "log_probability" not in module.info
    assert get_log_probability(changed) == -2.0
    module.changed = changed
    assert get_log_probability(module.changed) == -2.0
    assert set_log_probability(module.named, -2.0) == Info(3.0, -2.0)
