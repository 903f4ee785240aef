"""Leaves whose keys, joined by slashes, read the same: their places are those of the structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.environments.checks import check_time_step
from workers.environments.factory import EnvironmentFactory

NUM_SLOTS = 2


def numbers(nest: Any) -> list[float]:
    return [float(leaf[0, 0]) for leaf in flatten(nest)]


@pytest.mark.parametrize("form", ["sync", "async"])
def test_every_leaf_of_observations_and_actions_is_the_environment_s_own(form: Any) -> None:
    environment = EnvironmentFactory("toy_envs:AlikePathsEnv", form)(NUM_SLOTS)
    try:
        spec = environment.time_step_spec.observation
        step = environment.reset([0, 1])
        expected = [float(leaf.minimum[0]) for leaf in flatten(spec)]
        assert len(set(expected)) == 9
        assert numbers(step.observation) == expected
        generator = np.random.default_rng(0)

        def draw(leaf: BoundedArraySpec) -> np.ndarray:
            return np.stack([[leaf.minimum[0], generator.uniform(-1, 1)] for _ in range(NUM_SLOTS)]).astype(np.float32)

        action = map_structure(draw, environment.action_spec)
        step = environment.step(action)
        check_time_step(step, environment.time_step_spec, environment.name, check_bounds=True)
        assert numbers(step.observation) == expected
        for found, given in zip(flatten(step.observation), flatten(action), strict=True):
            np.testing.assert_array_equal(found, given)
    finally:
        environment.close()
