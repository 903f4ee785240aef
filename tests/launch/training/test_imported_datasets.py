"""``distpolicy train --agent bc`` learns from data that were not written by this project, once they are imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import distpolicy, read_metrics
from scripted_datasets import cartpole_expert

from workers.datasets import import_minari, import_rllib
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe

ENV = "CartPole-v1"
NUM_EPISODES = 10


def episodes() -> Iterator[dict[str, np.ndarray]]:
    """Plays the expert, for 500 steps each time; yields observations ``[n + 1, ...]`` and the rest ``[n, ...]``."""
    env = gym.make(ENV)
    for seed in range(NUM_EPISODES):
        observation, _ = env.reset(seed=seed)
        observations, steps = [observation], []
        while not steps or not (steps[-1][2] or steps[-1][3]):
            action = int(cartpole_expert(observations[-1], np.random.default_rng(0)))
            observation, *step, _ = env.step(action)
            observations.append(observation)
            steps.append((action, *step))
        columns = map(np.array, zip(*steps, strict=True))
        names = ("actions", "rewards", "terminations", "truncations")
        yield {"observations": np.array(observations), **dict(zip(names, columns, strict=True))}


def import_from_rllib(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [
        pa.table(
            {
                "eps_id": [f"episode {number}"] * len(found["actions"]),
                "obs": found["observations"][:-1].tolist(),
                "new_obs": found["observations"][1:].tolist(),
                "actions": found["actions"],
                "rewards": found["rewards"],
                "terminateds": found["terminations"],
                "truncateds": found["truncations"],
            }
        )
        for number, found in enumerate(episodes())
    ]
    pq.write_table(pa.concat_tables(tables), folder / "rllib.parquet")
    import_rllib(folder / "rllib.parquet", folder / "data", probe(EnvironmentFactory(ENV)), ENV)


def import_from_minari(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    buffers = [EpisodeBuffer(id=number, **found) for number, found in enumerate(episodes())]
    minari.create_dataset_from_buffers("cartpole/expert-v0", buffers, env=ENV)
    import_minari("cartpole/expert-v0", folder / "data")


@pytest.mark.slow
@pytest.mark.parametrize("import_from", [import_from_rllib, import_from_minari])
def test_the_policy_of_imported_data_is_cloned(
    import_from: Callable[[Path, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_from(tmp_path, monkeypatch)
    options = ("--total-steps", "2000", "--eval-episodes", "10", "--run-dir", "cloned", "--serial")
    result = distpolicy("train", "--agent", "bc", "--dataset", "data", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"evaluations on {ENV}" in result.stdout
    # Chance is about 20.
    assert float(read_metrics(tmp_path / "cloned")[-1]["eval_return_mean"]) > 400.0
