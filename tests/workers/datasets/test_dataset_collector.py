from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_rollouts import same_bits
from toy_envs import EVERY_SPACE
from toy_policies import scripted_pair

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import map_structure
from workers.collection.collector import CollectorConfig
from workers.datasets.collector import DatasetCollector, DatasetReport, DatasetWriterConfig
from workers.datasets.episode_index import SlotLimits
from workers.datasets.manifest import DatasetManifest, prepare_resume, remove_unnamed, stacks_file, verify
from workers.datasets.reader import read_episodes, read_steps
from workers.datasets.shard_journal import ShardRecord
from workers.environments.factory import EnvironmentFactory
from workers.inference.policy_source import PolicySource

NUM_SLOTS = 8
FAULTY = "toy_envs:FaultyEnv"
CARTPOLE = EnvironmentFactory("CartPole-v1", "sync")


def make(
    folder: Path, limits: SlotLimits, env: EnvironmentFactory, slots: range, index: int = 0, **settings: Any
) -> DatasetCollector:
    """A collector of some slots with a random policy, or the policy factory in ``policy``."""
    generation, next_steps = settings.pop("generation", 0), settings.pop("next_steps", {})
    policy = settings.pop("policy", PolicySource("random"))
    name = f"generation{generation}-collector{index}"
    writer = DatasetWriterConfig(str(folder), name, limits, next_steps, **{"rows_per_shard": 100, **settings})
    config = CollectorConfig(index, slots.start, len(slots), num_steps=16, seed=5, generation=generation)
    return DatasetCollector(config, env, policy, writer)


def run(collector: DatasetCollector) -> tuple[list[DatasetReport], list[ShardRecord]]:
    """Collects until it is finished; shards that both a report and the end name count once."""
    reports = [collector.collect()]
    while not reports[-1].finished:
        reports.append(collector.collect())
    records = [record for report in reports for record in report.shards]
    return reports, list(dict.fromkeys([*records, *collector.flush()]))


def write(
    folder: Path, limits: SlotLimits, env: EnvironmentFactory, num_collectors: int = 1, **settings: Any
) -> tuple[DatasetManifest, list[DatasetReport]]:
    """A dataset of 8 slots that are spread over collectors, and the reports on it."""
    records: list[ShardRecord] = []
    reports: list[DatasetReport] = []
    share = NUM_SLOTS // num_collectors
    for index in range(num_collectors):
        collector = make(folder, limits, env, range(index * share, (index + 1) * share), index, **settings)
        schema = collector.describe().schema
        own_reports, own_records = run(collector)
        reports += own_reports
        records += own_records
        collector.close()
    manifest = DatasetManifest(schema, env.env_id, "random", 5, NUM_SLOTS).with_generation(0.0, 0).with_shards(records)
    manifest.save(folder)
    return manifest, reports


def steps_of(folder: Path) -> Any:
    """All steps, sorted by slot and step."""
    parts = list(read_steps(folder))
    joined = map_structure(lambda *leaves: np.concatenate(leaves), *parts)
    order = np.lexsort((joined["step"], joined["slot"]))
    return map_structure(lambda leaf: leaf[order], joined)


@pytest.mark.parametrize(
    "limits",
    [
        SlotLimits(next_steps={slot: 90 + slot for slot in range(NUM_SLOTS)}),
        SlotLimits(num_episodes={slot: 4 + slot % 2 for slot in range(NUM_SLOTS)}),
    ],
    ids=["steps", "episodes"],
)
def test_data_is_byte_equal_from_one_two_and_four_collectors_and_from_two_runs(
    tmp_path: Path, limits: SlotLimits
) -> None:
    env = EnvironmentFactory("CartPole-v1", "sync")
    for folder, num_collectors in (("one", 1), ("two", 2), ("four", 4), ("again", 1)):
        write(tmp_path / folder, limits, env, num_collectors)
        verify(tmp_path / folder)
    one = steps_of(tmp_path / "one")
    assert set(one["slot"]) == set(range(NUM_SLOTS))
    assert len(np.unique(one["observation"], axis=0)) > len(one["slot"]) / 2
    for other in ("two", "four", "again"):
        assert same_bits(one, steps_of(tmp_path / other))


def test_each_slot_stops_at_its_own_step_though_others_go_on(tmp_path: Path) -> None:
    quotas = {slot: 3 + 13 * slot for slot in range(NUM_SLOTS)}
    manifest, reports = write(tmp_path, SlotLimits(next_steps=quotas), EnvironmentFactory("CartPole-v1", "sync"))
    assert dict(enumerate(manifest.next_steps())) == quotas
    assert sum(report.num_rows for report in reports) == manifest.num_rows == sum(quotas.values())


