"""Requests are checked against the policy's specs, and errors say in one line what is wrong."""

from __future__ import annotations

import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distpolicy.serving.messages import ActRequest, Kind, ServingError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec
from workers.serving.rows import RequestReader


class Pair(NamedTuple):
    left: Any
    right: Any


SPEC = {
    "camera": BoundedArraySpec((2, 3), np.uint8, 0, 255),
    "joints": BoundedArraySpec((3,), np.float32, [-1, -2, -3], [1, 2, 3]),
    "mask": ArraySpec((4,), np.bool_),
    "pair": (ArraySpec((), np.float64), BoundedArraySpec((), np.int64, 0, 5)),
}
GOOD: dict[str, Any] = {
    "camera": [[0, 1, 2], [3, 4, 255]],
    "joints": [0.5, 2, -3.0],
    "mask": [True, False, True, True],
    "pair": [1.5, 5],
}
DEEP: list[Any] = []
for _ in range(2000):
    DEEP = [DEEP]
STATE = (ArraySpec((2,), np.float32),)


@pytest.fixture
def read() -> RequestReader:
    return RequestReader(time_step_spec(SPEC), STATE, max_rows=8)


def refused(read: RequestReader, **fields: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        read(ActRequest(**{"observation": GOOD, **fields}))
    assert "\n" not in str(caught.value)
    return caught.value


def test_nested_observation_becomes_arrays_of_the_specs_dtypes(read: RequestReader) -> None:
    rows = read(ActRequest(GOOD))
    assert (rows.num, rows.is_batch) == (1, False)
    assert [leaf.dtype.name for leaf in rows.observation] == ["uint8", "float32", "bool", "float64", "int64"]
    np.testing.assert_array_equal(rows.observation[0], GOOD["camera"])
    np.testing.assert_array_equal(rows.observation[1], np.float32(GOOD["joints"]))


def test_batch_is_told_by_one_dimension_more(read: RequestReader) -> None:
    batch = {name: [value] * 3 for name, value in GOOD.items() if name != "pair"} | {"pair": [[1.5] * 3, [5] * 3]}
    rows = read(ActRequest(batch, first=[True, False, False], reward=[1, 2, 3]))
    assert (rows.num, rows.is_batch) == (3, True)
    assert [len(leaf) for leaf in rows.observation] == [3] * 5
    np.testing.assert_array_equal(read.step_types(rows, continues=True), [0, 1, 1])
    np.testing.assert_array_equal(rows.reward, [[1, 2, 3]])


@pytest.mark.parametrize(
    ("leaf", "value", "told"),
    [
        ("joints", [1.0, 2.0], "observation/joints: expected shape [3], got [2]"),
        ("joints", [1.0, float("nan"), 0.0], "observation/joints: NaN or infinite values"),
        ("joints", [1.0, float("inf"), 0.0], "observation/joints: NaN or infinite values"),
        ("joints", [1.0, 2.5, 0.0], "observation/joints: 2.5 is outside [-2, 2]"),
        ("joints", ["a", "b", "c"], "observation/joints: expected float32[3], got text"),
        ("joints", [1.0, [2.0], 0.0], "observation/joints: the lists have different lengths; expected float32[3]"),
        ("joints", DEEP, "observation/joints: the lists are nested too deep; expected float32[3]"),
        ("joints", [1.0, None, 0.0], "observation/joints: expected float32[3], got mixed values"),
        ("camera", [[0, 1, 2], [3, 4, 256]], "observation/camera: values that uint8 cannot hold"),
        ("camera", [[0.5, 1, 2], [3, 4, 5]], "observation/camera: expected uint8[2, 3], got float64"),
        ("mask", [1, 0, 1, 1], "observation/mask: expected bool[4], got int64"),
        ("pair", [1.5], "observation/pair: expected a list of 2"),
        ("pair", [1.5, 6], "observation/pair/1: 6 is outside [0, 5]"),
        ("pair", [[1.5, 1.5], 5], "observation/pair/0: expected shape [], got [2]"),
    ],
)
def test_wrong_leaves_are_named(read: RequestReader, leaf: str, value: Any, told: str) -> None:
    assert str(refused(read, observation={**GOOD, leaf: value})) == told


def test_shape_of_a_batch_is_told_where_either_would_do() -> None:
    read = RequestReader(time_step_spec(ArraySpec((3,), np.float32)), (), 8)
    error = refused(read, observation=[1.0, 2.0])
    assert str(error) == "observation: expected shape [3], or [B, 3] for a batch, got [2]"


def test_missing_and_unknown_leaves_are_named(read: RequestReader) -> None:
    missing = {name: value for name, value in GOOD.items() if name != "mask"}
    assert str(refused(read, observation=missing)) == "observation/mask is missing"
    assert "unknown leaf 'sound'" in str(refused(read, observation={**GOOD, "sound": 1}))
    assert "expected an object with camera, joints, mask, pair" in str(refused(read, observation=[1.0]))


def test_rows_of_leaves_must_agree(read: RequestReader) -> None:
    uneven = {"camera": [GOOD["camera"]] * 2, "joints": [GOOD["joints"]] * 3, "mask": [GOOD["mask"]] * 2}
    error = refused(read, observation={**uneven, "pair": [[1.5] * 2, [5] * 2]})
    assert str(error) == "observation/joints: 3 rows, but other leaves have 2"
    none = {"camera": np.zeros((0, 2, 3), np.uint8), "joints": np.zeros((0, 3)), "mask": np.zeros((0, 4), np.bool_)}
    error = refused(read, observation={**none, "pair": [np.zeros(0), np.zeros(0, np.int64)]})
    assert str(error) == "observation: a batch needs at least one row"


def test_too_many_rows_are_refused() -> None:
    read = RequestReader(time_step_spec(ArraySpec((), np.float32)), (), max_rows=2)
    with pytest.raises(ServingError, match="a batch of 3 rows; a request may have at most 2") as caught:
        read(ActRequest([1.0, 2.0, 3.0]))
    assert caught.value.kind is Kind.TOO_LARGE


def test_state_is_read_by_its_spec(read: RequestReader) -> None:
    state = read(ActRequest(GOOD, state=[[1.0, 2.0]])).state
    assert state is not None
    np.testing.assert_array_equal(state[0], np.float32([1, 2]))
    assert "state/0: expected shape [2], got [3]" in str(refused(read, state=[[1.0, 2.0, 3.0]]))
    assert "state/0: NaN" in str(refused(read, state=[[1.0, float("nan")]]))


def test_step_type_follows_from_first_and_from_what_continues(read: RequestReader) -> None:
    assert read.step_types(read(ActRequest(GOOD)), continues=False) == 0
    assert read.step_types(read(ActRequest(GOOD)), continues=True) == 1
    assert read.step_types(read(ActRequest(GOOD, first=True)), continues=True) == 0
    assert "first: expected true or false" in str(refused(read, first=1))
    assert "reward has 1 rows, and observation has no batch" in str(refused(read, reward=[1.0]))


def test_bounds_may_be_left_unchecked() -> None:
    spec = time_step_spec(BoundedArraySpec((1,), np.float32, -1, 1))
    far = ActRequest([5.0])
    with pytest.raises(ServingError, match=r"5 is outside \[-1"):
        RequestReader(spec, (), 8)(far)
    assert RequestReader(spec, (), 8, check_bounds=False)(far).observation == [5.0]


def test_fields_of_namedtuples_may_be_given_by_name() -> None:
    read = RequestReader(time_step_spec(Pair(ArraySpec((), np.float32), ArraySpec((), np.float32))), (), 8)
    assert read(ActRequest({"right": 2.0, "left": 1.0})).observation == [1.0, 2.0]
    assert read(ActRequest([1.0, 2.0])).observation == [1.0, 2.0]


@settings(max_examples=40)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
        lambda children: st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(list(SPEC)), children),
        max_leaves=12,
    )
    | npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    leaf=st.sampled_from(["", *SPEC]),
)
def test_any_nest_is_read_or_refused_in_one_line(value: Any, leaf: str) -> None:
    observation = value if not leaf else {**GOOD, leaf: value}
    read = RequestReader(time_step_spec(SPEC), (), max_rows=8)
    refusal = ""
    try:
        rows = read(ActRequest(observation))
    except ServingError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        assert len(refusal) < 400
        return
    for array, spec in zip(rows.observation, [*list(SPEC.values())[:3], *SPEC["pair"]], strict=True):
        assert array.dtype == spec.dtype
        assert array.shape[array.ndim - len(spec.shape) :] == spec.shape


@pytest.mark.parametrize("field", ["observation", "first", "discount"])
def test_text_does_not_take_the_room_of_the_longest_for_each_value(read: RequestReader, field: str) -> None:
    texts: list[Any] = ["x" * 1000] + [""] * 5000
    tracemalloc.start()
    try:
        told = str(refused(read, **{field: {**GOOD, "joints": [texts]} if field == "observation" else texts}))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert told.endswith("got text")


def test_a_key_as_a_number_and_as_text_is_refused() -> None:
    read = RequestReader(time_step_spec({1: ArraySpec((), np.float32)}), (), 8)
    assert read(ActRequest({"1": 2.0})).observation == [2.0]
    assert "unknown leaf" in str(refused(read, observation={1: 2.0, "1": 2.0}))
