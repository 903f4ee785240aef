from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_rollouts import (
    CARTPOLE,
    FIRST,
    LAST,
    MID,
    NESTED,
    manifest_of,
    random_stream,
    rollouts,
    same_bits,
    write_dataset,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyInfo
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.utils.nests.array_nest import map_structure
from workers.datasets.columns import DatasetColumns
from workers.datasets.episode_index import MAX_GENERATIONS, MAX_SLOTS, SlotCounters, slot_and_generation
from workers.datasets.reader import read_episodes, read_rollouts, read_steps
from workers.datasets.rows import RolloutRows
from workers.datasets.schema import DatasetSchema
from workers.datasets.writer import COMPRESSIONS, DatasetWriter

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
LEAVES = st.builds(
    lambda shape, dtype: ArraySpec(shape, dtype),
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
    st.sampled_from(DTYPES),
)
NESTS = st.recursive(
    LEAVES,
    lambda children: st.one_of(
        st.dictionaries(st.text("abz/ %.~öA_", max_size=3), children, min_size=1, max_size=3),
        st.dictionaries(st.integers(-2, 12), children, min_size=1, max_size=3),
        st.lists(children, min_size=1, max_size=3).map(tuple),
        st.builds(PolicyInfo, children),
    ),
    max_leaves=5,
)


def all_steps(folder: Path) -> dict[str, Any]:
    """The steps of a dataset by slot and step."""
    chunks = list(read_steps(folder))
    joined = map_structure(lambda *leaves: np.concatenate(leaves), *chunks)
    order = np.lexsort((joined["step"], joined["slot"]))
    return map_structure(lambda leaf: leaf[order], joined)


def expected_steps(stream: dict[str, Any]) -> dict[str, Any]:
    """What a slot's stream says the dataset holds of it."""
    rows = np.flatnonzero(stream["step_type"][:-1] != LAST)
    return {
        "observation": map_structure(lambda leaf: leaf[rows], stream["observation"]),
        "next_observation": map_structure(lambda leaf: leaf[rows + 1], stream["observation"]),
        "action": map_structure(lambda leaf: leaf[rows], stream["action"]),
        "policy_info": map_structure(lambda leaf: leaf[rows], stream["policy_info"]),
        "reward": stream["reward"][rows],
        "discount": stream["discount"][rows],
        "step_type": stream["step_type"][rows],
        "next_step_type": stream["step_type"][rows + 1],
        "step": np.arange(len(rows)),
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(observation=NESTS, action=NESTS, info=st.one_of(st.just(()), NESTS), compression=st.sampled_from(COMPRESSIONS))
def test_every_bit_of_every_nest_and_dtype_survives(observation: Any, action: Any, info: Any, compression: str) -> None:
    schema = DatasetSchema(time_step_spec(observation), action, info)
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), schema, num_slots=2, compression=compression)
        steps = all_steps(Path(folder))
    for slot in range(2):
        expected = expected_steps(random_stream(schema, slot, 42, 0))
        found = {
            name: map_structure(lambda leaf, slot=slot: leaf[steps["slot"] == slot], steps[name]) for name in expected
        }
        for name, nest in expected.items():
            assert same_bits(found[name], nest), name


def test_the_nest_comes_back_as_the_schema_says(tmp_path: Path) -> None:
    write_dataset(tmp_path, NESTED)
    steps = next(read_steps(tmp_path))
    assert list(steps["observation"]) == ["camera", "arm", "door"]
    assert isinstance(steps["observation"]["arm"], tuple)
    assert steps["observation"]["camera"].dtype == np.uint8
    assert set(steps["policy_info"]) == {"value", "logits"}


def test_a_part_of_a_table_is_decoded_as_that_part() -> None:
    columns = DatasetColumns(NESTED)
    rows = RolloutRows(NESTED).rows(
        rollouts(NESTED, range(1), 8, 1)[0], SlotCounters({}, 0).advance(np.full((1, 9), MID, np.int32), 0)
    )
    table = columns.encode(rows)
    whole, part = columns.decode(table), columns.decode(table.slice(3, 4))
    assert same_bits(part, map_structure(lambda leaf: leaf[3:7], whole))


def test_data_of_1_2_and_4_collectors_is_the_same(tmp_path: Path) -> None:
    for num_collectors in (1, 2, 4):
        write_dataset(tmp_path / str(num_collectors), CARTPOLE, num_slots=8, num_collectors=num_collectors)
    one, two, four = (all_steps(tmp_path / str(number)) for number in (1, 2, 4))
    assert same_bits(one, two)
    assert same_bits(one, four)