def test_returns_and_lengths_in_the_reports_are_those_of_the_episodes_in_the_data(tmp_path: Path) -> None:
    limits = SlotLimits(num_episodes=dict.fromkeys(range(NUM_SLOTS), 3))
    manifest, reports = write(tmp_path, limits, EnvironmentFactory("toy_envs:StreamEnv", "sync"), num_collectors=2)
    episodes = list(read_episodes(tmp_path))
    assert manifest.num_episodes == len(episodes) == 3 * NUM_SLOTS
    assert all(steps["next_step_type"][-1] == StepType.LAST for steps in episodes)
    reported = [value for report in reports for value in report.episode_returns]
    assert sorted(reported) == sorted(float(steps["reward"].sum()) for steps in episodes)
    lengths = [value for report in reports for value in report.episode_lengths]
    assert sorted(lengths) == sorted(len(steps["reward"]) for steps in episodes)


@pytest.mark.parametrize(("env", "num_cut"), [("Endless", 3 * NUM_SLOTS), ("Base", 0)])
def test_episodes_that_the_limit_of_steps_cuts_are_truncations_and_are_counted(
    tmp_path: Path, env: str, num_cut: int
) -> None:
    # The other environment ends its episodes itself in the step of the limit.
    factory = EnvironmentFactory(f"evaluation_envs:{env}", max_episode_steps=10)
    _, reports = write(tmp_path, SlotLimits(num_episodes=dict.fromkeys(range(NUM_SLOTS), 3)), factory)
    episodes = list(read_episodes(tmp_path))
    assert [len(steps["reward"]) for steps in episodes] == [10] * 3 * NUM_SLOTS
    assert sum(bool(steps["truncated"][-1]) for steps in episodes) == num_cut
    assert sum(steps["discount"][-1] == 1.0 for steps in episodes) == num_cut
    assert not any(steps["cut"].any() for steps in episodes)
    assert sum(report.num_cut for report in reports) == num_cut


def test_reports_tell_how_long_no_episode_has_ended(tmp_path: Path) -> None:
    limits = SlotLimits(num_episodes={0: 1, 1: 1})
    collector = make(tmp_path, limits, EnvironmentFactory("evaluation_envs:Endless"), range(2))
    assert [collector.collect().steps_without_end for _ in range(3)] == [16, 32, 48]
    collector.close()
    ending = make(tmp_path, limits, EnvironmentFactory("evaluation_envs:Base"), range(2), index=1)
    assert ending.collect().steps_without_end == 0
    ending.close()


def test_a_finished_collector_collects_nothing_more(tmp_path: Path) -> None:
    limits = SlotLimits(next_steps={0: 5, 1: 5})
    collector = make(tmp_path, limits, EnvironmentFactory("CartPole-v1", "sync"), range(2))
    assert collector.collect().finished
    again = collector.collect()
    assert again == DatasetReport(0, 0, [], [], [], 0.0, 0.0, 0.0, 0, [], True)
    [record] = collector.flush()
    assert record.num_rows == 10
    collector.close()


def test_what_was_not_flushed_is_no_file_of_the_dataset(tmp_path: Path) -> None:
    env = EnvironmentFactory("CartPole-v1", "sync")
    collector = make(tmp_path, SlotLimits(), env, range(2), rows_per_shard=10**6)
    assert not collector.collect().shards
    collector.close()
    assert not list(tmp_path.glob("*.parquet"))
    with pytest.raises(DistPolicyError, match="is closed"):
        collector.flush()


def test_what_a_dead_collector_has_left_is_removed_and_nothing_of_the_others(tmp_path: Path) -> None:
    manifest, _ = write(tmp_path, SlotLimits(next_steps=dict.fromkeys(range(NUM_SLOTS), 20)), CARTPOLE, 2)
    dead, others = (
        "generation0-collector1",
        ("generation0-collector0", "generation0-collector11", "generation1-collector1"),
    )
    for name in (dead, *others):
        stacks_file(tmp_path, name).touch()
        for file in (f"{name}-000009.parquet", f".{name}-000010.parquet.partial"):
            (tmp_path / file).touch()
    whole = {shard.file for shard in manifest.shards}
    assert any(file.startswith(dead) for file in whole)
    remove_unnamed(tmp_path, manifest, dead)
    left = {path.name for path in tmp_path.iterdir()}
    assert whole < left
    assert not any(dead + "-" in file or dead + "." in file for file in left - whole)
    assert len(left - whole) == 3 * len(others) + len(("_manifest.json", "_shards.jsonl"))
    prepare_resume(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"_manifest.json", "_shards.jsonl", *whole}


