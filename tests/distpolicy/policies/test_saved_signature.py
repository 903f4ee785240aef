from __future__ import annotations

import re
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.policies.saved_signature import flat_signature, has_names, path_names, spec_names

LEAVES = st.builds(
    tf.TensorSpec,
    st.lists(st.integers(1, 3), max_size=2),
    st.sampled_from([tf.float32, tf.int32]),
    st.sampled_from([None, "a", "b"]),
)
NESTS = st.recursive(
    LEAVES,
    lambda child: st.one_of(
        st.lists(child, min_size=1, max_size=3),
        st.lists(child, min_size=1, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["left", "right", "up"]), child, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@given(NESTS)
def test_paths_name_every_spec_apart_and_change_nothing_else(nest: Any) -> None:
    named = spec_names((nest,), by_path=True)
    tf.nest.assert_same_structure(named, (nest,))
    assert has_names(named)
    for left, right in zip(tf.nest.flatten(named), tf.nest.flatten(nest), strict=True):
        assert (left.shape, left.dtype) == (right.shape, right.dtype)


@given(NESTS)
def test_own_names_are_taken_if_they_tell_the_specs_apart(nest: Any) -> None:
    if has_names(nest):
        names = [spec.name for spec in tf.nest.flatten(spec_names(nest, by_path=False))]
        assert names == [spec.name for spec in tf.nest.flatten(nest)]
    else:
        with pytest.raises(ValueError, match="use_nest_path_signatures"):
            spec_names(nest, by_path=False)


def test_flat_signature_takes_and_gives_nests_by_name() -> None:
    specs = spec_names(({"x": tf.TensorSpec([], tf.float32), "y": [tf.TensorSpec([2], tf.float32)]},), by_path=True)
    outputs = {"sum": tf.TensorSpec([2], tf.float32, "total")}
    by_spec = flat_signature(lambda nest: {"sum": nest["x"] + nest["y"][0]}, specs, outputs)
    found = by_spec(tf.constant(1.0), tf.constant([1.0, 2.0]))
    assert {name: value.numpy().tolist() for name, value in found.items()} == {"total": [2.0, 3.0]}
    by_path = flat_signature(lambda nest: {"sum": (nest["x"], nest["y"][0])}, specs, None)
    assert set(by_path(tf.constant(1.0), tf.constant([1.0, 2.0]))) == {"sum/0", "sum/1"}


KEYS = st.text("a/~ %.ö_A", max_size=3)


@given(st.recursive(LEAVES, lambda child: st.dictionaries(KEYS, child, min_size=1, max_size=4), max_leaves=8))
def test_names_of_any_keys_are_such_that_tensorflow_takes_and_tells_apart(nest: Any) -> None:
    names = path_names((nest,))
    assert all(re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", name) for name in names)
    sanitized = ["".join(character if character.isalnum() else "_" for character in name).lower() for name in names]
    assert len(set(sanitized)) == len(names) == len(tf.nest.flatten(nest))


def test_names_of_ordinary_keys_are_their_paths() -> None:
    assert path_names(({"camera": 1, "joint_2": (2, 3)}, 4)) == ["0/camera", "0/joint_2/0", "0/joint_2/1", "1"]
    assert path_names({"joint pos (rad)": 1, "joint/pos (rad)": 2, "": 3}) == [
        "_",
        "joint_pos__rad_",
        "joint_1pos__rad_",
    ]
