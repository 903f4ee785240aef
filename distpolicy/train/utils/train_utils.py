"""A counter of gradient steps, and functions that wait for what another process writes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from distpolicy.policies.py_tf_eager_policy import SavedModelPyTFEagerPolicy

_SLEEP_TIME_SECS = 1
_NUM_RETRIES = 60 * 60 * 24


def create_train_step() -> tf.Variable:
    """Returns an int64 variable, 0 at first. An agent counts its updates in it as its ``train_step_counter``."""
    return tf.Variable(0, dtype=tf.int64, trainable=False, name="train_step")


def wait_for_policy(
    policy_dir: str | os.PathLike[str],
    sleep_time_secs: float = _SLEEP_TIME_SECS,
    num_retries: int | None = _NUM_RETRIES,
    **saved_model_policy_args: Any,
) -> SavedModelPyTFEagerPolicy:
    """Waits until a policy is saved, and loads it.

    Args:
        policy_dir: Folder that a ``PolicySaver`` writes. Its ``policy_specs.pbtxt`` is written last.
        sleep_time_secs: Seconds between two looks.
        num_retries: Number of looks: a day of them by default. None for no limit.
        **saved_model_policy_args: Arguments of ``SavedModelPyTFEagerPolicy``.

    Raises:
        TimeoutError: If there is none in this time.
    """
    wait_for_file(os.path.join(policy_dir, "policy_specs.pbtxt"), sleep_time_secs, num_retries)
    return SavedModelPyTFEagerPolicy(policy_dir, **saved_model_policy_args)


def wait_for_file(
    file_path: str | os.PathLike[str],
    sleep_time_secs: float = _SLEEP_TIME_SECS,
    num_retries: int | None = _NUM_RETRIES,
) -> str | os.PathLike[str]:
    """Waits until a file is there and not empty. Returns its path.

    Args:
        file_path: The file.
        sleep_time_secs: Seconds between two looks.
        num_retries: Number of looks: a day of them by default. None for no limit.

    Raises:
        TimeoutError: If it is not there in this time.
    """

    def is_missing() -> bool:
        try:
            return tf.io.gfile.stat(os.fspath(file_path)).length <= 0
        except tf.errors.NotFoundError:
            return True

    _wait(is_missing, sleep_time_secs, num_retries, f"{file_path} was not written")
    return file_path


def wait_for_predicate(
    wait_predicate_fn: Callable[[], bool],
    sleep_time_secs: float = _SLEEP_TIME_SECS,
    num_retries: int | None = _NUM_RETRIES,
) -> None:
    """Waits as long as a function returns True.

    Args:
        wait_predicate_fn: The function.
        sleep_time_secs: Seconds between two calls.
        num_retries: Number of calls: a day of them by default. None for no limit.

    Raises:
        TimeoutError: If it has returned True each time.
    """
    _wait(wait_predicate_fn, sleep_time_secs, num_retries, "wait_predicate_fn returned True each time")


def _wait(waits: Callable[[], bool], sleep_s: float, num_retries: int | None, problem: str) -> None:
    num_calls = 0
    while num_retries is None or num_calls < num_retries:
        if not waits():
            return
        num_calls += 1
        time.sleep(sleep_s)
    raise TimeoutError(f"{problem} within {num_retries} looks, {sleep_s:g} s apart")
