"""Batches from datasets, against the rows that ``read_episodes`` gives."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_rollouts import CARTPOLE, LAST, NESTED, ends_of, same_bits, write_dataset

from distpolicy.agents.experience_config import Offline
from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.trajectories.rollout import zero_rollout
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.datasets.arrays import load_arrays
from workers.datasets.manifest import DatasetManifest
from workers.datasets.reader import read_episodes
from workers.experience.experience import Sample
from workers.experience.factory import make_experience
from workers.experience.offline import OfflineExperience

GAMMA = 0.9
NUM_STEPS = 42


def experience(*folders: Path, **changes: Any) -> OfflineExperience:
    settings = {"batch_size": 50, "num_updates": 8, "discount": GAMMA, **changes}
    return OfflineExperience(Offline(tuple(map(str, folders)), **settings))


def drawn(made: OfflineExperience, *seed: int) -> Sample:
    (sample,) = made.due(0.0, seed or (0,))
    return sample


def rows_of(nest: Any) -> list[bytes]:
    """The bytes of each row of a nest of ``[K, B, ...]``."""
    leaves = [leaf.reshape(-1, *leaf.shape[2:]) for leaf in flatten(nest)]
    return [b"".join(leaf[index].tobytes() for leaf in leaves) for index in range(len(leaves[0]))]


def key(row: Any) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in flatten(row))


def references(folder: Path, n_step: int) -> dict[bytes, tuple[float, float, bytes, int, float, float, bytes]]:
    """What follows each observation and action, step by step in plain Python from the episodes.

    Reward, discount, next observation and step type of the transition over n steps; return to go, its factor and the
    last observation.
    """
    found = {}
    for episode in read_episodes(folder):
        is_fault = episode["cut"] & (episode["next_step_type"] == LAST)
        count = int(np.count_nonzero(~is_fault))
        assert not is_fault[:count].any()

        def after(name: str, t: int, episode: Any = episode) -> bytes:
            return key(map_structure(lambda leaf: leaf[t], episode[name]))

        for t in range(count):
            reward, share, last = 0.0, 1.0, t
            total, factor = 0.0, 1.0
            for k in range(t, count):
                gain = float(episode["reward"][k])
                if k < t + n_step:
                    reward += share * gain
                    share *= float(episode["discount"][k]) * (GAMMA if k < min(t + n_step, count) - 1 else 1.0)
                    last = k
                total += factor * gain
                factor *= GAMMA * float(episode["discount"][k])
            name = after("observation", t) + after("action", t)
            assert name not in found
            step_type = int(episode["next_step_type"][last])
            bootstrap = after("next_observation", last)
            found[name] = (reward, share, bootstrap, step_type, total, factor, after("next_observation", count - 1))
    return found


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("schema", [CARTPOLE, NESTED], ids=["cartpole", "nested"])
def test_every_transition_is_drawn_with_what_followed_it(tmp_path: Path, schema: Any, n_step: int) -> None:
    fault = (1, ends_of(schema, 1, NUM_STEPS)[1])
    write_dataset(tmp_path, schema, faults=[fault])
    expected = references(tmp_path, n_step)
    sample = drawn(experience(tmp_path, n_step=n_step, num_updates=40, returns=True))
    step, action_step, after = sample.experience
    names = [a + b for a, b in zip(rows_of(step.observation), rows_of(action_step.action), strict=True)]
    assert set(names) == set(expected), "some rows were not drawn, or one that is not a transition was"
    wanted = [expected[name] for name in names]
    for index, found in enumerate((after.reward, after.discount)):
        np.testing.assert_allclose(found.reshape(-1), [row[index] for row in wanted], rtol=1e-5, atol=1e-6)
    assert rows_of(after.observation) == [row[2] for row in wanted]
    np.testing.assert_array_equal(after.step_type.reshape(-1), [row[3] for row in wanted])
    arguments = sample.arguments
    np.testing.assert_allclose(arguments["return_to_go"].reshape(-1), [row[4] for row in wanted], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        arguments["final_discount"].reshape(-1), [row[5] for row in wanted], rtol=1e-4, atol=1e-6
    )
    assert rows_of(arguments["final_observation"]) == [row[6] for row in wanted]
    assert np.all(sample.weights == 1.0)
    assert not np.any(step.step_type == LAST)


def test_draws_follow_from_the_seed_and_not_from_the_number_of_collectors(tmp_path: Path) -> None:
    samples = []
    for num_collectors in (1, 3):
        write_dataset(tmp_path / str(num_collectors), CARTPOLE, num_collectors=num_collectors)
        samples.append(drawn(experience(tmp_path / str(num_collectors)), 3, 1))
    assert same_bits(samples[0].experience, samples[1].experience)
    made = experience(tmp_path / "1")
    assert same_bits(drawn(made, 3, 1).experience, samples[0].experience)
    assert not same_bits(drawn(made, 3, 2).experience, samples[0].experience)


def test_several_datasets_are_learned_from_together(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_dataset(tmp_path / str(seed), CARTPOLE, num_slots=seed + 1)
    expected = references(tmp_path / "0", 1) | references(tmp_path / "1", 1)
    step, action_step, _ = drawn(experience(tmp_path / "0", tmp_path / "1", num_updates=20)).experience
    found = [a + b for a, b in zip(rows_of(step.observation), rows_of(action_step.action), strict=True)]
    assert set(found) == set(expected)
    write_dataset(tmp_path / "other", NESTED)
    with pytest.raises(ConfigError, match="other has another time_step_spec than"):
        experience(tmp_path / "0", tmp_path / "other")


def test_a_dataset_that_grows_while_it_is_read_is_taken_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "whole", CARTPOLE)
    shutil.copytree(tmp_path / "whole", tmp_path / "growing")
    whole = DatasetManifest.load(tmp_path / "whole")
    begun = dataclasses.replace(whole, shards=whole.shards[:1])
    assert 0 < begun.num_rows < whole.num_rows
    begun.save(tmp_path / "growing")
    expected = references(tmp_path / "growing", 3)
    load = DatasetManifest.load

    def load_and_grow(folder: Any) -> DatasetManifest:
        found = load(folder)
        whole.save(folder)
        return found

    monkeypatch.setattr(DatasetManifest, "load", staticmethod(load_and_grow))
    made = experience(tmp_path / "growing", n_step=3, num_updates=40)
    begun.save(tmp_path / "growing")
    assert same_bits(made.state(), experience(tmp_path / "growing").state())
    step, action_step, after = drawn(made).experience
    names = [a + b for a, b in zip(rows_of(step.observation), rows_of(action_step.action), strict=True)]
    assert set(names) == set(expected)
    assert rows_of(after.observation) == [expected[name][2] for name in names]


def test_a_sample_of_zeros_has_the_shape_of_all_others(tmp_path: Path) -> None:
    write_dataset(tmp_path, NESTED)
    made = experience(tmp_path, returns=True)
    rollout = zero_rollout(NESTED.time_step_spec.observation, NESTED.action_spec, (), 2, 3)
    zero, sample = made.zero_sample(rollout), drawn(made)
    for name in ("experience", "weights", "arguments"):
        pairs = zip(flatten(getattr(zero, name)), flatten(getattr(sample, name)), strict=True)
        assert all(a.shape == b.shape and a.dtype == b.dtype and not a.any() for a, b in pairs)
    assert zero.num_updates == sample.num_updates == 8


def test_a_state_is_refused_if_the_data_are_others(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", CARTPOLE)
    state = experience(tmp_path / "data").state()
    (tmp_path / "data").rename(tmp_path / "moved")
    experience(tmp_path / "moved").restore(state)
    write_dataset(tmp_path / "more", CARTPOLE, num_rollouts=7)
    with pytest.raises(ConfigError, match=r"learned from other data than .*more holds now"):
        experience(tmp_path / "more").restore(state)


def test_data_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, NESTED)
    with pytest.raises(ConfigError, match=r"takes .* GiB of memory, and .* GiB are free"):
        load_arrays((str(tmp_path),), available_bytes=manifest.num_rows * 500)
    # A row is of 500 to 600 bytes, and so the data alone fit.
    load_arrays((str(tmp_path),), available_bytes=manifest.num_rows * 1000)
    with pytest.raises(ConfigError, match="lower updates_per_call"):
        OfflineExperience(Offline((str(tmp_path),), 256, 100), available_bytes=manifest.num_rows * 1000)


def test_an_observation_is_held_once(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    arrays = load_arrays((str(tmp_path),))
    num_ends = np.count_nonzero(arrays.following < 0)
    assert len(arrays.observation) == manifest.num_rows + num_ends < 1.4 * manifest.num_rows


def test_what_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give the folder of a dataset"):
        experience(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="there is no dataset"):
        make_experience(Offline((), 1, 1))
    write_dataset(tmp_path / "empty", CARTPOLE, num_rollouts=0)
    with pytest.raises(ConfigError, match="no steps yet"):
        experience(tmp_path / "empty")
