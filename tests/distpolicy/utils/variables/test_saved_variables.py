from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import CheckpointError
from distpolicy.utils.variables.saved_variables import read_variables, tensor_shapes, variables_prefix


def module(value: float) -> tf.Module:
    made = tf.Module()
    made.model_variables = [tf.Variable([value, 1.0]), tf.Variable(2)]
    made.train_step = tf.Variable(5)
    return made


def test_variables_are_found_in_a_model_and_in_a_checkpoint(tmp_path: Path) -> None:
    saved = module(3.0)
    tf.saved_model.save(saved, str(tmp_path / "model"))
    tf.train.Checkpoint(policy=saved).write(variables_prefix(tmp_path / "checkpoint"))
    for folder in ("model", "checkpoint"):
        found = read_variables(tmp_path / folder, ["train_step", "model_variables/0"])
        assert int(found[0]) == 5
        np.testing.assert_array_equal(found[1], [3.0, 1.0])


def test_child_named_policy_of_a_model_is_not_taken_for_one(tmp_path: Path) -> None:
    saved = module(3.0)
    saved.policy = tf.Module()
    tf.saved_model.save(saved, str(tmp_path))
    assert int(read_variables(tmp_path, ["train_step"])[0]) == 5


def test_shapes_are_those_of_all_variables(tmp_path: Path) -> None:
    tf.saved_model.save(module(3.0), str(tmp_path))
    assert sorted(tensor_shapes(tmp_path).values(), key=str) == [([2], tf.float32), ([], tf.int32), ([], tf.int32)]


def test_missing_variable_is_named(tmp_path: Path) -> None:
    tf.saved_model.save(module(3.0), str(tmp_path))
    with pytest.raises(CheckpointError, match="model_variables/2"):
        read_variables(tmp_path, ["model_variables/1", "model_variables/2"])


def test_missing_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint that can be read") as error:
        read_variables(tmp_path / "none", [])
    assert "\n" not in str(error.value)
