from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.train.utils import train_utils
from distpolicy.trajectories import time_step as ts


def test_waiting_ends_with_the_predicate_or_the_number_of_looks() -> None:
    answers = iter([True, True, False])
    train_utils.wait_for_predicate(lambda: next(answers), sleep_time_secs=0, num_retries=3)
    assert next(answers, None) is None
    with pytest.raises(TimeoutError, match="2 looks"):
        train_utils.wait_for_predicate(lambda: True, sleep_time_secs=0, num_retries=2)


def test_a_file_is_awaited_until_it_has_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(TimeoutError, match="file was not written"):
        train_utils.wait_for_file(file, sleep_time_secs=0, num_retries=2)
    threading.Timer(0.2, lambda: file.write_text("content")).start()
    assert train_utils.wait_for_file(str(file), sleep_time_secs=0.05, num_retries=200) == str(file)


@pytest.mark.slow
def test_a_policy_is_awaited_and_loaded(tmp_path: Path) -> None:
    spec = ts.time_step_spec(TensorSpec((2,), tf.float32))
    saver = PolicySaver(RandomTFPolicy(spec, BoundedTensorSpec((), tf.int32, 0, 3)), batch_size=None)
    threading.Timer(0.2, lambda: saver.save(str(tmp_path / "policy"))).start()
    policy = train_utils.wait_for_policy(
        tmp_path / "policy", sleep_time_secs=0.1, num_retries=300, load_specs_from_pbtxt=True
    )
    action = policy.action(ts.restart(np.zeros(2, np.float32))).action
    assert 0 <= int(action) <= 3