def test_a_resumed_collector_goes_on_where_each_slot_stopped(tmp_path: Path) -> None:
    env = EnvironmentFactory("CartPole-v1", "sync")
    first = {slot: 20 + slot for slot in range(NUM_SLOTS)}
    manifest, _ = write(tmp_path, SlotLimits(next_steps=first), env)
    last = dict.fromkeys(range(NUM_SLOTS), 60)
    collector = make(
        tmp_path,
        SlotLimits(next_steps=last),
        env,
        range(NUM_SLOTS),
        generation=1,
        next_steps=dict(enumerate(first.values())),
    )
    _, records = run(collector)
    collector.close()
    manifest.with_generation(1.0, 1).with_shards(records).save(tmp_path)
    assert verify(tmp_path).num_rows == 60 * NUM_SLOTS
    steps = steps_of(tmp_path)
    assert np.array_equal(steps["step"].reshape(NUM_SLOTS, 60), np.tile(np.arange(60), (NUM_SLOTS, 1)))
    for slot, next_step in first.items():
        of_slot = {name: steps[name][steps["slot"] == slot] for name in ("step_type", "next_step_type", "cut")}
        assert of_slot["step_type"][next_step] == StepType.FIRST
        assert of_slot["cut"][next_step - 1] == (of_slot["next_step_type"][next_step - 1] != StepType.LAST)
        assert np.count_nonzero(of_slot["cut"]) <= 1


def test_an_env_that_fails_is_cut_in_the_data_and_told_in_the_report(tmp_path: Path) -> None:
    env = EnvironmentFactory(FAULTY, "sync", {"fault": "step", "probability": 0.02, "length": 6})
    _, reports = write(tmp_path, SlotLimits(next_steps=dict.fromkeys(range(NUM_SLOTS), 60)), env, num_collectors=2)
    faults = [fault for report in reports for fault in report.faults]
    assert {fault.slot // 4 for fault in faults} == {0, 1}  # of both collectors, by their numbers over the whole run
    assert all("the simulator is gone" in fault.error for fault in faults)
    steps = steps_of(tmp_path)
    cut = steps["cut"]
    assert 0 < np.count_nonzero(cut) <= len(faults)
    assert set(steps["slot"][cut].tolist()) <= {fault.slot for fault in faults}
    assert np.all(steps["truncated"][cut])
    assert np.all(steps["next_step_type"][cut] == StepType.LAST)
    for episode in read_episodes(tmp_path):
        assert not episode["cut"][:-1].any()
        assert len(episode["cut"]) <= 8


def test_episodes_that_a_fault_cut_are_not_among_those_that_are_asked_for(tmp_path: Path) -> None:
    env = EnvironmentFactory(FAULTY, "sync", {"fault": "step", "probability": 0.02, "length": 6})
    limits = SlotLimits(num_episodes=dict.fromkeys(range(NUM_SLOTS), 10))
    _, reports = write(tmp_path, limits, env)
    assert any(report.faults for report in reports)
    whole = [steps for steps in read_episodes(tmp_path, only_ended=True) if not steps["cut"][-1]]
    assert len(whole) == sum(len(report.episode_returns) for report in reports) == 10 * NUM_SLOTS


@pytest.mark.parametrize("kind", ["dict", "tuple", "multi_discrete", "nested", "image", "float64"])
def test_every_kind_of_space_comes_back_with_its_dtypes(tmp_path: Path, kind: str) -> None:
    env = EnvironmentFactory("toy_envs:EverySpaceEnv", "sync", {"kind": kind})
    write(tmp_path, SlotLimits(num_episodes=dict.fromkeys(range(NUM_SLOTS), 2)), env)
    space = EVERY_SPACE[kind]
    schema = DatasetManifest.load(tmp_path).schema
    for episode in read_episodes(tmp_path):
        assert len(episode["reward"]) == 3
        for spec, leaves in (
            (schema.time_step_spec.observation, episode["observation"]),
            (schema.action_spec, episode["action"]),
        ):
            same = map_structure(lambda s, leaf: (leaf.dtype, leaf.shape[1:]) == (s.dtype, s.shape), spec, leaves)
            assert np.all(np.array(list(_leaves(same))))
            for t in range(3):
                assert space.contains(map_structure(lambda leaf, t=t: leaf[t], leaves))


def _leaves(nest: Any) -> list[Any]:
    children = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, tuple | list) else None
    return [nest] if children is None else [leaf for child in children for leaf in _leaves(child)]


def test_infos_of_the_policy_are_in_the_data(tmp_path: Path) -> None:
    env = EnvironmentFactory("toy_envs:StreamEnv", "sync")
    write(tmp_path, SlotLimits(next_steps=dict.fromkeys(range(NUM_SLOTS), 20)), env, policy=scripted_pair)
    steps = steps_of(tmp_path)
    assert np.array_equal(steps["policy_info"]["step_type"], steps["step_type"])


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write into"):
        make(tmp_path / "file" / "data", SlotLimits(), EnvironmentFactory("CartPole-v1", "sync"), range(1))


def test_a_description_says_how_slots_are_stepped_and_what_acts(tmp_path: Path) -> None:
    for vectorization, policy, told in (
        ("sync", PolicySource("random"), "numpy"),
        ("auto", PolicySource("fixed:1", "tf"), "numpy"),
    ):
        env = EnvironmentFactory("CartPole-v1", vectorization)  # type: ignore[arg-type]
        collector = make(tmp_path / vectorization, SlotLimits(), env, range(1), policy=policy)
        description = collector.describe()
        assert description.vectorization == env.describe()
        assert description.inference.startswith(told)
        assert description.schema.action_spec.dtype == np.int64
        collector.close()
