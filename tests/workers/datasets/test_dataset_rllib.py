from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dataset_rollouts import CARTPOLE, NESTED, ends_of, manifest_of, write_dataset

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.time_step import time_step_spec
from workers.datasets.schema import DatasetSchema
from workers.datasets.views import read_ray_dataset, rllib_offline_data

ROOT = Path(__file__).resolve().parents[3]


def run_script(folder: Path, part: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    script = Path(__file__).parents[1] / "dataset_rllib_script.py"
    command = [sys.executable, str(script), str(folder), part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_rllibs_offline_reader_and_ray_data_give_the_steps_that_were_written(tmp_path: Path) -> None:
    assert run_script(tmp_path, "read") == "read"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="RLlib trains with PyTorch only")
def test_rllib_trains_on_a_dataset(tmp_path: Path) -> None:
    assert run_script(tmp_path, "train") == "trained"


def test_rllib_is_told_how_to_read_images_and_which_files_belong(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    (tmp_path / "left-over.parquet").write_text("x")
    arguments = rllib_offline_data(tmp_path)
    assert [Path(path).name for path in arguments["input_"]] == [shard.file for shard in manifest.shards]
    assert arguments["input_read_method_kwargs"] == {}
    images = DatasetSchema(time_step_spec(ArraySpec((20, 20, 3), np.uint8)), ArraySpec((), np.int64))
    write_dataset(tmp_path / "images", images)
    tensors = rllib_offline_data(tmp_path / "images")["input_read_method_kwargs"]["tensor_column_schema"]
    assert tensors == dict.fromkeys(("obs", "new_obs"), (np.uint8, (20, 20, 3)))


def test_rows_that_a_fault_cut_are_not_among_rllibs(tmp_path: Path) -> None:
    faults = [(slot, ends_of(CARTPOLE, slot, 42)[1]) for slot in (0, 2)]
    manifest = write_dataset(tmp_path, CARTPOLE, faults=faults)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(2):
        paths = rllib_offline_data(tmp_path)["input_"]
        tables = [pq.read_table(path) for path in paths]
        assert sum(table.num_rows for table in tables) == manifest.num_rows - 2
        assert not any(any(table["cut"].to_pylist()) for table in tables)
        assert {path.name for path in tmp_path.iterdir()} - before.keys() == {"_without_cuts"}
    assert all((tmp_path / name).read_bytes() == data for name, data in before.items())
    # A shard without cuts is read where it is.
    assert any(Path(path).parent == tmp_path for path in paths)
    assert all(path.stem.rpartition("-")[0] for path in (tmp_path / "_without_cuts").iterdir())


def test_what_rllib_cannot_read_is_refused_by_name(tmp_path: Path) -> None:
    write_dataset(tmp_path, NESTED)
    with pytest.raises(SpecMismatchError, match="column obs"):
        rllib_offline_data(tmp_path)


def test_a_dataset_without_steps_is_said_to_be_empty(tmp_path: Path) -> None:
    manifest_of(CARTPOLE, 1).save(tmp_path)
    for call in (rllib_offline_data, read_ray_dataset):
        with pytest.raises(ConfigError, match="no steps yet"):
            call(tmp_path)
