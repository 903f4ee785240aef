from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.errors import ConfigError
from launch.config.codec import dump
from launch.config.collect import CollectConfig, load_collect_config

CUSTOM = CollectConfig(
    env="Pendulum-v1",
    policy="fixed:[0.5]",
    episodes=7,
    env_kwargs={"g": 9.81, "flag": True},
    wrappers=('gymnasium.wrappers.TimeLimit{"max_episode_steps": 9}',),
    vectorization="async",
    collectors=1,
    num_envs=3,
    compression="none",
    step_timeout_s=2.5,
    max_episode_steps=50,
)


@given(total=st.integers(1, 10_000), slots=st.integers(1, 70))
def test_shares_of_slots_sum_to_the_total_and_differ_by_one_at_most(total: int, slots: int) -> None:
    quotas = CollectConfig(collectors=1, num_envs=slots).quotas(total)
    assert list(quotas) == list(range(slots))
    assert sum(quotas.values()) == total
    assert max(quotas.values()) - min(quotas.values()) <= 1
    assert sorted(quotas.values(), reverse=True) == list(quotas.values())


@given(fewer=st.integers(1, 5_000), more=st.integers(0, 5_000), slots=st.integers(1, 70))
def test_no_slots_share_shrinks_when_the_total_grows(fewer: int, more: int, slots: int) -> None:
    config = CollectConfig(collectors=1, num_envs=slots)
    before, after = config.quotas(fewer), config.quotas(fewer + more)
    assert all(after[slot] >= before[slot] for slot in before)


@pytest.mark.parametrize("config", [CollectConfig(), CUSTOM], ids=["default", "custom"])
def test_a_collect_config_survives_being_written_and_read(config: CollectConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump(config))
    assert load_collect_config(path) == config


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"collectors": 0}, "collectors must be 1 or more, but is 0"),
        ({"num_envs": 1, "collectors": 2}, "num_envs must be 2 or more"),
        (
            {"num_envs": 3, "collectors": 2, "env_groups": 2},
            "2 collectors need two environments each: num_envs must be 4 or more, but is 3",
        ),
        ({"env_groups": 3}, "env_groups must be 1 or 2, but is 3"),
        ({"rollout_steps": 0}, "rollout_steps must be 1 or more"),
        ({"rows_per_shard": 0}, "rows_per_shard must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"server_gpus": 1.0}, "server_gpus is for inference server: set that, or leave server_gpus at 0"),
        ({"server_window_ms": math.nan, "inference": "server"}, "server_window_ms must be a number of 0 or more"),
        ({"timeout_s": 0.0}, "timeout_s must be above 0"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"episodes": -3}, "episodes must be 1 or more"),
        ({"max_episode_steps": 0}, "max_episode_steps must be 1 or more"),
        ({"steps": 5, "episodes": 5}, "exclude each other"),
    ],
)
def test_a_collect_setting_that_cannot_work_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CollectConfig(**values)


def test_settings_of_envs_reach_the_environment_factory() -> None:
    factory = CUSTOM.environment_factory
    assert (factory.env_id, factory.vectorization, factory.kwargs) == ("Pendulum-v1", "async", CUSTOM.env_kwargs)
    assert (factory.step_timeout_s, factory.max_episode_steps) == (2.5, 50)
    [wrapper] = factory.wrappers
    assert dataclasses.asdict(wrapper)["kwargs"] == {"max_episode_steps": 9}  # type: ignore[arg-type]


def test_a_job_of_an_earlier_version_is_told_what_to_rename(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("slots: 4\nsteps: 10\n")
    with pytest.raises(ConfigError, match="rename slots to num_envs and slot_groups to env_groups there"):
        load_collect_config(path)


@pytest.mark.parametrize("seconds", [1e7, 1e12, math.inf])
def test_a_time_limit_that_no_clock_takes_is_cut_to_the_longest_one(seconds: float) -> None:
    config = CollectConfig(timeout_s=seconds, step_timeout_s=seconds)
    assert config.timeout_s == config.environment_factory.step_timeout_s == 2e6
