from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths

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


def test_paths_name_keys_indices_and_fields() -> None:
    assert paths(NESTS[2]) == ["/a/0", "/a/1/0", "/a/1/1/y", "/a/1/1/z", "/b"]
    assert paths(NESTS[3]) == ["/action/left", "/action/right", "/state/0"]
    assert paths(3) == [""]
