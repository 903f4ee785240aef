"""Datasets of others become datasets of this project, step by step the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_rollouts import CARTPOLE, NESTED, same_bits, write_dataset

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import time_step_spec
from workers.datasets.arrays import load_arrays
from workers.datasets.imports import import_minari, import_rllib
from workers.datasets.manifest import verify
from workers.datasets.minari import export_minari
from workers.datasets.reader import read_episodes

# The actions of random rollouts are any integers.
SPECS = EnvironmentSpecs(CARTPOLE.time_step_spec, ArraySpec((), np.int64))
NAMES = ("observation", "next_observation", "action", "reward", "discount", "terminated", "step_type")


def assert_same_episodes(found: Path, expected: Path) -> None:
    """Asserts that the steps are the same; an episode that never ended counts as truncated."""

    def key(steps: Any) -> bytes:
        return steps["reward"].tobytes()

    pairs = zip(*(sorted(read_episodes(folder), key=key) for folder in (found, expected)), strict=True)
    for left, right in pairs:
        for name in NAMES:
            assert same_bits(left[name], right[name]), name
        assert (left["terminated"] | left["truncated"])[-1]
        assert not left["truncated"][:-1].any()
    assert verify(found).num_rows == verify(expected).num_rows


@pytest.mark.parametrize("schema", [CARTPOLE, NESTED], ids=["cartpole", "nested"])
def test_a_minari_dataset_keeps_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: Any) -> None:
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    write_dataset(tmp_path / "data", schema)
    export_minari(tmp_path / "data", "toy/random-v0")
    manifest = import_minari("toy/random-v0", tmp_path / "imported")
    assert (manifest.env_id, manifest.policy) == ("CartPole-v1", "minari:toy/random-v0")
    assert_same_episodes(tmp_path / "imported", tmp_path / "data")
    arrays = load_arrays((str(tmp_path / "imported"),))
    assert len(arrays.transitions) == manifest.num_rows
    with pytest.raises(ConfigError, match="holds a dataset already"):
        import_minari("toy/random-v0", tmp_path / "imported")
    with pytest.raises(ConfigError, match="Minari has no dataset toy/other-v0"):
        import_minari("toy/other-v0", tmp_path / "other")


def write_as_rllib(folder: Path, to: Path, as_lists: bool) -> None:
    """Writes a dataset's steps with the columns that RLlib writes, and with texts as episode ids."""
    to.mkdir()
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        columns = {name: table.column(name) for name in ("actions", "rewards", "terminateds", "truncateds")}
        columns["eps_id"] = pa.array([f"episode {number}" for number in table.column("eps_id").to_pylist()])
        for name in ("obs", "new_obs"):
            column = table.column(name).combine_chunks()
            columns[name] = column.storage.cast(pa.list_(pa.float32())) if as_lists else column
        pq.write_table(pa.table(columns), to / path.name)


@pytest.mark.parametrize("as_lists", [False, True], ids=["tensors", "lists"])
def test_rllibs_rows_keep_their_steps(tmp_path: Path, as_lists: bool) -> None:
    write_dataset(tmp_path / "data", CARTPOLE)
    write_as_rllib(tmp_path / "data", tmp_path / "rllib", as_lists)
    manifest = import_rllib(tmp_path / "rllib", tmp_path / "imported", SPECS, "CartPole-v1", {"a": 1})
    assert (manifest.env_id, manifest.env_kwargs) == ("CartPole-v1", {"a": 1})
    assert_same_episodes(tmp_path / "imported", tmp_path / "data")


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", CARTPOLE)
    write_as_rllib(tmp_path / "data", tmp_path / "rllib", as_lists=False)
    nested = EnvironmentSpecs(NESTED.time_step_spec, NESTED.action_spec)
    with pytest.raises(SpecMismatchError, match="not a nest"):
        import_rllib(tmp_path / "rllib", tmp_path / "nested", nested, "CartPole-v1")
    other = EnvironmentSpecs(time_step_spec(ArraySpec((3,), np.float32)), CARTPOLE.action_spec)
    with pytest.raises(SpecMismatchError, match=r"column obs has 4 numbers a row, not \(3,\)"):
        import_rllib(tmp_path / "rllib", tmp_path / "other", other, "CartPole-v1")
    pq.write_table(pa.table({"eps_id": [1]}), tmp_path / "bare.parquet")
    with pytest.raises(ConfigError, match="has no column obs"):
        import_rllib(tmp_path / "bare.parquet", tmp_path / "bare", SPECS, "CartPole-v1")
    with pytest.raises(ConfigError, match="cannot read"):
        import_rllib(tmp_path / "nowhere", tmp_path / "none", SPECS, "CartPole-v1")


