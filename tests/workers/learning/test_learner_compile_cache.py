"""The learner's cache of compiled updates, over processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner

config = TrainConfig(
    seed={seed}, collectors=1, envs_per_collector=2, rollout_steps=2,
    network=NetworkConfig(actor_units=(4,)), agent=PPOConfig(value_units=(4,), num_epochs=1, num_minibatches=1),
)
Learner(AgentFactory(config, probe(EnvironmentFactory(config.env)))).warm_up(2, 2)
"""


def warm_up(cache: Path, seed: int = 0) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "CUDA_VISIBLE_DEVICES": "-1"}
    environment.pop("TF_XLA_FLAGS", None)
    command = [sys.executable, "-c", SCRIPT.format(seed=seed)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr


def entries(cache: Path) -> dict[str, tuple[int, int]]:
    """Size and time of writing of each entry."""
    found = cache.rglob("*.pb")
    return {item.name: (item.stat().st_size, item.stat().st_mtime_ns) for item in found}


@pytest.mark.release
@pytest.mark.slow
def test_cached_update_serves_other_seeds_and_a_damaged_one_is_compiled_again(tmp_path: Path) -> None:
    warm_up(tmp_path)
    first = entries(tmp_path)
    assert first
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in (tmp_path / "distpolicy").iterdir())

    warm_up(tmp_path, seed=1)
    assert entries(tmp_path) == first

    for item in tmp_path.rglob("*.pb"):
        os.truncate(item, item.stat().st_size // 2)
    warm_up(tmp_path)
    again = entries(tmp_path)
    assert again.keys() == first.keys()
    assert all(again[name][0] > 0.9 * first[name][0] for name in first)
