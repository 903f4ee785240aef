"""Messages survive their way over the wire, and damaged ones are refused in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distpolicy.serving import protobuf_messages as protobuf
from distpolicy.serving.documents import DTYPES, FORMS, JSON, MSGPACK
from distpolicy.serving.messages import ServingError
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths

ROOT = Path(__file__).resolve().parents[3]
ARRAYS = st.sampled_from(list(DTYPES)).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
NESTS = st.recursive(
    ARRAYS, lambda children: st.dictionaries(st.text(min_size=1, max_size=3), children, min_size=1), max_leaves=5
)


def assert_alike(found: Any, expected: Any) -> None:
    assert paths(found) == paths(expected)
    for got, want in zip(flatten(found), flatten(expected), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(got, want)


@settings(max_examples=50)
@given(nest=NESTS)
def test_arrays_survive_msgpack_and_protobuf_to_the_bit(nest: Any) -> None:
    form = FORMS[MSGPACK]
    assert_alike(form.decode(form.encode(nest)), nest)
    messages = [protobuf.Array.FromString(item.SerializeToString()) for item in protobuf.arrays_of(nest)]
    assert_alike(protobuf.nest_by_paths(messages), nest)
    assert_alike(protobuf.nest_of(messages, nest, "nest"), nest)


def test_json_has_arrays_as_lists() -> None:
    form = FORMS[JSON]
    assert form.encode({"action": np.float32([1, 2]), "version": 3}) == b'{"action":[1.0,2.0],"version":3}'
    assert form.decode(b'{"observation": [[1, 2.5], [true, null]]}') == {"observation": [[1, 2.5], [True, None]]}


@settings(max_examples=200)
@given(data=st.binary(max_size=60), form=st.sampled_from([JSON, MSGPACK]))
def test_any_bytes_are_a_document_or_refused_in_one_line(data: bytes, form: str) -> None:
    told = ""
    try:
        FORMS[form].decode(data)
    except ServingError as error:
        told = str(error)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("array", "told"),
    [
        ({"dtype": "float32", "shape": [3], "data": b"1234"}, r"an array of float32\[3\] has 12 bytes, but data has 4"),
        ({"dtype": "O", "shape": [1], "data": b"12345678"}, "unknown dtype 'O'"),
        ({"dtype": "V8", "shape": [1], "data": b"12345678"}, "unknown dtype 'V8'"),
        ({"dtype": "int8", "shape": [-1], "data": b"1"}, "shape must be a list of sizes"),
        ({"dtype": "int8", "shape": [True], "data": b"1"}, "shape must be a list of sizes"),
        ({"dtype": "int8", "shape": [2**40, 2**40], "data": b"1"}, "has 1208925819614629174706176 bytes"),
        ({"dtype": "int8", "shape": [1] * 40, "data": b"1"}, "shape must be a list of sizes"),
    ],
)
def test_arrays_whose_parts_do_not_fit_are_refused(array: dict[str, Any], told: str) -> None:
    with pytest.raises(ServingError, match=told):
        FORMS[MSGPACK].decode(msgpack.packb(array))


def test_leaves_of_protobuf_are_checked_by_the_spec() -> None:
    spec = {"a": np.zeros(2), "b": (np.zeros(1), np.zeros(1))}
    messages = protobuf.arrays_of(spec)
    assert_alike(protobuf.nest_of(messages[::-1], spec, "observation"), spec)
    with pytest.raises(ServingError, match="observation/b/1 is missing"):
        protobuf.nest_of(messages[:-1], spec, "observation")
    with pytest.raises(ServingError, match="observation: unknown leaf '/c'; there are '/a', '/b/0', '/b/1'"):
        protobuf.nest_of([*messages, protobuf.array_of(1.0, "/c")], spec, "observation")


def test_text_for_other_languages_has_the_fields_of_the_messages() -> None:
    text = protobuf.proto_text()
    for name in ("Array", "ActRequest", "ActReply", "EndSessionRequest", "EndSessionReply"):
        body = re.search(rf"message {name} {{\n(.*?)^}}", text, re.DOTALL | re.MULTILINE)
        assert body
        written = re.findall(r"^  (?:(repeated|optional) )?(\w+) (\w+) = (\d+);$", body[1], re.MULTILINE)
        fields = protobuf.message_class(name).DESCRIPTOR.fields
        assert [(field.name, str(field.number), field.is_repeated) for field in fields] == [
            (field, number, label == "repeated") for label, _, field, number in written
        ]
        kinds = {9: "string", 3: "int64", 12: "bytes", 11: "Array"}
        assert [kinds[field.type] for field in fields] == [kind for _, kind, _, _ in written]
        assert [field.has_presence and field.type != 11 for field in fields] == [
            label == "optional" for label, _, _, _ in written
        ]


def test_client_needs_neither_ray_nor_tensorflow() -> None:
    code = (
        "import sys, distpolicy.serving.client, distpolicy.serving.protobuf_messages\n"
        "print(sorted({'ray', 'tensorflow', 'gymnasium', 'workers', 'launch'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nests_of_replies_have_lists_where_specs_have_tuples() -> None:
    nest = (np.float32([1]), {"a": np.int64(2)})
    found = FORMS[MSGPACK].decode(FORMS[MSGPACK].encode(nest))
    assert isinstance(found, list)
    assert_alike(map_structure(np.asarray, tuple(found)), nest)


def test_json_has_null_where_an_array_has_nan_or_infinite_values() -> None:
    value = {"info": np.float32([1, np.nan, -np.inf]), "more": [np.inf], "action": 2}
    assert FORMS[JSON].encode(value) == b'{"info":[1.0,null,null],"more":[null],"action":2}'
