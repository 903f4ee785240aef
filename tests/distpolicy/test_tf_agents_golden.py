"""The golden cases that were recorded from TF-Agents 0.19, run on distpolicy.

Every case must give what TF-Agents gave: the same values, dtypes, shapes and kinds of containers, and for an error an
instance of a class of that name. Where distpolicy is meant to differ, ``DEVIATIONS`` says what it gives instead and
why; the rest of such a case must still agree.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

from golden_cases import CASES  # noqa: E402
from golden_deviations import DEVIATIONS, Deviation  # noqa: E402
from golden_encoding import differences, encode  # noqa: E402
from golden_registry import MODULES, Namespace, Raised, outcome  # noqa: E402

RECORD = json.loads((GOLDEN / "tf_agents_0_19.json").read_text())
THEIRS: dict[str, Any] = RECORD["cases"]


def expected_of(name: str) -> Any:
    """What TF-Agents gave, with our answers in the places where we mean to differ."""
    whole = {"": copy.deepcopy(THEIRS[name])}
    for deviation in DEVIATIONS:
        if deviation.case == name:
            parent, key = whole, ""
            for step in deviation.place:
                parent, key = parent[key], step
            parent[key] = encode(deviation.ours)
    return whole[""]


@pytest.mark.parametrize("name", sorted(CASES))
def test_gives_what_tf_agents_gave(name: str) -> None:
    assert name in THEIRS, "record the cases anew: python tests/golden/record_tf_agents.py"
    ours = encode(CASES[name](Namespace("distpolicy")))
    assert differences(expected_of(name), ours) == []


@pytest.mark.parametrize(
    "deviation", DEVIATIONS, ids=lambda deviation: "/".join(map(str, (deviation.case, *deviation.place)))
)
def test_a_deviation_is_one_from_what_was_recorded(deviation: Deviation) -> None:
    theirs = THEIRS[deviation.case]
    for step in deviation.place:
        theirs = theirs[step]
    assert differences(theirs, encode(deviation.ours)) != []


def test_every_record_has_its_case() -> None:
    assert sorted(THEIRS) == sorted(CASES)
    assert RECORD["versions"]["tf_agents"] == "0.19.0"


@pytest.mark.parametrize("module", sorted(MODULES.values()))
def test_the_module_is_at_the_same_path(module: str) -> None:
    name = module.rpartition(".")[2]
    assert getattr(Namespace("distpolicy"), name).__name__ == f"distpolicy.{module}"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.float32(1.0), np.float32(1.001)),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        (np.zeros(2, np.float32), np.zeros((1, 2), np.float32)),
        (np.zeros(2, np.float32), tf.zeros(2)),
        ([1], (1,)),
        ({"a": 1}, {"b": 1}),
        (1, True),
        (None, 0),
        (tf.TensorSpec((2,), tf.float32, "a"), tf.TensorSpec((2,), tf.float32, "b")),
        (Raised(["ValueError"]), Raised(["TypeError", "Exception"])),
        (Raised(["ValueError"]), None),
        (outcome(lambda: 1), outcome(lambda: 1 // 0)),
    ],
)
def test_the_comparison_sees_a_difference(left: Any, right: Any) -> None:
    assert differences(encode(left), encode(right)) != []
    assert differences(encode(left), encode(left)) == []


def test_an_error_agrees_with_one_derived_from_it() -> None:
    assert differences(encode(Raised(["ValueError"])), encode(Raised(["ConfigError", "ValueError"]))) == []
