"""Run by test_dataset_rllib.py in a process of its own: RLlib and Ray Data read datasets."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

# Before RLlib: it would turn the process into graph mode.
import tensorflow  # noqa: F401  isort: skip
import gymnasium as gym
import numpy as np
import ray
from dataset_rollouts import CARTPOLE, NESTED, manifest_of, rollouts, same_bits, write_dataset
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.marwil import MARWILConfig
from ray.rllib.offline.offline_data import OfflineData
from ray.rllib.offline.offline_prelearner import OfflinePreLearner

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from workers.datasets.reader import read_steps
from workers.datasets.schema import DatasetSchema
from workers.datasets.views import read_ray_dataset, rllib_offline_data
from workers.datasets.writer import DatasetWriter

IMAGES = DatasetSchema(
    time_step_spec(BoundedArraySpec((20, 20, 3), np.uint8, 0, 255)), BoundedArraySpec((2,), np.float32, -1, 1)
)
DICTS = DatasetSchema(
    time_step_spec({"position": ArraySpec((3,), np.float32), "goal": ArraySpec((), np.int64)}),
    BoundedArraySpec((), np.int64, 0, 1),
)


def steps_of(folder: Path) -> dict[tuple[int, int], Any]:
    """Each step, by slot and number."""
    found = {}
    for steps in read_steps(folder):
        for row, key in enumerate(zip(steps["slot"].tolist(), steps["step"].tolist(), strict=True)):
            found[key] = map_structure(lambda leaf, row=row: np.asarray(leaf[row]), steps)
    return found


def ray_data_gives_every_leaf(folder: Path, schema: DatasetSchema) -> None:
    manifest = write_dataset(folder, schema)
    expected = steps_of(folder)
    dataset = read_ray_dataset(folder)
    assert dataset.count() == manifest.num_rows
    for batch in dataset.iter_batches(batch_size=16):
        for row in range(len(batch["slot"])):
            step = expected[int(batch["slot"][row]), int(batch["step"][row])]
            for column, field in (("obs", "observation"), ("new_obs", "next_observation"), ("actions", "action")):
                for path, leaf in zip(paths(step[field]), flatten(step[field]), strict=True):
                    assert same_bits(np.asarray(batch[column + path][row]), leaf), column + path


def rllib_episodes(folder: Path) -> list[Any]:
    """What RLlib's own reader and pre-learner make of a dataset, each step an episode."""
    config = BCConfig().offline_data(**rllib_offline_data(folder))
    reader = OfflineData(config)
    # Its constructor builds a network, which needs PyTorch.
    prelearner = object.__new__(OfflinePreLearner)
    prelearner.config = config
    batches = reader.data.iter_batches(batch_size=32, batch_format="numpy")
    return [episode for batch in batches for episode in prelearner._map_to_episodes(batch)["episodes"]]


def rllib_reads_the_steps(folder: Path, schema: DatasetSchema) -> None:
    write_dataset(folder, schema)
    expected = steps_of(folder)
    episodes = rllib_episodes(folder)
    assert len(episodes) == len(expected)
    for episode in episodes:
        outputs = {name: values[0] for name, values in episode.extra_model_outputs.items()}
        step = expected[int(outputs["slot"]), int(outputs["step"])]
        assert same_bits(map_structure(np.asarray, episode.get_observations(0)), step["observation"])
        assert same_bits(map_structure(np.asarray, episode.get_observations(1)), step["next_observation"])
        assert same_bits(np.asarray(episode.get_actions(0)), step["action"])
        assert float(episode.get_rewards(0)) == float(step["reward"])
        assert (episode.is_terminated, episode.is_truncated) == (bool(step["terminated"]), bool(step["truncated"]))
        assert episode.id_ == str(int(step["eps_id"]))
        if "action_logp" in outputs:
            assert same_bits(np.asarray(outputs["action_logp"]), step["policy_info"].log_probability)


def rllib_trains(folder: Path) -> None:
    """One iteration of BC and of MARWIL, which needs new_obs."""
    writer = DatasetWriter(folder, "a", CARTPOLE, rows_per_shard=400)
    manifest = manifest_of(CARTPOLE, 4)
    rng = np.random.default_rng(0)
    for rollout in rollouts(CARTPOLE, range(4), 50, 10):
        fitting = rollout._replace(
            observation=rng.standard_normal(rollout.observation.shape).astype(np.float32),
            action=rng.integers(0, 2, rollout.action.shape),
            policy_info=map_structure(np.zeros_like, rollout.policy_info),
        )
        manifest = manifest.with_shards(writer.write(fitting))
    manifest.with_shards(writer.flush()).save(folder)
    for kind in (BCConfig, MARWILConfig):
        config = (
            kind()
            .environment(observation_space=gym.spaces.Box(-np.inf, np.inf, (4,)), action_space=gym.spaces.Discrete(2))
            .offline_data(
                **rllib_offline_data(folder), dataset_num_iters_per_learner=1, map_batches_kwargs={"concurrency": 1}
            )
            .training(train_batch_size_per_learner=64)
        )
        algorithm = config.build_algo()
        losses = algorithm.train()["learners"]["default_policy"]
        assert np.isfinite(float(losses["total_loss"])), losses
        algorithm.stop()


def main() -> None:
    folder = Path(sys.argv[1])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    if sys.argv[2] == "train":
        assert importlib.util.find_spec("torch"), "RLlib trains with PyTorch only"
        rllib_trains(folder / "train")
        print("trained")
        return
    ray_data_gives_every_leaf(folder / "ray-nested", NESTED)
    ray_data_gives_every_leaf(folder / "ray-cartpole", CARTPOLE)
    for name, schema in {"cartpole": CARTPOLE, "images": IMAGES, "dicts": DICTS}.items():
        rllib_reads_the_steps(folder / name, schema)
    print("read")


if __name__ == "__main__":
    main()
