"""Faults of the driver: it is killed, or told to end."""

from __future__ import annotations

import re
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from commands import our_processes
from faults_run import (
    Result,
    Settings,
    cluster_head,
    ended_well,
    env_steps,
    gone_s,
    newest,
    no_process_left_s,
    no_worker_left_s,
    resumed,
    seconds,
)
from training_runs import (
    BATCH_STEPS,
    TWO,
    WITHIN_A_RUN,
    TrainingRun,
    check_accounts,
    command_of,
    kill,
    let_go,
    paced,
    workers_of,
)

EXIT_LIMIT_S = 10.0


def driver_killed(settings: Settings, folder: Path) -> Result:
    run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, *paced(folder))
    run.wait_for_updates(8)
    run.end(signal.SIGKILL)
    actors_s = no_worker_left_s()
    others_s = actors_s + no_process_left_s()
    return _resumed_after_kill(folder, f"actors gone after {actors_s:.1f} s, Ray's last process after {others_s:.0f} s")


def driver_killed_on_a_cluster(settings: Settings, folder: Path) -> Result:
    with cluster_head(folder) as (head, variables):
        address = ("--address", head.address)
        run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, *paced(folder), *address, **variables)
        run.wait_for_updates(8)
        # The head is not marked as ours, and neither are its workers.
        actors = [int(item.name) for item in Path("/proc").iterdir() if _is_actor(item, head.temporary)]
        run.end(signal.SIGKILL)
        left_s = gone_s(lambda: [pid for pid in actors if Path(f"/proc/{pid}").exists()])
        assert len(actors) == 3, actors
        return _resumed_after_kill(folder, f"its 3 actors gone after {left_s:.1f} s", *address, **variables)


def _is_actor(process: Path, temporary: Path) -> bool:
    """Whether a process is a worker of a run on the Ray whose temporary files are in a folder."""
    try:
        is_worker = re.match(rb"ray::(Collector|Learner)\b", command_of(process)) is not None
        return is_worker and f"RAY_TMPDIR={temporary}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False  # it has ended meanwhile, or is no process


def _resumed_after_kill(folder: Path, gone: str, *arguments: str, **variables: str) -> Result:
    found, reached = newest(folder / "run"), env_steps(folder / "run")
    steps = found.totals.env_steps + 20 * BATCH_STEPS
    let_go(folder)
    run, took_s = resumed(folder, "--total-steps", str(steps), *arguments, **variables)
    ended_well(run)
    num = check_accounts(run.path, BATCH_STEPS)
    lost = reached - found.totals.env_steps
    checked = f"{gone}; --resume goes on from update {found.totals.updates}; {num} updates in order"
    return Result(lost, f"{took_s:.1f} s from --resume to the first step", checked)


def ctrl_c(settings: Settings, folder: Path) -> Result:
    return _told_to_end(folder, signal.SIGINT)


def sigterm(settings: Settings, folder: Path) -> Result:
    return _told_to_end(folder, signal.SIGTERM)


def _told_to_end(folder: Path, signal_number: int) -> Result:
    """Sends a signal at six moments of a run: each time it ends in time, with its code, and nothing is left."""
    moments: dict[str, Callable[[TrainingRun], None]] = {
        "Ray starting": lambda run: run.wait_for(lambda: bool(_raylets())),
        "workers starting": lambda run: run.wait_for_line("collectors x"),
        "compiling": lambda run: run.wait_for(lambda: (run.path / "metrics.csv").exists()),
        "training": lambda run: run.wait_for_updates(8),
        "a collector starting again": _wait_for_a_loss("Collector"),
        "the learner starting again": _wait_for_a_loss("Learner"),
    }
    took, left = [], []
    for moment, wait in moments.items():
        where = Path(tempfile.mkdtemp(dir=folder))
        compiling = ("--jit-compile", "--no-compile-cache") if moment == "compiling" else ()
        run = TrainingRun(where, *WITHIN_A_RUN, *TWO, *paced(where), *compiling)
        wait(run)
        begin = time.monotonic()
        code = run.end(signal_number)
        took.append(time.monotonic() - begin)
        assert code == 128 + signal_number, f"{moment}: exit code {code}: {run.errors}"
        assert "Traceback" not in run.errors, f"{moment}: {run.errors}"
        assert took[-1] <= EXIT_LIMIT_S, f"{moment}: exit took {took[-1]:.1f} s"
        left.append(no_process_left_s())
        if moment in ("training", "a collector starting again", "the learner starting again"):
            let_go(where)
            steps = newest(run.path).totals.env_steps + 10 * BATCH_STEPS
            ended_well(TrainingRun(where, "--resume", "run", "--total-steps", str(steps)))
            check_accounts(run.path, BATCH_STEPS)
    last = f"no process left {seconds(left)} later"
    checked = f"while {', '.join(moments)}: exit code {128 + signal_number}, {last}, --resume works"
    return Result(0, f"exits in {seconds(took)}", checked)


def _wait_for_a_loss(kind: str) -> Callable[[TrainingRun], None]:
    def wait(run: TrainingRun) -> None:
        run.wait_for_updates(8)
        kill(workers_of(kind)[0])
        run.wait_for_line("was lost")

    return wait


def _raylets() -> list[Path]:
    return [folder for folder in our_processes() if b"/raylet/raylet" in command_of(folder)]
