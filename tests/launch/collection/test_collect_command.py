"""`distpolicy collect` as a user runs it: as a subprocess, on a Ray of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from collect_runs import (
    ONE,
    QUICK,
    check_cuts,
    check_one_line,
    check_returns_told,
    check_tidy,
    check_whole,
    collect,
    collected,
    end_when_some_is_whole,
    num_shards,
    paced,
    rows_in_bytes,
    sorted_steps,
    toys_importable,
)
from commands import distpolicy, no_process_left, our_processes  # noqa: F401

from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten, map_structure
from launch.config.common import counted
from workers.datasets.manifest import verify
from workers.datasets.reader import read_episodes


@pytest.mark.usefixtures("no_process_left")
def test_collect_gives_the_steps_asked_for_and_the_same_bytes_from_one_and_two_collectors(tmp_path: Path) -> None:
    for name, num_collectors in (("one", "1"), ("two", "2")):
        output = collected(
            *QUICK, "--collectors", num_collectors, "--policy", "random", "--steps", "1003", "--out", name, cwd=tmp_path
        )
        assert f"CartPole-v1: {counted(int(num_collectors), 'collector')}, 4 envs, sync (as asked for)" in output
        assert "policy random, inference by numpy" in output
        assert "1,003 steps" in output.splitlines()[-1]
        manifest = check_whole(tmp_path / name, 1003)
        assert manifest.next_steps() == (251, 251, 251, 250)
        assert manifest.finished
        check_tidy(tmp_path / name)
        assert (manifest.env_id, manifest.policy, manifest.seed) == ("CartPole-v1", "random", 0)
    assert rows_in_bytes(tmp_path / "one") == rows_in_bytes(tmp_path / "two")


@pytest.mark.slow
def test_collect_gives_the_episodes_asked_for_and_tells_their_returns_and_resume_adds_more(tmp_path: Path) -> None:
    output = collected(*QUICK, "--episodes", "11", "--out", "data", cwd=tmp_path)
    episodes = list(read_episodes(tmp_path / "data"))
    assert len(episodes) == 11
    assert all(episode["next_step_type"][-1] == StepType.LAST for episode in episodes)
    check_returns_told(tmp_path / "data", output)

    collected("--resume", "data", "--episodes", "18", cwd=tmp_path)
    manifest = check_whole(tmp_path / "data", sum(len(episode["t"]) for episode in read_episodes(tmp_path / "data")))
    assert len(list(read_episodes(tmp_path / "data", only_ended=True))) == manifest.num_episodes == 18
    slots = [int(episode["slot"][0]) for episode in read_episodes(tmp_path / "data")]
    assert np.bincount(slots).tolist() == [5, 5, 4, 4]


@pytest.mark.slow
def test_episodes_without_an_end_are_told_of_and_end_at_the_limit_of_steps_that_resume_may_give(tmp_path: Path) -> None:
    env = ("--env", "evaluation_envs:EndsWhereActionsVary", "--policy", "fixed:1")
    job = (*ONE, *env, "--episodes", "8", "--rollout-steps", "512", "--rows-per-shard", "20000", "--out", "data")
    code, output, errors = end_when_some_is_whole(tmp_path / "data", signal.SIGINT, *job)
    assert code == 128 + signal.SIGINT, output + errors
    [told] = [line for line in output.splitlines() if line.startswith("no episode has ended in the last 10,")]
    assert told.endswith("go on with: distpolicy collect --resume data --max-episode-steps N")

    output = collected("--resume", "data", "--max-episode-steps", "25", cwd=tmp_path)
    assert "8 episodes: mean return 25.0" in output
    assert "mean length 25.0; 8 ended at the limit of 25 steps" in output
    assert "no episode has ended" not in output
    episodes = list(read_episodes(tmp_path / "data", only_ended=True))
    assert [len(episode["t"]) for episode in episodes] == [25] * 8
    assert all(episode["truncated"][-1] and not episode["cut"].any() for episode in episodes)


@pytest.fixture
def killed_agents() -> Iterator[None]:
    """Ends what is left of a Ray whose driver was killed: its agents wait for ever, while its workers end."""
    yield
    for folder in our_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(folder.name), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("killed_agents")
def test_after_kill_9_of_the_driver_resume_reaches_the_target_without_gap_or_repetition(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    let_go = tmp_path / "let_go"
    job = ("--out", "data", "--steps", "12000", "--rows-per-shard", "100", "--collectors", "2", *QUICK)
    job += paced(let_go)
    code, _, _ = end_when_some_is_whole(folder, signal.SIGKILL, *job)
    assert code == -signal.SIGKILL
    named = verify(folder).shards
    assert len(named) >= 4
    assert 0 < sum(shard.num_rows for shard in named) < 12000
    let_go.touch()
    output = collected("--resume", "data", cwd=tmp_path)
    assert "generation 1" in output
    manifest = check_whole(folder, 12000)
    assert manifest.shards[: len(named)] == named
    assert manifest.next_steps() == (3000,) * 4
    check_tidy(folder)
    assert manifest.finished
    check_cuts(folder, manifest)


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_ctrl_c_and_sigterm_leave_all_that_was_collected_whole_and_resume_completes_and_adds(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    job = ("--out", "data", "--steps", "100000000", "--rows-per-shard", "32", "--collectors", "2", *QUICK)
    for number, arguments in ((signal.SIGINT, job), (signal.SIGTERM, ("--resume", "data"))):
        before = verify(folder).shards if folder.exists() else ()
        code, output, errors = end_when_some_is_whole(folder, number, *arguments)
        assert code == 128 + number, output + errors
        assert "Traceback" not in output + errors
        assert "steps are whole; go on with: distpolicy collect --resume data" in output
        manifest = verify(folder)
        assert f"\n{manifest.num_rows:,} steps are whole" in output
        assert not manifest.finished
        assert manifest.shards[: len(before)] == before
        # Every rollout that was collected, and not shards that happened to be full.
        check_tidy(folder)
        check_whole(folder, manifest.num_rows)

    target = 4 * (max(manifest.next_steps()) + 50)
    collected("--resume", "data", "--steps", str(target), cwd=tmp_path)
    assert check_whole(folder, target).finished
    check_one_line(collect("--resume", "data", cwd=tmp_path), "data is complete")
    assert verify(folder).finished
    collected("--resume", "data", "--steps", str(target + 100), cwd=tmp_path)
    manifest = check_whole(folder, target + 100)
    assert [generation.seed_generation for generation in manifest.generations] == [0, 1, 2, 3]
    check_cuts(folder, manifest)


@pytest.mark.slow
def test_a_fixed_policy_takes_only_its_action(tmp_path: Path) -> None:
    collected(*ONE, "--policy", "fixed:1", "--steps", "200", "--out", "data", cwd=tmp_path)
    steps = sorted_steps(tmp_path / "data")
    assert len(steps["action"]) == 200
    assert set(steps["action"].tolist()) == {1}


@pytest.mark.slow
def test_a_saved_policy_collects_with_its_log_probabilities_and_only_for_its_observations(tmp_path: Path) -> None:
    save_cartpole_policy(tmp_path / "policy")
    output = collected(*ONE, "--policy", "policy", "--steps", "400", "--out", "data", cwd=tmp_path)
    assert "policy policy, inference by " in output
    steps = sorted_steps(tmp_path / "data")
    log_probability = steps["policy_info"].log_probability
    assert log_probability.dtype == np.float32
    assert np.all(log_probability < 0)
    assert set(steps["action"].tolist()) == {0, 1}

    other = ("--env", "Acrobot-v1", "--policy", "policy", "--steps", "10")
    result = collect(*ONE, *other, "--out", "other", cwd=tmp_path)
    check_one_line(result, "its observations are float32 with shape (4,), the env's are float32 with shape (6,)")
    assert num_shards(tmp_path / "other") == 0


def save_cartpole_policy(folder: Path) -> None:
    from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
    from distpolicy.policies.actor_policy import ActorPolicy
    from distpolicy.policies.policy_saver import PolicySaver
    from workers.environments.factory import EnvironmentFactory

    env = EnvironmentFactory("CartPole-v1", "sync")(1)
    network = ActorDistributionNetwork(env.time_step_spec.observation, env.action_spec, fc_layer_params=(4,))
    PolicySaver(ActorPolicy(env.time_step_spec, env.action_spec, network, emit_log_probability=True)).save(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_an_env_that_crashes_by_chance_is_told_and_flagged_and_the_job_finishes(tmp_path: Path) -> None:
    env = ("--env", "toy_envs:FaultyEnv", "--env-kwargs", "fault", "step", "probability", "0.01", "length", "9")
    output = collected(*QUICK, *env, "--steps", "1200", "--out", "data", cwd=tmp_path)
    told = [line for line in output.splitlines() if "failed in step and was replaced" in line]
    assert told
    assert all("the simulator is gone" in line for line in told)
    check_whole(tmp_path / "data", 1200)
    steps = sorted_steps(tmp_path / "data")
    cut = steps["cut"]
    assert 0 < np.count_nonzero(cut) <= len(told)
    assert np.all(steps["truncated"][cut])
    named = {int(line.split("env slot ")[1].split()[0]) for line in told}
    assert set(steps["slot"][cut].tolist()) <= named <= set(range(4))


@pytest.mark.slow
def test_dict_tuple_and_multi_discrete_spaces_are_collected_and_read_again(tmp_path: Path) -> None:
    env = ("--env", "toy_envs:EverySpaceEnv", "--env-kwargs", "kind", "nested")
    collected(*ONE, *env, "--episodes", "8", "--out", "data", cwd=tmp_path)
    with toys_importable():
        from toy_envs import EVERY_SPACE
    space = EVERY_SPACE["nested"]
    episodes = list(read_episodes(tmp_path / "data"))
    assert len(episodes) == 8
    for episode in episodes:
        for name in ("observation", "next_observation", "action"):
            for t in range(3):
                assert space.contains(map_structure(lambda leaf, t=t: leaf[t], episode[name])), name
        for before, after in zip(flatten(episode["next_observation"]), flatten(episode["observation"]), strict=True):
            assert np.array_equal(before[:-1], after[1:])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--out", "new"), "give --steps or --episodes"),
        (("--steps", "5"), "give either --out for a new dataset or --resume"),
        (("--steps", "5", "--episodes", "5", "--out", "new"), "--steps and --episodes exclude each other"),
        (("--steps", "5", "--out", "taken"), "taken exists: choose another --out"),
        # Before the policy and the environment are looked at, which takes longer.
        (
            ("--steps", "5", "--out", "taken", "--policy", "best", "--env", "Nope-v0"),
            "taken exists: choose another --out",
        ),
        (("--steps", "5", "--out", "taken/file"), "taken/file exists: choose another --out"),
        (("--steps", "5", "--out", "taken/file/data"), "cannot write into taken/file/data"),
        (("--steps", "5", "--out", "taken/file/data", "--address", "127.0.0.1:1"), "taken/file: Not a directory"),
        (("--steps", "5", "--out", "/proc/data"), "cannot write into /proc/data: /proc: No such file"),
        (("--steps", "5", "--out", "new", "--policy", "fixed:7"), "outside [0, 1]"),
        (("--steps", "5", "--out", "new", "--policy", "best"), "policy 'best': give random, fixed:VALUE"),
        (("--steps", "5", "--out", "new", "--env", "Nope-v0"), "unknown env 'Nope-v0'"),
        (("--steps", "5", "--out", "new", "--collectors", "1000"), "num_envs must be 1000 or more"),
        (("--steps", "many", "--out", "new"), "--steps"),
        (("--steps", "5", "--out", "new", "--no-such-option"), "no-such-option"),
        (("--resume", "nowhere"), "nowhere"),
        (("--resume", "taken", "--steps", "5"), "taken"),
    ],
)
def test_bad_input_to_collect_ends_with_one_line_and_code_2(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    result = collect(*arguments, cwd=tmp_path)
    check_one_line(result, told)
    assert not result.stdout
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"taken", "taken/file"}


def test_an_unknown_command_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    check_one_line(
        distpolicy("gather", cwd=tmp_path), "unknown command 'gather'; there are train, tune, collect, evaluate"
    )


def test_help_of_collect_lists_its_options(tmp_path: Path) -> None:
    result = collect("--help", cwd=tmp_path)
    assert result.returncode == 0
    for option in ("--out", "--resume", "--policy", "--episodes", "--vectorization", "--rows-per-shard"):
        assert option in result.stdout
