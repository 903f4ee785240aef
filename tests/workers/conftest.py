from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import pytest
from toy_envs import register_all


@pytest.fixture(scope="session", autouse=True)
def _toy_envs() -> Iterator[None]:
    before = dict(gym.registry)
    register_all()
    yield
    gym.registry.clear()
    gym.registry.update(before)
