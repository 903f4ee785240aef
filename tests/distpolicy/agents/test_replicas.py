"""Replicas in processes of their own: each learns from its part, and all come to what one does with the whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import replica_cases
from replica_cases import CASES, NUM_REPLICAS, NUM_UPDATES

import distpolicy

State = dict[str, np.ndarray]


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


# Several learners take as many processes with TensorFlow.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[State]]:
    """For each case what every replica came to."""
    folder = tmp_path_factory.mktemp("replicas")
    addresses = [free_address() for _ in range(NUM_REPLICAS)]
    root = str(Path(distpolicy.__file__).parents[1])
    paths = os.pathsep.join([root, str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "-1"}
    program = [sys.executable, replica_cases.__file__]
    processes = [
        subprocess.Popen([*program, str(rank), str(folder), *addresses], env=environment, stderr=subprocess.PIPE)
        for rank in range(NUM_REPLICAS)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)

    def load(case: str, rank: int) -> State:
        with np.load(folder / f"{case} {rank}.npz") as arrays:
            return {name: arrays[name] for name in arrays.files}

    return {case: [load(case, rank) for rank in range(NUM_REPLICAS)] for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_replicas_with_parts_of_a_batch_come_to_what_one_learner_does_with_the_whole(
    learned: dict[str, list[State]], case: str
) -> None:
    expected = replica_cases.learn(case)
    found = learned[case][0]
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-5, err_msg=name)
    assert any(expected[f"update {update}/clip_fraction"] > 0 for update in range(NUM_UPDATES))


@pytest.mark.parametrize("case", CASES)
def test_all_replicas_hold_the_same_bytes(learned: dict[str, list[State]], case: str) -> None:
    first, second = learned[case]
    assert {name: value.tobytes() for name, value in first.items()} == {
        name: value.tobytes() for name, value in second.items()
    }
