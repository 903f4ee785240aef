"""Faults of workers: collectors and the learner are killed, environments fail or hang."""

from __future__ import annotations

import random
import time
from pathlib import Path

from faults_run import (
    Result,
    Settings,
    ended_in_one_line,
    ended_well,
    newest,
    no_process_left_s,
    recoveries,
    seconds,
    steps_lost,
)
from training_runs import (
    BATCH_STEPS,
    ONE,
    SLOTS,
    STEPS,
    TWO,
    WITHIN_A_RUN,
    TrainingRun,
    check_accounts,
    faults,
    kill,
    let_go,
    num_updates,
    paced,
    workers_of,
)

from workers.collection.seeding import slot_seeds

KILL_EVERY_S = 5.0
ENDLESS = 100_000_000
LIMIT = ("--step-timeout-s", "2")
HANGS_IN = "in simulate_for_ever"


def collectors_killed_again_and_again(settings: Settings, folder: Path) -> Result:
    # Of paced steps there are so many at most in that time; what is left is taken once the envs are let go.
    run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, *paced(folder, int(settings.seconds * 400) + 40 * BATCH_STEPS))
    run.wait_for_updates(5)
    begin, before, kills = time.monotonic(), num_updates(run.path), 0
    while time.monotonic() < begin + settings.seconds:
        victims = workers_of("Collector")
        if victims:
            kill(random.choice(victims))
            kills += 1
        time.sleep(KILL_EVERY_S)
        assert run.process.poll() is None, run.errors
    during = num_updates(run.path) - before
    run.wait_for(lambda: len(workers_of("Collector")) == 2)
    let_go(folder)
    ended_well(run)
    num = check_accounts(run.path, BATCH_STEPS)
    rows = faults(run.path)
    # While the other is away a collector takes both rollouts of a batch.
    assert all(int(row["env_steps_lost"]) <= BATCH_STEPS for row in rows), rows
    checked = f"{kills} kills, {during} updates meanwhile; {num} updates, none twice or left out, lag within its bound"
    return Result(steps_lost(rows), seconds(recoveries(rows)), checked)


def all_collectors_killed_at_once(settings: Settings, folder: Path) -> Result:
    run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, *paced(folder, 60 * BATCH_STEPS))
    run.wait_for_updates(5)
    kill(*workers_of("Collector"))
    run.wait_for(lambda: len(faults(run.path)) == 2)
    let_go(folder)
    ended_well(run)
    num = check_accounts(run.path, BATCH_STEPS)
    rows = faults(run.path)
    return Result(
        steps_lost(rows), seconds(recoveries(rows)), f"{num} updates, none twice or left out, lag within its bound"
    )


def learner_killed_in_an_update(settings: Settings, folder: Path) -> Result:
    run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, "--ppo.num-epochs", "40", *paced(folder, 60 * BATCH_STEPS))
    run.wait_for_updates(7)
    before = newest(run.path)
    run.wait_for(lambda: bool(workers_of("Learner.update")))
    kill(*workers_of("Learner"))
    run.wait_for(lambda: len(faults(run.path)) == 1)
    let_go(folder)
    ended_well(run)
    num = check_accounts(run.path, BATCH_STEPS)
    rows = faults(run.path)
    found = newest(run.path)
    assert found.generation > before.generation
    assert found.totals.updates == num
    assert int(found.state["learner/version"]) == num
    lost = f"at most {5 + 2} batches of {BATCH_STEPS} steps could be lost"
    assert steps_lost(rows) <= (5 + 2) * BATCH_STEPS, lost
    went = f"generation {before.generation} to {found.generation}"
    checked = f"from its checkpoint, {went}; {num} updates in order, lag within its bound; {lost}"
    return Result(steps_lost(rows), seconds(recoveries(rows)), checked)


def env_raises_once(settings: Settings, folder: Path) -> Result:
    row, num = _one_fault(folder, *_faulty("step", slot=1), noted="in _maybe_fail")
    assert row["what"] == "env slot 1", row
    checked = f"one slot replaced, its traceback in RUN/faults; {num} updates in order"
    return Result(int(row["env_steps_lost"]), seconds(recoveries([row])), checked)


def env_raises_always(settings: Settings, folder: Path) -> Result:
    run = TrainingRun(folder, *WITHIN_A_RUN, *ONE, *_faulty("step"), "--total-steps", str(ENDLESS))
    run.wait_for_line("collector x")
    begin = time.monotonic()
    line = ended_in_one_line(run, "raised OSError in step: the simulator is gone; it was replaced 10 times")
    assert all(name in line for name in ("collector 0", "env slot ", "step ", "seed ")), line
    no_process_left_s()
    took = f"stops after {time.monotonic() - begin:.0f} s"
    return Result(None, took, "budget of 10 replacements, then one line with slot, step, seed; exit code 1")


def env_hangs_async(settings: Settings, folder: Path) -> Result:
    row, num = _one_fault(folder, *_faulty("hang", slot=1, vectorization="async"), *LIMIT, noted=HANGS_IN)
    assert row["what"] == "env slot 1", row
    checked = f"one slot replaced, stacks in RUN/faults; {num} updates in order"
    return Result(int(row["env_steps_lost"]), "2 s (the limit)", checked)


def env_hangs_sync(settings: Settings, folder: Path) -> Result:
    row, num = _one_fault(folder, *_faulty("hang", slot=1), *LIMIT, noted=HANGS_IN)
    assert "hung in step" in row["reason"], row
    checked = f"its collector replaced after 2 s (the limit), stacks in RUN/faults; {num} updates in order"
    return Result(int(row["env_steps_lost"]), seconds(recoveries([row])), checked)


def _one_fault(folder: Path, *arguments: str, noted: str) -> tuple[dict[str, str], int]:
    """A run that ends well with one fault, of which the trace is noted: its row, and how many updates there are."""
    run = TrainingRun(folder, *WITHIN_A_RUN, *ONE, *arguments, "--total-steps", str(20 * SLOTS * STEPS))
    ended_well(run)
    (row,) = faults(run.path)
    assert noted in (run.path / "faults" / "generation0-collector0.txt").read_text()
    return row, check_accounts(run.path, SLOTS * STEPS)


def env_kills_its_process(settings: Settings, folder: Path) -> Result:
    run = TrainingRun(folder, *WITHIN_A_RUN, *ONE, *_faulty("exit"), "--total-steps", str(ENDLESS))
    run.wait_for_line("was lost")
    begin = time.monotonic()
    ended_in_one_line(run, "collector 0 (env slots 0 to 3) was lost 11 times in a row; the last time: ")
    no_process_left_s()
    took = f"stops after {time.monotonic() - begin:.0f} s"
    return Result(None, took, "budget of 10 replacements, then one line that names the collector; exit code 1")


def _faulty(fault: str, slot: int | None = None, vectorization: str = "sync") -> tuple[str, ...]:
    """Options of an env that fails in its sixth step, in one slot and once or always."""
    kwargs = ["fault", fault, "after", "6"]
    if slot is not None:
        kwargs += ["seed", str(slot_seeds(0, slot, 1, generation=0).environment[0])]
    env = ("--env", "toy_envs:FaultyEnv", "--env-kwargs", *kwargs, "--vectorization", vectorization)
    return (*env, "--eval-episodes", "0")
