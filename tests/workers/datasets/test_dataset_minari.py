from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from dataset_rollouts import CARTPOLE, NESTED, ends_of, manifest_of, same_bits, write_dataset

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs import spec_from_space
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.utils.nests.array_nest import map_structure
from workers.datasets.minari import export_minari, space_from_spec
from workers.datasets.reader import read_episodes
from workers.datasets.schema import DatasetSchema

minari = pytest.importorskip("minari")


# So large that Minari would code them as JPEG.
IMAGES = DatasetSchema(
    time_step_spec(BoundedArraySpec((36, 36, 3), np.uint8, 0, 255)), BoundedArraySpec((), np.int64, 0, 1)
)


@pytest.fixture(autouse=True)
def _minari_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


@pytest.mark.parametrize("schema", [CARTPOLE, NESTED, IMAGES], ids=["cartpole", "nested", "images"])
def test_episodes_survive_minari_bit_for_bit(tmp_path: Path, schema: DatasetSchema) -> None:
    manifest = write_dataset(tmp_path / "data", schema)
    export_minari(tmp_path / "data", "toy/random-v0")
    loaded = minari.load_dataset("toy/random-v0")
    assert loaded.total_steps == manifest.num_rows
    assert loaded.spec.env_spec.id == "CartPole-v1"
    episodes = list(read_episodes(tmp_path / "data"))
    assert loaded.total_episodes == len(episodes)
    for found, steps in zip(loaded.iterate_episodes(), episodes, strict=True):
        assert same_bits(map_structure(lambda leaf: leaf[:-1], found.observations), steps["observation"])
        assert same_bits(map_structure(lambda leaf: leaf[1:], found.observations), steps["next_observation"])
        assert same_bits(found.actions, steps["action"])
        assert same_bits(found.rewards, steps["reward"])
        assert (found.terminations == steps["terminated"]).all()
        assert (found.terminations | found.truncations)[-1]
        assert not found.truncations[:-1].any()


def test_a_row_that_a_fault_cut_is_left_out(tmp_path: Path) -> None:
    last = ends_of(CARTPOLE, 0, 42)[0]
    manifest = write_dataset(tmp_path / "data", CARTPOLE, faults=[(0, last)])
    export_minari(tmp_path / "data", "toy/random-v0")
    loaded = minari.load_dataset("toy/random-v0")
    assert loaded.total_steps == manifest.num_rows - 1
    cut = next(steps for steps in read_episodes(tmp_path / "data") if steps["cut"].any())
    found = [episode for episode in loaded.iterate_episodes() if same_bits(episode.actions, cut["action"][:-1])]
    assert len(found) == 1
    assert found[0].truncations[-1]
    assert same_bits(found[0].observations[:-1], cut["observation"][:-1])


def test_an_id_that_is_taken_and_an_empty_dataset_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", CARTPOLE)
    export_minari(tmp_path / "data", "toy/random-v0")
    with pytest.raises(ConfigError, match="random-v0 already exists"):
        export_minari(tmp_path / "data", "toy/random-v0")
    (tmp_path / "empty").mkdir()
    manifest_of(CARTPOLE, 1).save(tmp_path / "empty")
    with pytest.raises(ConfigError, match="no steps yet"):
        export_minari(tmp_path / "empty", "toy/empty-v0")


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path / "data", CARTPOLE)
    (tmp_path / "data" / manifest.shards[-1].file).unlink()
    with pytest.raises(Exception, match="missing"):
        export_minari(tmp_path / "data", "toy/random-v0")
    assert "toy/random-v0" not in minari.list_local_datasets()


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Discrete(5, start=2),
        gym.spaces.Box(0, 255, (4, 4, 3), np.uint8),
        gym.spaces.Box(np.array([-1.0, -2.0]), np.array([1.0, 2.0]), dtype=np.float64),
        gym.spaces.Dict({"a": gym.spaces.Discrete(3), "b": gym.spaces.Tuple([gym.spaces.Box(-1, 1, ())])}),
    ],
    ids=str,
)
def test_a_space_comes_back_from_its_spec(space: gym.Space) -> None:
    assert space_from_spec(spec_from_space(space)) == space


@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.uint64, np.float32])
def test_a_spec_without_bounds_is_a_box_of_its_dtype(dtype: Any) -> None:
    space = space_from_spec(ArraySpec((3,), dtype))
    assert space.dtype == dtype
    assert space.contains(np.ones(3, dtype))


def test_a_dtype_without_a_space_is_refused() -> None:
    with pytest.raises(SpecMismatchError, match="complex64"):
        space_from_spec(ArraySpec((3,), np.complex64))
