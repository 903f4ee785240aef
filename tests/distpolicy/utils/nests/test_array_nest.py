from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils.nests.array_nest import flatten, getters, leaf_places, map_structure, pack_leaves, packer, paths

NESTS = [
    3,
    (),
    {"b": 1, "a": (2, [3, {"z": 4, "y": 5}])},
    PolicyStep(action={"right": 1, "left": 2}, state=(3,), info=()),
]


@pytest.mark.parametrize("nest", NESTS, ids=repr)
def test_leaves_are_in_the_order_of_tf_nest(nest: Any) -> None:
    assert flatten(nest) == tf.nest.flatten(nest)
    assert len(paths(nest)) == len(flatten(nest))


@pytest.mark.parametrize("nest", NESTS, ids=repr)
def test_structure_is_kept(nest: Any) -> None:
    doubled = map_structure(lambda left, right: left + right, nest, nest)
    assert doubled == tf.nest.map_structure(lambda leaf: 2 * leaf, nest)
    assert type(doubled) is type(nest)


def test_nests_that_differ_in_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        map_structure(lambda left, right: left, (1, 2), (1,))


KEYS = st.text("a/~1%", max_size=3)
SPELT_ALIKE = st.recursive(
    st.just(0),
    lambda child: st.one_of(st.dictionaries(KEYS, child, max_size=4), st.lists(child, max_size=2)),
    max_leaves=8,
)


@given(SPELT_ALIKE)
def test_no_two_leaves_have_the_same_path_or_place(nest: Any) -> None:
    found = paths(nest)
    assert len(set(found)) == len(found)
    assert flatten(leaf_places(nest)) == list(range(len(found)))
    leaves = [object() for _ in found]
    packed = pack_leaves(nest, leaves)
    assert flatten(packed) == leaves
    assert [get(packed) for get in getters(packed)] == leaves


@pytest.mark.parametrize("nest", NESTS, ids=repr)
def test_packed_leaves_are_in_containers_of_the_same_types(nest: Any) -> None:
    assert pack_leaves(nest, flatten(nest)) == nest
    assert type(pack_leaves(nest, flatten(nest))) is type(nest)


def test_paths_name_keys_indices_and_fields() -> None:
    assert paths(NESTS[2]) == ["/a/0", "/a/1/0", "/a/1/1/y", "/a/1/1/z", "/b"]
    assert paths(NESTS[3]) == ["/action/left", "/action/right", "/state/0"]
    assert paths(3) == [""]
    assert paths({"a/b": 1, "a": {"b": 2}, "a~1b": 3, "": 4}) == ["/", "/a/b", "/a~1b", "/a~01b"]


class _Pair(NamedTuple):
    first: Any
    second: Any


class _List(list):
    pass


@pytest.mark.parametrize(
    "structure",
    [
        0,
        (),
        [],
        {},
        (0,),
        [1, (0,)],
        _List([1, 0]),
        _Pair(1, ()),
        _Pair((0,), {"b": 1, "a": _Pair(2, [3])}),
        {"it's": 0, 'a "b"': 1, 3: 2, ("x", 1): 3},
        OrderedDict(b=0, a={"c": 1}),
    ],
)
def test_packer_makes_the_same_nest(structure: Any) -> None:
    values = [object() for _ in range(4)]
    packed = packer(structure)(values)
    expected = map_structure(lambda place: values[place], structure)
    assert packed == expected
    assert _types(packed) == _types(expected)


def _types(nest: Any) -> Any:
    children = list(nest.values()) if isinstance(nest, dict) else nest if isinstance(nest, tuple | list) else []
    keys = list(nest) if isinstance(nest, dict) else None
    return type(nest), keys, [_types(child) for child in children]
