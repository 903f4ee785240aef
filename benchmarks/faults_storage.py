"""Faults of what is stored: kills while a checkpoint is written, damaged checkpoints, full memory and disks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from faults_run import (
    ROOT,
    Result,
    Settings,
    Skipped,
    cluster_head,
    ended_in_one_line,
    ended_well,
    newest,
    no_process_left_s,
    recoveries,
    resumed,
    seconds,
    steps_lost,
)
from training_runs import BATCH_STEPS, ONE, TWO, WITHIN_A_RUN, TrainingRun, check_accounts, faults

STORE_BYTES = 80_000_000


def killed_while_a_checkpoint_is_written(settings: Settings, folder: Path) -> Result:
    script = [sys.executable, str(ROOT / "tests" / "launch" / "killed_saves.py")]
    command = [*script, str(folder / "checkpoints"), json.dumps([4]), "5", "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if "Operation not permitted" in done.stderr:
        raise Skipped("this machine does not permit ptrace")
    assert done.returncode == 0, done.stderr
    saves = [json.loads(line) for line in done.stdout.splitlines()]
    found = [item["found"] for item in saves]
    old, new = found.count(4.0), found.count(99.0)
    assert old + new == len(saves), found
    assert found == [4.0] * old + [99.0] * new
    checked = f"{len(saves) - 1} kills, one at each system call: {old} times the old one whole, {new} times the new one"
    return Result(0, "-", checked)


def checkpoint_truncated(settings: Settings, folder: Path) -> Result:
    return _damaged(folder, lambda data: data[: len(data) // 2])


def checkpoint_bit_flipped(settings: Settings, folder: Path) -> Result:
    middle = 1000
    return _damaged(folder, lambda data: data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])


def _damaged(folder: Path, damage: Callable[[bytes], bytes]) -> Result:
    run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, "--total-steps", str(20 * BATCH_STEPS), *_quick())
    ended_well(run)
    before = newest(run.path)
    damaged = before.path / "policy.npz"
    damaged.write_bytes(damage(damaged.read_bytes()))
    good = newest(run.path)
    steps = before.totals.env_steps + 10 * BATCH_STEPS
    run, took_s = resumed(folder, "--total-steps", str(steps))
    ended_well(run)
    named = f"run/{damaged.relative_to(run.path)} is missing or damaged: going on from run/checkpoints/{good.path.name}"
    assert named in run.output, run.output
    num = check_accounts(run.path, BATCH_STEPS)
    lost = before.totals.env_steps - good.totals.env_steps
    checked = f"refused by name, goes on from the one before; {num} updates in order"
    return Result(lost, f"{took_s:.1f} s from --resume to the first step", checked)


def object_store_full(settings: Settings, folder: Path) -> Result:
    with cluster_head(folder, f"--object-store-memory={STORE_BYTES}") as (head, variables):
        env = ("--env", "faults_env:BulkyEnv", "--vectorization", "sync", "--eval-episodes", "0")
        options = ("--total-steps", str(12 * BATCH_STEPS), "--address", head.address)
        run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, *env, *options, **variables)
        ended_well(run)
        spilled = _spilled(head.temporary)
    num = check_accounts(run.path, BATCH_STEPS)
    assert spilled, "nothing was spilled"
    rows = faults(run.path)
    size = f"rollouts of 27 MB in a store of {STORE_BYTES // 10**6} MB"
    return Result(steps_lost(rows), seconds(recoveries(rows)), f"{size}: spilled {spilled} MiB; {num} updates in order")


def _spilled(temporary: Path) -> int:
    """MiB that Ray's log tells of as spilled."""
    found = [0]
    for log in temporary.glob("ray/session_*/logs/raylet.out"):
        found += [int(number) for number in re.findall(r"Spilled (\d+) MiB", log.read_text())]
    return max(found)


def disk_full(settings: Settings, folder: Path) -> Result:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise Skipped("only root can mount a small file system")
    try:
        large = ("--network.actor-units", "128", "128", "--checkpoint-every", "2", "--keep-checkpoints", "3")
        quick = (*_quick(), "--total-steps", "100000000")
        run = TrainingRun(folder, *ONE, *large, *quick, "--run-dir", str(disk / "run"))
        line = ended_in_one_line(run, "No space left on device")
        no_process_left_s()
        found = newest(disk / "run")
        assert not found.refused
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        steps = found.totals.env_steps + 10 * BATCH_STEPS
        again = TrainingRun(folder, "--resume", str(disk / "run"), "--total-steps", str(steps))
        ended_well(again)
        num = check_accounts(disk / "run", BATCH_STEPS // 2)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    told = re.sub(r"write .*/", "write ", line).removeprefix("distpolicy: error: ")
    return Result(None, "-", f"one line ({told}); all checkpoints whole; --resume once there is room: {num} updates")


def _quick() -> tuple[str, ...]:
    return ("--vectorization", "sync", "--eval-episodes", "0")
