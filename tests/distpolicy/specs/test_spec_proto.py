from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories.time_step import time_step_spec

NEST = {
    "bounded": BoundedTensorSpec((2,), tf.float32, [0, 1], [2, 3], "n"),
    "step": time_step_spec(TensorSpec((3,), tf.float32, "o")),
    "list": [TensorSpec((), tf.int32)],
    "tuple": (TensorSpec((None, 2), tf.string, "s"), ()),
}

# As tf_agents.specs.tensor_spec.to_pbtxt_file of TF-Agents 0.19 writes it.
WRITTEN = """dict_value { fields { key: "a" value { bounded_tensor_spec_value { name: "n" shape { dim { size: 2 } }
dtype: DT_FLOAT minimum { dtype: DT_FLOAT tensor_shape { dim { size: 2 } }
tensor_content: "\\000\\000\\000\\000\\000\\000\\200?" } maximum { dtype: DT_FLOAT tensor_shape { dim { size: 2 } }
tensor_content: "\\000\\000\\000@\\000\\000@@" } } } } }"""


def check(decoded: Any) -> None:
    tf.nest.assert_same_structure(decoded, NEST)
    assert tf.nest.flatten(decoded) == tf.nest.flatten(NEST)
    np.testing.assert_array_equal(decoded["bounded"].minimum, [0, 1])
    assert decoded["step"]._fields == NEST["step"]._fields


def test_nests_return_from_protos_and_files(tmp_path: Path) -> None:
    check(tensor_spec.from_proto(tensor_spec.to_proto(NEST)))
    packed = any_pb2.Any()
    packed.Pack(tensor_spec.to_proto(NEST))
    check(tensor_spec.from_packed_proto(packed))
    path = tmp_path / "specs.pbtxt"
    tensor_spec.to_pbtxt_file(path, NEST)
    check(tensor_spec.from_pbtxt_file(str(path)))


def test_array_specs_are_coded_as_tensor_specs() -> None:
    decoded = tensor_spec.from_proto(tensor_spec.to_proto([BoundedArraySpec((2,), np.int32, 0, 5, "x")]))
    assert decoded == [BoundedTensorSpec((2,), tf.int32, 0, 5, "x")]
    with pytest.raises(SpecMismatchError, match="int"):
        tensor_spec.to_proto({"a": 3})


def test_a_file_of_tf_agents_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy_specs.pbtxt"
    path.write_text(WRITTEN)
    assert tensor_spec.from_pbtxt_file(path) == {"a": NEST["bounded"]}


def test_file_that_is_missing_or_holds_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(tf.errors.NotFoundError, match=r"nowhere\.pbtxt"):
        tensor_spec.from_pbtxt_file(tmp_path / "nowhere.pbtxt")
    path = tmp_path / "other.pbtxt"
    for text in ("no proto at all", ""):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"other\.pbtxt holds no specs"):
            tensor_spec.from_pbtxt_file(path)
