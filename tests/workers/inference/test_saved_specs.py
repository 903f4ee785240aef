"""A SavedModel's specs are read without TensorFlow, so that one for another environment is refused at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nests.array_nest import flatten, paths
from workers.inference.policy_source import PolicySource
from workers.inference.saved_specs import SPECS_FILE, read_saved_specs

ROOT = Path(__file__).resolve().parents[3]
OBSERVATION = {
    'a "name" (ü)': BoundedArraySpec((4, 3), np.float32, -1.0, 1.0),
    "camera": BoundedArraySpec((8, 8, 3), np.uint8, 0, 255),
    "nested": (ArraySpec((2,), np.bool_), {"x": BoundedArraySpec((), np.int64, 0, 5)}),
    "empty": BoundedArraySpec((0,), np.float64, -1.0, 1.0),
}
ACTION = BoundedArraySpec((2,), np.float32, -1.0, 1.0)


def save(folder: Path, observation: Any = OBSERVATION, action: Any = ACTION) -> None:
    from distpolicy.specs import tensor_spec

    step_type, reward = ArraySpec((), np.int32), ArraySpec((), np.float32)
    data = Trajectory(step_type, observation, action, (), step_type, reward, reward)
    specs = tensor_spec.from_spec({"collect_data_spec": data, "policy_state_spec": ()})
    tensor_spec.to_pbtxt_file(folder / SPECS_FILE, specs)
    (folder / "saved_model.pb").touch()


def test_structure_shapes_and_dtypes_are_read(tmp_path: Path) -> None:
    save(tmp_path)
    specs = read_saved_specs(tmp_path)
    assert specs is not None
    for found, expected in ((specs.observation, OBSERVATION), (specs.action, ACTION)):
        assert paths(found) == paths(expected)
        kinds = [(leaf.shape, leaf.dtype) for leaf in flatten(found)]
        assert kinds == [(leaf.shape, leaf.dtype) for leaf in flatten(expected)]


@pytest.mark.parametrize(
    "content", ["", "dict_value {", "}" * 5, "a: {" * 100_000, 'x: "', "dict_value { fields { } }"]
)
def test_what_cannot_be_read_is_left_to_the_worker(tmp_path: Path, content: str) -> None:
    (tmp_path / SPECS_FILE).write_text(content)
    assert read_saved_specs(tmp_path) is None
    assert read_saved_specs(tmp_path / "nowhere") is None


def test_a_policy_for_another_environment_is_refused_without_tensorflow(tmp_path: Path) -> None:
    save(tmp_path)
    source = PolicySource(str(tmp_path))
    source.check(ACTION, OBSERVATION)
    with pytest.raises(ConfigError, match=r"its actions are float32 with shape \(2,\), the env's are int64"):
        source.check(BoundedArraySpec((), np.int64, 0, 1), OBSERVATION)
    with pytest.raises(ConfigError, match="its observations have the leaves"):
        source.check(ACTION, ACTION)
    code = (
        "import sys, numpy as np\n"
        "from distpolicy.specs.array_spec import ArraySpec\n"
        "from workers.inference.policy_source import PolicySource\n"
        "try: PolicySource(sys.argv[1]).check(ArraySpec((2,), np.float32), ArraySpec((7,), np.float32))\n"
        "except Exception as error: print(type(error).__name__, 'tensorflow' in sys.modules)\n"
    )
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ConfigError False\n"