def write_steps(path: Path, actions: Any, observations: Any = None, next_observations: Any = None) -> Path:
    """Writes one episode as RLlib does, which counts its steps."""
    count = len(actions)
    observations = np.arange(count) if observations is None else observations
    next_observations = np.asarray(observations) + 1 if next_observations is None else next_observations
    columns = {
        "eps_id": ["a"] * count,
        "obs": [[float(value)] for value in observations],
        "new_obs": [[float(value)] for value in next_observations],
        "actions": list(actions),
        "rewards": [1.0] * count,
        "terminateds": [False] * (count - 1) + [True],
        "truncateds": [False] * count,
    }
    pq.write_table(pa.table(columns), path)
    return path


def specs_of(action: ArraySpec) -> EnvironmentSpecs:
    return EnvironmentSpecs(time_step_spec(ArraySpec((1,), np.float32)), action)


def test_normalised_actions_become_those_of_the_environment(tmp_path: Path) -> None:
    specs = specs_of(BoundedArraySpec((2,), np.float32, [-2.0, 0.0], [2.0, 10.0]))
    steps = write_steps(tmp_path / "steps.parquet", [[-1.0, -1.0], [0.0, 0.5], [1.0, 1.5]])
    with pytest.raises(ConfigError, match="normalized_actions is not given: RLlib writes an action of floats scaled"):
        import_rllib(steps, tmp_path / "none", specs, "Pendulum-v1")
    wanted = {True: [[-2.0, 0.0], [0.0, 7.5], [2.0, 12.5]], False: [[-1.0, -1.0], [0.0, 0.5], [1.0, 1.5]]}
    for is_normalized, expected in wanted.items():
        folder = tmp_path / str(is_normalized)
        import_rllib(steps, folder, specs, "Pendulum-v1", normalized_actions=is_normalized)
        (episode,) = read_episodes(folder)
        np.testing.assert_allclose(episode["action"], expected)
        assert episode["action"].dtype == np.float32
    # Where it makes no difference, it need not be known.
    for name, bound in (("same", 1.0), ("open", np.inf)):
        specs = specs_of(BoundedArraySpec((2,), np.float32, -bound, bound))
        import_rllib(steps, tmp_path / name, specs, "Hopper-v5")
        (episode,) = read_episodes(tmp_path / name)
        np.testing.assert_allclose(episode["action"], wanted[False])


def test_rows_that_do_not_follow_on_one_another_are_refused(tmp_path: Path) -> None:
    specs = specs_of(BoundedArraySpec((), np.int64, 0, 1))
    shuffled = write_steps(tmp_path / "shuffled.parquet", [0, 1, 0], observations=[1, 0, 2])
    lost = write_steps(tmp_path / "lost.parquet", [0, 1, 0], observations=[0, 1, 3])
    for steps in (shuffled, lost):
        with pytest.raises(SpecMismatchError, match="rows of episode a do not follow on one another"):
            import_rllib(steps, tmp_path / "imported", specs, "CartPole-v1")
    # NaN is the same number in both columns.
    gap = write_steps(tmp_path / "gap.parquet", [0, 1], [0, float("nan")], [float("nan"), 2])
    import_rllib(gap, tmp_path / "imported", specs, "CartPole-v1")


@pytest.mark.parametrize("actions", [[0, 1, 2], [0, 1, -1], [0.0, 0.5, 1.0]], ids=["above", "below", "float"])
def test_integers_that_the_specs_do_not_know_are_refused(tmp_path: Path, actions: list[Any]) -> None:
    specs = specs_of(BoundedArraySpec((), np.int64, 0, 1))
    steps = write_steps(tmp_path / "steps.parquet", actions)
    with pytest.raises(SpecMismatchError, match=r"column actions holds .*, and the specs say integers from 0 to 1"):
        import_rllib(steps, tmp_path / "imported", specs, "CartPole-v1")
