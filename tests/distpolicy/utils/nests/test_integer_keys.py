from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils.nests.integer_keys import integer_key_paths, with_integer_keys, with_keys_of, with_string_keys

NESTS = st.recursive(
    st.floats(allow_nan=False),
    lambda child: st.one_of(
        st.dictionaries(st.integers(-3, 20), child, min_size=1, max_size=3),
        st.dictionaries(st.text("0a/~", max_size=2), child, min_size=1, max_size=3),
        st.lists(child, max_size=2),
        st.lists(child, max_size=2).map(tuple),
        st.builds(PolicyStep, child, st.just(()), child),
    ),
    max_leaves=6,
)


@given(NESTS)
def test_both_ways_lead_back(nest: Any) -> None:
    strings = with_string_keys(nest)
    assert integer_key_paths(strings) == []
    assert with_integer_keys(strings, integer_key_paths(nest)) == nest
    assert with_keys_of(nest, strings) == nest
    if not integer_key_paths(nest):
        assert strings == nest


def test_what_is_at_a_leaf_may_be_a_nest() -> None:
    assert with_keys_of({10: 0, 2: (0,)}, {"10": {"x": 1}, "2": ([3],)}) == {10: {"x": 1}, 2: ([3],)}


def test_other_keys_are_refused_by_name() -> None:
    for key in (1.5, True, None):
        with pytest.raises(ValueError, match=str(key)):
            with_string_keys({"a": {key: 1}})