def test_shard_size_leaves_the_rows_as_they_are(tmp_path: Path) -> None:
    small = write_dataset(tmp_path / "small", CARTPOLE, rows_per_shard=1)
    large = write_dataset(tmp_path / "large", CARTPOLE, rows_per_shard=10**6)
    assert (len(small.shards), len(large.shards)) == (6, 1)
    assert same_bits(all_steps(tmp_path / "small"), all_steps(tmp_path / "large"))


def test_reused_buffers_of_a_collector_do_not_change_rows(tmp_path: Path) -> None:
    rollout = rollouts(CARTPOLE, range(2), 8, 1)[0]
    before = rollout.observation.copy()
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    writer.write(rollout)
    map_structure(lambda leaf: leaf.fill(0), [rollout.observation, rollout.action, rollout.reward, rollout.step_type])
    manifest_of(CARTPOLE, 2).with_shards(writer.flush()).save(tmp_path)
    steps = all_steps(tmp_path)
    assert same_bits(steps["observation"][:3], before[0, :3])


def test_episode_ids_and_places_count_over_rollouts(tmp_path: Path) -> None:
    step_type = np.array([FIRST, MID, LAST, FIRST, LAST, FIRST, MID, MID, MID], np.int32)
    stream = {**random_stream(CARTPOLE, 0, 8, 0), "step_type": step_type}
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    for rollout in rollouts(CARTPOLE, range(1), 4, 2, streams={0: stream}):
        writer.write(rollout)
    manifest_of(CARTPOLE, 1).with_shards(writer.flush()).save(tmp_path)
    steps = all_steps(tmp_path)
    assert steps["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert steps["eps_id"].tolist() == [0, 0, 1, 2, 2, 2]
    assert steps["t"].tolist() == [0, 1, 0, 0, 1, 2]
    assert steps["step_type"].tolist() == [FIRST, MID, FIRST, FIRST, MID, MID]
    assert steps["next_step_type"].tolist() == [MID, LAST, LAST, MID, MID, MID]


def test_termination_and_truncation_are_told_apart(tmp_path: Path) -> None:
    write_dataset(tmp_path, CARTPOLE)
    steps = all_steps(tmp_path)
    ended = steps["next_step_type"] == LAST
    assert (steps["terminated"] == (ended & (steps["discount"] == 0))).all()
    assert (steps["truncated"] == (ended & (steps["discount"] != 0))).all()
    assert steps["terminated"].any()
    assert steps["truncated"].any()


def test_weights_version_is_that_of_each_step(tmp_path: Path) -> None:
    step_type = np.array([FIRST, MID, LAST, FIRST, MID, MID, MID, MID, MID], np.int32)
    stream = {**random_stream(CARTPOLE, 0, 8, 0), "step_type": step_type}
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    for rollout in rollouts(CARTPOLE, range(1), 4, 2, streams={0: stream}):
        writer.write(rollout)
    manifest_of(CARTPOLE, 1).with_shards(writer.flush()).save(tmp_path)
    steps = all_steps(tmp_path)
    assert steps["weights_epoch"].tolist() == [2] * 7
    assert steps["weights_version"].tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_a_fault_is_flagged_where_it_cut(tmp_path: Path) -> None:
    rollout = rollouts(CARTPOLE, range(2), 8, 1)[0]
    cuts = np.zeros((2, 8), np.bool_)
    cuts[1, 0] = True
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    writer.write(rollout._replace(cuts=cuts))
    manifest_of(CARTPOLE, 2).with_shards(writer.flush()).save(tmp_path)
    steps = all_steps(tmp_path)
    assert list(zip(steps["slot"][steps["cut"]], steps["step"][steps["cut"]], strict=True)) == [(1, 0)]


def test_episodes_are_whole_and_in_order(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, NESTED, num_slots=4, num_collectors=2, num_rollouts=20)
    episodes = list(read_episodes(tmp_path, only_ended=True))
    assert len(episodes) == manifest.num_episodes > 20
    for steps in episodes:
        assert steps["step_type"][0] == FIRST
        assert (steps["step_type"][1:] == MID).all()
        assert steps["next_step_type"][-1] == LAST
        assert steps["t"].tolist() == list(range(len(steps["t"])))
        assert same_bits(
            map_structure(lambda leaf: leaf[1:], steps["observation"]),
            map_structure(lambda leaf: leaf[:-1], steps["next_observation"]),
        )
    all_of_them = list(read_episodes(tmp_path))
    assert sum(len(steps["t"]) for steps in all_of_them) == manifest.num_rows
    assert len({int(steps["eps_id"][0]) for steps in all_of_them}) == len(all_of_them)


def test_rollouts_of_a_fixed_length_follow_a_slot(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path, CARTPOLE)
    pieces = list(read_rollouts(tmp_path, 5))
    assert len(pieces) == sum(next_step // 5 for next_step in manifest.next_steps())
    for steps in pieces:
        assert len(set(steps["slot"].tolist())) == 1
        assert np.diff(steps["step"]).tolist() == [1, 1, 1, 1]
        assert steps["step"][0] % 5 == 0


def test_shuffled_steps_are_all_there_in_another_order(tmp_path: Path) -> None:
    write_dataset(tmp_path, CARTPOLE)

    def order(seed: int) -> list[tuple[int, int]]:
        chunks = list(read_steps(tmp_path, 50, np.random.default_rng(seed)))
        return [pair for chunk in chunks for pair in zip(chunk["slot"].tolist(), chunk["step"].tolist(), strict=True)]

    plain = [(int(s), int(t)) for c in read_steps(tmp_path) for s, t in zip(c["slot"], c["step"], strict=True)]
    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == sorted(plain)
    assert order(0) != plain


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("observation", np.zeros((2, 9, 4), np.float64), "observation is float64"),
        ("action", np.zeros((2, 8, 1), np.int64), r"action is int64 \(2, 8, 1\)"),
        ("policy_info", (), "policy_info has 0 arrays"),
        ("step_type", np.zeros((2, 8), np.int32), "step_type"),
    ],
)
def test_a_rollout_that_does_not_fit_is_refused_by_name(tmp_path: Path, field: str, value: Any, message: str) -> None:
    rollout = rollouts(CARTPOLE, range(2), 8, 1)[0]
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    with pytest.raises(SpecMismatchError, match=message):
        writer.write(rollout._replace(**{field: value}))
    writer.write(rollout)
    assert writer.flush()[0].num_rows == np.count_nonzero(rollout.step_type[:, :-1] != LAST)


