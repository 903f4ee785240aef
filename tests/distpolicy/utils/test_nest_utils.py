from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils.nest_utils import assert_matches_spec

SPEC = tensor_spec.from_spec({"b": (ArraySpec((2,), np.float32),), "a": ArraySpec((), np.int32)})


def value(*outer: int, **changes: Any) -> dict[str, Any]:
    return {"b": (np.zeros((*outer, 2), np.float32),), "a": np.zeros(outer, np.int32), **changes}


@pytest.mark.parametrize("outer", [(), (4,), (4, 5)])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_number_of_outer_dimensions_is_told(outer: tuple[int, ...], kind: Any) -> None:
    nest = tf.nest.map_structure(kind, value(*outer))
    assert assert_matches_spec(nest, SPEC, "state") == len(outer)
    assert assert_matches_spec(nest, SPEC, "state", len(outer)) == len(outer)
    with pytest.raises(ValueError, match=r"^state/a: expected 3 outer dimensions"):
        assert_matches_spec(nest, SPEC, "state", 3)


@pytest.mark.parametrize(
    ("nest", "error", "match"),
    [
        (value(4, b=(np.zeros((4, 3), np.float32),)), ValueError, r"^state/b/0: .*\(2,\), got \(4, 3\)"),
        (value(4, b=(np.zeros(2, np.float32),)), ValueError, "^state/b/0: expected 1 outer"),
        (value(4, a=np.zeros(4)), TypeError, "^state/a: expected dtype int32, got float64"),
        (value(4, a=3), TypeError, "^state/a: expected dtype int32, got int"),
        (value(4, b=[np.zeros((4, 2), np.float32)]), TypeError, "^state: .*structure"),
        (value(4, b=()), ValueError, "^state: .*structure"),
        (value(4, c=np.zeros(4)), ValueError, "^state: .*structure"),
        ((), TypeError, "^state: .*structure"),
    ],
    ids=["shape", "outer", "dtype", "no array", "container", "empty", "extra", "nothing"],
)
def test_leaf_that_differs_is_named(nest: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        assert_matches_spec(nest, SPEC, "state")


def test_open_dimensions_match_any_size() -> None:
    spec = tf.TensorSpec((None, 2), tf.float32)
    for size in (1, 5):
        assert assert_matches_spec(tf.zeros([3, size, 2]), spec, "action") == 1
    with pytest.raises(ValueError, match=r"^action:"):
        assert_matches_spec(tf.zeros([3, 5, 3]), spec, "action")


def test_empty_nest_matches_an_empty_spec() -> None:
    assert assert_matches_spec((), (), "state") == 0
    with pytest.raises(TypeError, match=r"^step: .*structure"):
        assert_matches_spec(PolicyStep(1, 2, 3), (1, 2, 3), "step")
