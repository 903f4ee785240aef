from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from dataset_rollouts import CARTPOLE, NESTED, same_bits, write_dataset

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import PolicyInfo
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.utils.nests.array_nest import map_structure
from workers.datasets.reader import read_episodes, read_rollouts, read_steps
from workers.datasets.schema import DatasetSchema
from workers.datasets.views import read_tf_dataset

ROOT = Path(__file__).resolve().parents[3]


def numpy_nest(nest: Any) -> Any:
    return map_structure(np.asarray, nest)


def joined(parts: list[Any]) -> Any:
    return map_structure(lambda *leaves: np.concatenate(leaves), *parts)


@pytest.mark.parametrize("schema", [CARTPOLE, NESTED], ids=["cartpole", "nested"])
def test_batches_hold_the_steps_with_their_dtypes_shapes_and_bits(tmp_path: Path, schema: DatasetSchema) -> None:
    manifest = write_dataset(tmp_path, schema)
    dataset = read_tf_dataset(tmp_path, batch_size=16)
    batches = [numpy_nest(batch) for batch in dataset]
    assert [len(batch["step"]) for batch in batches[:-1]] == [16] * (manifest.num_rows // 16)
    assert same_bits(joined(batches), joined(list(read_steps(tmp_path))))
    assert len(list(read_tf_dataset(tmp_path, batch_size=16, drop_remainder=True))) == manifest.num_rows // 16


def test_the_element_spec_is_the_schemas(tmp_path: Path) -> None:
    write_dataset(tmp_path, NESTED)
    spec = read_tf_dataset(tmp_path, batch_size=4).element_spec
    assert spec["observation"]["camera"] == tf.TensorSpec((None, 12, 12, 3), tf.uint8)
    assert spec["observation"]["arm"][0] == tf.TensorSpec((None, 3), tf.float64)
    assert spec["next_observation"]["door"] == tf.TensorSpec((None, 2), tf.bool)
    assert spec["policy_info"]["logits"] == tf.TensorSpec((None, 3), tf.float32)


def test_infos_keep_their_namedtuple_and_lists_become_tuples(tmp_path: Path) -> None:
    schema = DatasetSchema(
        time_step_spec([ArraySpec((), np.uint16), ArraySpec((2,), np.int8)]), ArraySpec((), np.uint64)
    )
    write_dataset(tmp_path / "list", schema)
    step = next(iter(read_tf_dataset(tmp_path / "list")))
    assert isinstance(step["observation"], tuple)
    assert (step["observation"][0].dtype, step["action"].dtype) == (tf.uint16, tf.uint64)
    assert step["policy_info"] == ()
    write_dataset(tmp_path / "info", CARTPOLE)
    assert isinstance(next(iter(read_tf_dataset(tmp_path / "info")))["policy_info"], PolicyInfo)


def test_single_steps_have_no_outer_dimension(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    steps = list(read_tf_dataset(tmp_path))
    assert len(steps) == manifest.num_rows
    assert steps[0]["observation"].shape == (4,)


def test_episodes_and_rollouts_are_elements(tmp_path: Path) -> None:
    write_dataset(tmp_path, NESTED)
    episodes = [numpy_nest(steps) for steps in read_tf_dataset(tmp_path, episodes=True)]
    for found, expected in zip(episodes, read_episodes(tmp_path), strict=True):
        assert same_bits(found, expected)
    expected = list(read_rollouts(tmp_path, 5))
    batches = [numpy_nest(batch) for batch in read_tf_dataset(tmp_path, 2, rollout_steps=5, drop_remainder=True)]
    assert batches[0]["observation"]["camera"].shape == (2, 5, 12, 12, 3)
    assert same_bits(map_structure(lambda leaf: leaf[1], batches[0]), expected[1])


@pytest.mark.parametrize("kind", [{"batch_size": 16}, {"episodes": True}, {"rollout_steps": 3}])
def test_every_pass_draws_anew_and_a_seed_repeats_it(tmp_path: Path, kind: dict[str, Any]) -> None:
    write_dataset(tmp_path, CARTPOLE, num_rollouts=12)

    def order(dataset: tf.data.Dataset) -> list[int]:
        pairs = [np.ravel(s["slot"]) * 1000 + np.ravel(s["step"]) for s in map(numpy_nest, dataset)]
        return np.concatenate(pairs).tolist()

    plain = order(read_tf_dataset(tmp_path, **kind))
    first, again = (read_tf_dataset(tmp_path, **kind, shuffle=60, seed=3) for _ in range(2))
    passes = [order(first), order(first)]
    assert passes == [order(again), order(again)]
    assert passes[0] != passes[1] != plain
    assert [sorted(found) for found in passes] == [sorted(plain)] * 2


def test_arguments_that_exclude_one_another_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, CARTPOLE)
    with pytest.raises(ConfigError, match="padded_batch"):
        read_tf_dataset(tmp_path, 4, episodes=True)
    with pytest.raises(CheckpointError, match="there is no"):
        read_tf_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("page", ["README.md", "docs/collecting.md"])
def test_the_documented_code_reads_a_dataset(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "data", CARTPOLE)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        if '"data/"' in block:
            exec(compile(block, page, "exec"), {"__name__": "snippet"})
    assert len(capsys.readouterr().out.splitlines()) == len(list(read_episodes(tmp_path / "data")))
