"""`distpolicy collect` when collectors hang or die, and when the disk is full."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from collect_runs import (
    QUICK,
    TOYS,
    check_cuts,
    check_one_line,
    check_returns_told,
    check_tidy,
    check_whole,
    collect,
    collected,
    collected_here,
    collector_processes,
    disturbed,
    paced,
    rows_in_bytes,
    toys_importable,
)
from commands import no_process_left, our_processes  # noqa: F401

from distpolicy.errors import EnvironmentCrashedError
from launch.collection.run import CollectionRun
from launch.config.collect import CollectConfig
from workers.collection.seeding import slot_seeds
from workers.datasets.episode_index import SlotLimits
from workers.datasets.manifest import DatasetManifest, verify
from workers.datasets.reader import read_episodes
from workers.environments.factory import EnvironmentFactory
from workers.restart_budget import RestartBudgetConfig


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_collector_that_is_killed_is_replaced_and_every_step_is_there_once(tmp_path: Path) -> None:
    folder, num_steps, let_go = tmp_path / "data", 60_000, tmp_path / "let_go"

    def kill_one(process: subprocess.Popen[str]) -> None:
        os.kill(collector_processes()[0], signal.SIGKILL)
        let_go.touch()

    job = ("--out", "data", "--steps", str(num_steps), "--rows-per-shard", "500", "--collectors", "2", *QUICK)
    job += paced(let_go)
    code, output, errors = disturbed(folder, kill_one, *job)
    assert code == 0, output + errors
    assert not errors
    found = re.search(
        r"collector (\d) \(env slots (\d) to (\d)\) was lost: .* \(seed 0, generation 0\); .*; replaced, ", output
    )
    assert found, output
    index, first, last = (int(text) for text in found.groups())
    assert (first, last) == (2 * index, 2 * index + 1)
    manifest = check_whole(folder, num_steps)
    assert manifest.finished
    assert manifest.next_steps() == (num_steps // 4,) * 4
    assert [generation.seed_generation for generation in manifest.generations] == [0, 1]
    anew = [slot for slot, step in enumerate(manifest.generations[1].next_steps) if step >= 0]
    assert anew == [first, last]
    check_cuts(folder, manifest)
    check_tidy(folder)
    # Nothing that was lost is counted, and what came in its place is.
    assert f"steps {num_steps:,}/{num_steps:,} ·" in output
    check_returns_told(folder, output)
    noted = (folder / "_faults" / f"generation0-collector{index}.txt").read_text()
    assert noted.startswith(f"collector {index} (env slots {first} to {last}) was lost: its process was killed")
    others = range(2) if index == 1 else range(2, 4)
    limits = SlotLimits(next_steps=dict.fromkeys(others, num_steps // 4))
    collected_here(tmp_path / "undisturbed", EnvironmentFactory("CartPole-v1", "sync"), others, limits)
    assert rows_in_bytes(folder, others) == rows_in_bytes(tmp_path / "undisturbed")


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize(
    "num_signals", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_an_interrupt_does_not_wait_for_a_collector_that_is_stopped(num_signals: int, tmp_path: Path) -> None:
    began = 0.0

    def stop_one_and_interrupt(process: subprocess.Popen[str]) -> None:
        nonlocal began
        os.kill(collector_processes()[0], signal.SIGSTOP)
        for _ in range(num_signals):
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            time.sleep(1.0)

    job = ("--out", "data", "--steps", "100000000", "--rows-per-shard", "32", "--collectors", "2", *QUICK)
    code, output, errors = disturbed(tmp_path / "data", stop_one_and_interrupt, *job)
    took_s = time.monotonic() - began
    assert code == 128 + signal.SIGINT, output + errors
    assert not errors
    assert took_s < 10.0
    assert "steps are whole; go on with: distpolicy collect --resume data" in output
    if num_signals == 1:
        assert re.search(r"was lost: no answer in \d+ s .*what it had not made whole is lost", output), output
        check_tidy(tmp_path / "data")
    else:
        assert "was lost" not in output, "it has not waited for the collector until the end"
    assert verify(tmp_path / "data").num_rows > 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_an_interrupt_does_not_wait_for_long_rollouts(tmp_path: Path) -> None:
    began = 0.0

    def interrupt(process: subprocess.Popen[str]) -> None:
        nonlocal began
        began = time.monotonic()
        process.send_signal(signal.SIGINT)

    # A rollout takes 6 s.
    sizes = ("--num-envs", "4", "--vectorization", "sync", "--rollout-steps", "300", "--collectors", "1")
    job = ("--out", "data", "--steps", "100000000", "--rows-per-shard", "32", *sizes, *paced(tmp_path / "never"))
    code, output, errors = disturbed(tmp_path / "data", interrupt, *job)
    assert time.monotonic() - began < 10.0
    assert code == 128 + signal.SIGINT, output + errors
    assert not errors
    assert "steps are whole; go on with: distpolicy collect --resume data" in output
    assert verify(tmp_path / "data").num_rows > 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_collector_that_is_stopped_is_noticed_from_outside_and_replaced(tmp_path: Path) -> None:
    folder, let_go = tmp_path / "data", tmp_path / "let_go"

    def stop_one(process: subprocess.Popen[str]) -> None:
        os.kill(collector_processes()[0], signal.SIGSTOP)
        let_go.touch()

    job = ("--out", "data", "--steps", "20000", "--rows-per-shard", "500", "--collectors", "2", *QUICK)
    code, output, errors = disturbed(folder, stop_one, *job, *paced(let_go), "--step-timeout-s", "3")
    assert code == 0, output + errors
    assert re.search(r"collector \d .* was lost: was stopped \(SIGSTOP\) for more than 3 s .*; replaced, ", output), (
        output
    )
    check_whole(folder, 20_000)
    check_tidy(folder)


def name_of(process: Path) -> str:
    """Returns the first word of a process's command line, from its folder in ``/proc``; empty once it has ended."""
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes().decode().split("\0")[0]
    return ""


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize(
    ("program", "name"),
    [
        pytest.param("raylet", "raylet", marks=pytest.mark.slow),
        pytest.param("gcs_server", "GCS", marks=pytest.mark.slow),
        pytest.param("ray::Runtime", "raylet", marks=pytest.mark.slow),
    ],
)
def test_a_ray_of_its_own_that_ends_ends_the_job_in_one_line_and_resume_goes_on(
    program: str, name: str, tmp_path: Path
) -> None:
    def kill(process: subprocess.Popen[str]) -> None:
        # Ray's agents take their names a while after they have been started.
        deadline = time.monotonic() + 120.0
        while not (found := [folder for folder in our_processes() if program in name_of(folder)]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for folder in found:
            os.kill(int(folder.name), signal.SIGKILL)

    job = ("--out", "data", "--steps", "100000000", "--rows-per-shard", "500", "--collectors", "1", *QUICK)
    code, output, errors = disturbed(tmp_path / "data", kill, *job)
    assert code == 1, output + errors
    assert re.fullmatch(rf"distpolicy: error: the {name} of the Ray .* continue it with --resume\n", errors), errors
    num_rows = verify(tmp_path / "data").num_rows
    target = 4 * (num_rows // 4 + 1000)
    collected("--resume", "data", "--steps", str(target), cwd=tmp_path)
    check_whole(tmp_path / "data", target)


def hanging_slot(slot: int) -> dict[str, str | int]:
    """Arguments of an env that hangs in its 40th step in one slot, and not in its replacement."""
    [seed] = slot_seeds(0, slot, 1, generation=0).environment
    return {"fault": "hang", "after": 40, "seed": seed}


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_collector_in_which_an_env_hangs_is_replaced_and_every_episode_is_there_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    arguments = [str(part) for pair in hanging_slot(2).items() for part in pair]
    env = ("--env", "toy_envs:FaultyEnv", "--env-kwargs", *arguments, "--step-timeout-s", "4")
    output = collected(
        *env, *QUICK, "--collectors", "2", "--episodes", "160", "--rows-per-shard", "50", "--out", "data", cwd=tmp_path
    )
    [told] = [line for line in output.splitlines() if "hung in" in line]
    found = re.match(r"collector 1 \(env slots 2 to 3\) was lost: hung in step (\d+): toy_envs:FaultyEnv ", told)
    assert found, told
    assert 40 <= int(found[1]) <= 60  # the steps that only reset count too
    assert "took more than 4 s (step_timeout_s) (seed 0, generation 0); see data/_faults/generation0-col" in told
    assert "see data/_faults/generation0-collector1.txt; replaced, " in told
    assert "in simulate_for_ever" in (folder / "_faults" / "generation0-collector1.txt").read_text()
    manifest = check_whole(folder, verify(folder).num_rows)
    ended = [episode for episode in read_episodes(folder, only_ended=True) if not episode["cut"][-1]]
    assert sorted(int(episode["slot"][0]) for episode in ended) == sorted(list(range(4)) * 40)
    assert "episodes 160/160 ·" in output
    check_returns_told(folder, output)
    assert manifest.generations[1].next_steps[:2] == (-1, -1)
    check_tidy(folder)
    others = range(2)
    factory = EnvironmentFactory("toy_envs:FaultyEnv", "sync", hanging_slot(2))
    limits = SlotLimits(num_episodes=dict.fromkeys(others, 40))
    collected_here(tmp_path / "undisturbed", factory, others, limits)
    assert rows_in_bytes(folder, others) == rows_in_bytes(tmp_path / "undisturbed")


@dataclasses.dataclass(frozen=True)
class OneReplacement(CollectConfig):
    """A job with a restart budget of one."""

    @property
    def environment_factory(self) -> EnvironmentFactory:
        return dataclasses.replace(super().environment_factory, restarts=RestartBudgetConfig(max_restarts=1))


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_collector_that_hangs_too_often_ends_the_job_with_its_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", TOYS, prepend=os.pathsep)
    config = OneReplacement(
        env="toy_envs:FaultyEnv",
        env_kwargs={"fault": "hang", "after": 120},
        vectorization="sync",
        steps=4000,
        collectors=1,
        num_envs=2,
        rollout_steps=16,
        rows_per_shard=32,
        step_timeout_s=4.0,
    )
    with toys_importable(), pytest.raises(EnvironmentCrashedError) as error:
        CollectionRun(config, tmp_path / "data").run()
    told = "collector 0 (env slots 0 to 1) was lost 2 times within 10,000 steps; the last time: hung in step"
    assert str(error.value).startswith(told)
    assert "(seed 0, generation 1)" in str(error.value)
    assert "in simulate_for_ever" in error.value.traceback
    manifest = check_whole(tmp_path / "data", verify(tmp_path / "data").num_rows)
    assert manifest.num_rows > 0
    assert not manifest.finished


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_full_disk_ends_the_job_in_one_line_and_resume_goes_on_once_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    folder = small_disk / "data"
    job = ("--steps", "400000", "--rows-per-shard", "1000", "--collectors", "2", *QUICK, "--out", str(folder))
    check_one_line(collect(*job, cwd=tmp_path), "No space left on device", code=1)
    manifest = check_whole(folder, DatasetManifest.load(folder).num_rows)
    assert manifest.num_rows > 5000
    assert not manifest.finished
    check_one_line(collect("--resume", str(folder), cwd=tmp_path), "No space left on device", code=1)
    assert verify(folder).num_rows >= manifest.num_rows

    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    target = 4 * (max(verify(folder).next_steps()) + 1000)
    collected("--resume", str(folder), "--steps", str(target), cwd=tmp_path)
    assert check_whole(folder, target).finished
    check_tidy(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_programs_that_an_environment_started_end_with_a_killed_collector(tmp_path: Path) -> None:
    programs: list[psutil.Process] = []

    def kill_and_interrupt(process: subprocess.Popen[str]) -> None:
        (collector,) = collector_processes()
        programs.extend(psutil.Process(collector).children(recursive=True))
        os.kill(collector, signal.SIGKILL)
        psutil.wait_procs(programs, timeout=30.0)
        process.send_signal(signal.SIGINT)

    job = (
        "--out",
        "data",
        "--env",
        "toy_envs:ProgramEnv",
        "--env-kwargs",
        "new_session=true",
        "--steps",
        "1G",
        "--rows-per-shard",
        "500",
    )
    disturbed(tmp_path / "data", kill_and_interrupt, *job, "--collectors", "1", "--num-envs", "2")
    assert len(programs) >= 2
    assert not any(program.is_running() and program.status() != psutil.STATUS_ZOMBIE for program in programs)
