"""The numbers in the info of an episode's last step are the same in every form of environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluation_envs import TELLS

from workers.environments.factory import EnvironmentFactory

FIRST_16 = [f"n{index:02d}" for index in range(16)]


def ended_infos(vectorization: Any, names: tuple[str, ...] | None) -> dict[int, dict[str, float]]:
    """What is told of the first episodes of two environments, whose seeds are 5 and 6."""
    factory = EnvironmentFactory(f"evaluation_envs:{TELLS}", vectorization, info_metrics=names)
    environment = factory(2)
    try:
        environment.reset([5, 6])
        for _ in range(9):
            environment.step(np.zeros(2, np.int64))
            assert environment.ended_infos == {}
        environment.step(np.zeros(2, np.int64))
        return environment.ended_infos
    finally:
        environment.close()


@pytest.mark.parametrize("vectorization", ["sync", "async", "vector_entry_point"])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(None, (FIRST_16, FIRST_16), id="all up to the limit"),
        pytest.param(
            ("n19", "odd", "text", "nowhere", "n00"), (["n19", "odd", "n00"], ["n19", "n00"]), id="those that are named"
        ),
        pytest.param((), ([], []), id="none"),
    ],
)
def test_numbers_of_the_last_info(vectorization: str, names: Any, expected: Any) -> None:
    found = ended_infos(vectorization, names)
    for row, seed in enumerate((5, 6)):
        value = {name: 1.0 if name == "odd" else int(name[1:]) + 100.0 * seed for name in expected[row]}
        assert found.get(row, {}) == value
        assert list(found.get(row, {})) == expected[row]