def test_cuts_of_another_shape_are_refused(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, "a", CARTPOLE)
    with pytest.raises(SpecMismatchError, match="cuts are bool"):
        writer.write(rollouts(CARTPOLE, range(2), 8, 1)[0]._replace(cuts=np.zeros((2, 9), np.bool_)))


@pytest.mark.parametrize(
    "spec",
    [
        ArraySpec((None, 3), np.float32),
        ArraySpec((), "U5"),
        ArraySpec((), ">f4"),
        ArraySpec((), np.longdouble),
        "no spec",
        (),
    ],
)
def test_specs_that_cannot_be_stored_are_refused(spec: Any) -> None:
    with pytest.raises(SpecMismatchError):
        DatasetSchema(time_step_spec()._replace(observation=spec), BoundedArraySpec((), np.int64, 0, 1))


def test_a_schema_survives_json() -> None:
    bounded = BoundedArraySpec((2,), np.float32, [-0.1, -np.inf], [0.3, 7], "x")
    schema = DatasetSchema(
        time_step_spec({"b": [bounded], "a": ()}), NESTED.action_spec, PolicyInfo(ArraySpec((), np.float32))
    )
    again = DatasetSchema.from_json(schema.to_json())
    assert again == schema
    assert isinstance(again.info_spec, PolicyInfo)
    assert list(again.columns) == list(schema.columns)
    assert "action_logp" in again.columns


def test_more_slots_or_episodes_than_an_id_holds_are_refused() -> None:
    step_type = np.array([[FIRST, LAST]], np.int32)
    with pytest.raises(ConfigError, match=f"slot {MAX_SLOTS}"):
        SlotCounters({}, 0).advance(step_type, MAX_SLOTS)
    last = SlotCounters({}, MAX_GENERATIONS - 1).advance(step_type, MAX_SLOTS - 1).eps_id
    assert last.dtype == np.int64
    assert last[0, 0] == ((MAX_SLOTS * MAX_GENERATIONS - 1) << 30)
    assert slot_and_generation(last)[0, 0] == MAX_SLOTS * MAX_GENERATIONS - 1
    with pytest.raises(ConfigError, match="generation"):
        SlotCounters({}, MAX_GENERATIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows_per_shard": 0}, "rows_per_shard must be 1 or more, but is 0"),
        ({"compression": "gzip"}, "zstd, lz4"),
        ({"name": "a/b"}, "name 'a/b'"),
        ({"generation": -1}, "generation -1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DatasetWriter(**{"folder": tmp_path, "name": "a", "schema": CARTPOLE, **arguments})
