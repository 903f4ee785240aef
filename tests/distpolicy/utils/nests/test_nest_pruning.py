from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.utils.nest_utils import prune_extra_keys


class Pair(NamedTuple):
    left: Any
    right: Any


class Other(NamedTuple):
    up: Any
    down: Any


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2}),
        ([{"a": 1}], [{"a": 2, "b": 3}], [{"a": 2}]),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}, "d": 4}, {"a": {"b": 2}}),
        (Pair(1, {"a": 1}), Pair(2, {"a": 3, "b": 4}), Pair(2, {"a": 3})),
        ({}, {"a": 1}, {}),
        ((), {"a": 1}, ()),
        ({"a": ()}, {"a": [1], "b": 2}, {"a": ()}),
    ],
)
def test_keys_that_are_not_in_the_narrow_nest_are_left_out(narrow: Any, wide: Any, expected: Any) -> None:
    pruned = prune_extra_keys(narrow, wide)
    assert pruned == expected
    assert type(pruned) is type(expected)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"a": 1, "c": 2}, {"a": 1, "b": 2}),
        ([{"a": 1}], ({"a": 1, "b": 2},)),
        ([1], [1, 2]),
        ([], [1, 2]),
        ("leaf", {"a": 1}),
        (None, {"a": 1}),
        ({"a": np.zeros(2)}, {"a": {"b": 1}}),
        (Pair(1, {"a": 1}), Other(2, {"a": 3, "b": 4})),
        ((1, {"a": 1}), Pair(2, {"a": 3, "b": 4})),
        ({"a": 1}, [1]),
    ],
)
def test_parts_that_are_not_alike_stay_as_they_are(narrow: Any, wide: Any) -> None:
    assert prune_extra_keys(narrow, wide) == wide


def test_containers_keep_the_types_of_the_wide_nest() -> None:
    wide = OrderedDict(b=1, a=defaultdict(list, c=2, d=3))
    pruned = prune_extra_keys({"a": {"c": 0}}, wide)
    assert type(pruned) is OrderedDict
    assert type(pruned["a"]) is defaultdict
    assert pruned["a"].default_factory is list
    assert wide == OrderedDict(b=1, a={"c": 2, "d": 3})


def test_wrappers_of_tensorflow_count_as_what_they_wrap() -> None:
    module = tf.Module()
    module.nest = {"a": [{"b": 1, "c": 2}], "d": (3, {"e": 4, "f": 5})}
    pruned = prune_extra_keys({"a": [{"b": 0}], "d": (0, {"e": 0})}, module.nest)
    assert pruned == {"a": [{"b": 1}], "d": (3, {"e": 4})}
    assert type(pruned) is dict
    assert type(pruned["d"]) is tuple
    plain = {"a": [{"b": 1, "c": 2}], "d": (3, {"e": 4, "f": 5}), "g": 6}
    assert prune_extra_keys(module.nest, plain) == {key: plain[key] for key in "ad"}


NESTS = st.recursive(
    st.integers(),
    lambda children: (
        st.dictionaries(st.sampled_from("abcd"), children, max_size=3)
        | st.lists(children, min_size=1, max_size=3)
        | st.tuples(children, children)
    ),
    max_leaves=8,
)


@given(NESTS, st.randoms())
def test_pruning_undoes_adding_keys(nest: Any, random: Any) -> None:
    def widened(node: Any) -> Any:
        if isinstance(node, dict):
            extra = {f"extra{index}": index for index in range(random.randint(0, 2))}
            return {**{key: widened(child) for key, child in node.items()}, **extra}
        if isinstance(node, list | tuple):
            return type(node)(widened(child) for child in node)
        return node

    assert prune_extra_keys(nest, widened(nest)) == nest
