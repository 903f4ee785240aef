"""`distpolicy train` when its processes are killed, when it is told to end, and when environments fail or hang."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from commands import no_process_left, our_processes
from training_runs import (
    BATCH_STEPS,
    IMPORTABLE,
    ONE,
    ROLLOUT_STEPS,
    SLOTS,
    TWO,
    WITHIN_A_RUN,
    TrainingRun,
    check_accounts,
    command_of,
    faults,
    kill,
    let_go,
    paced,
    read_metrics,
    workers_of,
)

from distpolicy.errors import EnvironmentCrashedError, WorkerLostError
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.signals import Interrupted, handled, interrupt
from launch.supervision.collector_pool import CollectorPool
from launch.training import run as training_run
from launch.training import workers as training_workers
from launch.training.checkpoint_store import CheckpointStore
from workers.collection.evaluator import EVALUATION_STREAM
from workers.collection.seeding import slot_seeds
from workers.environments.factory import EnvironmentFactory
from workers.restart_budget import RestartBudgetConfig

__all__ = ["no_process_left"]

STEPS_PER_SECOND = 400  # of paced envs, at most


class Ended(NamedTuple):
    """A run that has ended."""

    code: int
    output: str
    errors: str


class Story(NamedTuple):
    """Three starts of one run, each of which something else happens to."""

    folder: Path
    told_to_end: Ended
    driver_killed: Ended
    left_behind: list[Any]
    workers_killed: Ended

    @property
    def run(self) -> Path:
        return self.folder / "run"


def ended(run: TrainingRun, signal_number: int | None = None) -> Ended:
    return Ended(run.end(signal_number), run.output, run.errors)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    endless = paced(folder)

    run = TrainingRun(folder, *WITHIN_A_RUN, *TWO, *endless)
    run.wait_for_updates(7)
    kill(workers_of("Collector")[0])
    run.wait_for_line("was lost")
    told_to_end = ended(run, signal.SIGTERM)

    run = TrainingRun(folder, "--resume", "run")
    run.wait_for_updates(7)
    driver_killed = ended(run, signal.SIGKILL)
    left_behind = left_after(60.0, lambda: workers_of("Collector") + workers_of("Learner"))

    steps = CheckpointStore(folder / "run" / "checkpoints", keep=1).load_latest().totals.env_steps + 40 * BATCH_STEPS
    run = TrainingRun(folder, "--resume", "run", "--total-steps", str(steps))
    run.wait_for_updates(7)
    before = len(faults(run.path))
    kill(*workers_of("Collector"))
    run.wait_for(lambda: len(faults(run.path)) == before + 2)
    kill(*workers_of("Learner"))
    run.wait_for(lambda: len(faults(run.path)) == before + 3)
    let_go(folder)
    workers_killed = ended(run)
    # Ray's own agents look for their parent now and then: some are there a minute after a driver that was killed.
    left_behind += left_after(120.0, our_processes)
    return Story(folder, told_to_end, driver_killed, left_behind, workers_killed)


def left_after(grace_s: float, look: Callable[[], Sequence[Any]]) -> list[Any]:
    """What is still there after a grace time, of what has to go by itself."""
    deadline = time.monotonic() + grace_s
    while look() and time.monotonic() < deadline:
        time.sleep(0.2)
    return list(look())


@pytest.mark.slow
def test_sigterm_while_a_collector_is_replaced_leaves_a_checkpoint_and_code_143(story: Story) -> None:
    code, output, errors = story.told_to_end
    assert code == 143, output + errors
    assert not errors
    assert re.search(r"^collector \d \(env slots \d to \d\) was lost: \S", output, re.MULTILINE)
    assert "interrupted: writing a checkpoint" in output
    assert output.rstrip().endswith("go on with: distpolicy train --resume run")


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_process_and_resume_goes_on_from_its_checkpoint(story: Story) -> None:
    assert story.driver_killed.code == 137
    assert not story.left_behind
    assert re.search(r"^resuming run at [\d,]+ env steps, generation \d$", story.workers_killed.output, re.MULTILINE)


@pytest.mark.slow
def test_a_run_goes_on_when_its_collectors_and_then_its_learner_are_killed(story: Story) -> None:
    code, output, errors = story.workers_killed
    assert code == 0, output + errors
    assert not errors
    for index in range(2):
        what = rf"collector {index} \(env slots {index * SLOTS} to {index * SLOTS + SLOTS - 1}\)"
        assert re.search(rf"^{what} was lost: \S", output, re.MULTILINE)
        lost = re.search(rf"^{what} is back after [\d.]+ s; (\d+) env steps were lost$", output, re.MULTILINE)
        assert lost, output
        assert int(lost[1]) in (0, ROLLOUT_STEPS)
    assert re.search(r"^learner was lost: \S", output, re.MULTILINE)
    back = re.search(r"^going back to ([\d,]+) env steps, the newest checkpoint$", output, re.MULTILINE)
    assert back, output
    assert re.search(r"^learner is back after [\d.]+ s; [\d,]+ env steps were lost$", output, re.MULTILINE)
    assert "done: mean return" in output


@pytest.mark.slow
def test_every_fault_of_a_run_is_a_row_over_all_its_starts(story: Story) -> None:
    rows = faults(story.run)
    assert [row["what"].split(" (")[0].split()[0] for row in rows] == ["collector"] * 3 + ["learner"]
    assert not rows[0]["recovery_s"], "it was told to end before"
    assert all(float(row["recovery_s"]) > 0 for row in rows[1:])
    learner = rows[3]
    assert int(learner["env_steps_lost"]) <= (5 + 2) * BATCH_STEPS
    told = re.search(r"^going back to ([\d,]+) env steps", story.workers_killed.output, re.MULTILINE)
    assert told
    back_to = int(told[1].replace(",", ""))
    assert 0 <= int(learner["steps"]) - back_to <= int(learner["env_steps_lost"])
    metrics = read_metrics(story.run)
    kept = sum(int(row["env_steps"]) <= back_to for row in metrics)
    noticed_s, back_s = float(learner["train_s"]), float(learner["train_s"]) + float(learner["recovery_s"])
    assert float(metrics[kept - 1]["train_s"]) < noticed_s < back_s < float(metrics[kept]["train_s"]) + 0.01


@pytest.mark.slow
def test_accounts_of_a_run_are_exact_whatever_has_happened_to_it(story: Story) -> None:
    num_updates = check_accounts(story.run, BATCH_STEPS)
    found = CheckpointStore(story.run / "checkpoints", keep=1).load_latest()
    assert found.totals.updates == num_updates
    assert int(found.state["learner/version"]) == num_updates
    assert not found.refused
    assert found.generation > 3, "that of the last worker that was started, of those that were replaced in three starts"
    assert (story.run / "policy" / "saved_model.pb").is_file()
    assert "faults" not in {path.name for path in story.run.iterdir()}


@pytest.mark.usefixtures("no_process_left")
def test_sigterm_while_workers_start_ends_with_code_143_and_leaves_nothing(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *ONE, *paced(tmp_path))
    run.wait_for_line("1 collector x 4 envs")
    code, _, errors = ended(run, signal.SIGTERM)
    assert code == 143, errors
    assert not errors
    assert not run.path.exists()


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_run_whose_collectors_are_killed_every_five_seconds_for_two_minutes_ends_as_if_nothing_was(
    tmp_path: Path,
) -> None:
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *TWO, *paced(tmp_path, 100 * BATCH_STEPS + 120 * STEPS_PER_SECOND))
    run.wait_for_updates(5)
    killed: list[int] = []
    for number in range(24):
        victims = workers_of("Collector")
        kill(*victims[number % 2 : number % 2 + 1])
        killed += victims[number % 2 : number % 2 + 1]
        time.sleep(5.0)
    run.wait_for(lambda: len(workers_of("Collector")) == 2)
    let_go(tmp_path)
    code, output, errors = ended(run)
    assert code == 0, output + errors
    assert not errors
    check_accounts(run.path, BATCH_STEPS)
    rows = faults(run.path)
    # One that is killed before it is up is not lost once more.
    assert 5 < len(rows) <= len(killed)
    assert all(float(row["recovery_s"]) > 0 for row in rows)
    # While the other is away a collector takes both rollouts of a batch.
    assert all(int(row["env_steps_lost"]) <= BATCH_STEPS for row in rows)


@pytest.mark.parametrize(
    "part",
    [
        "raylet",
        *(pytest.param(part, marks=[pytest.mark.slow, pytest.mark.release]) for part in ("gcs_server", "agent.py")),
    ],
)
def test_sigterm_while_ray_starts_leaves_nothing(tmp_path: Path, part: str) -> None:
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *ONE, *paced(tmp_path))
    run.wait_for(lambda: any(part.encode() in command_of(process) for process in our_processes()))
    code, _, errors = ended(run, signal.SIGTERM)
    left = [command_of(process) for process in our_processes()]
    assert code == 143, errors
    assert not errors
    assert not left


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_sigterm_while_the_update_is_compiled_ends_with_code_143(tmp_path: Path) -> None:
    compiling = ("--jit-compile", "--no-compile-cache")
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *ONE, *paced(tmp_path), *compiling)
    run.wait_for(lambda: bool(workers_of("Learner.warm_up")))
    code, _, errors = ended(run, signal.SIGTERM)
    assert code == 143, errors
    assert not errors


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_an_env_that_raises_costs_its_slot_alone_and_in_an_evaluation_its_episode_is_played_again(
    tmp_path: Path,
) -> None:
    [training] = slot_seeds(0, 1, 1, generation=0).environment
    [evaluation] = slot_seeds(0, 2, 1, generation=0, stream=EVALUATION_STREAM).environment
    env = ("--env", "raising_env:RaisingEnv", "--vectorization", "sync", "--debug")
    seeds = ("--env-kwargs", "training", str(training), "evaluation", str(evaluation))
    steps = 10 * SLOTS * 16
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *ONE, *env, *seeds, "--total-steps", str(steps), "--eval-episodes", "3")
    code, output, errors = ended(run)
    assert code == 0, output + errors
    (told,) = re.findall(r"^env slot .*", output, re.MULTILINE)
    assert told == "env slot 1 failed in step and was replaced: raised OSError in step: the simulator is gone"
    (row,) = faults(run.path)
    assert (row["what"], row["reason"]) == ("env slot 1", "raised OSError in step: the simulator is gone")
    noted = (run.path / "faults" / "generation0-collector0.txt").read_text()
    assert noted.startswith(told)
    assert "in fail_on_purpose" in noted
    check_accounts(run.path, SLOTS * 16)
    assert CheckpointStore(run.path / "checkpoints", keep=1).load_latest().totals.env_steps >= steps

    lines = [line for line in output.splitlines() if line.startswith("evaluation of the ")]
    assert len(lines) == 2
    assert all(line.endswith("; 1 played again because their environment failed") for line in lines), lines


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_collector_in_which_an_env_hangs_is_replaced_while_the_other_goes_on(tmp_path: Path) -> None:
    [seed] = slot_seeds(0, 5, 1, generation=0).environment
    env = ("--env", "toy_envs:FaultyEnv", "--env-kwargs", "fault", "hang", "after", "60", "seed", str(seed))
    options = ("--vectorization", "sync", "--step-timeout-s", "4", "--total-steps", "6000", "--eval-episodes", "0")
    # Short: the names of Ray's sockets are limited.
    temporary = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *TWO, *env, *options, TMPDIR=str(temporary))
    code, output, errors = ended(run)
    assert code == 0, output + errors
    reason = "hung in step 73: toy_envs:FaultyEnv took more than 4 s (step_timeout_s)"
    where = "see run/faults/generation0-collector1.txt"
    assert f"collector 1 (env slots 4 to 7) was lost: {reason}; {where}\n" in output
    assert "in simulate_for_ever" in (run.path / "faults" / "generation0-collector1.txt").read_text()
    (row,) = faults(run.path)
    assert (row["what"], row["reason"]) == ("collector 1 (env slots 4 to 7)", reason)
    assert int(row["env_steps_lost"]) == ROLLOUT_STEPS
    check_accounts(run.path, BATCH_STEPS)
    assert not list(temporary.glob("distpolicy-*"))
    shutil.rmtree(temporary)


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_with_async_an_env_that_hangs_costs_its_slot_alone(tmp_path: Path) -> None:
    [seed] = slot_seeds(0, 2, 1, generation=0).environment
    env = ("--env", "toy_envs:FaultyEnv", "--env-kwargs", "fault", "hang", "after", "30", "seed", str(seed))
    options = ("--vectorization", "async", "--step-timeout-s", "4", "--total-steps", "600", "--eval-episodes", "0")
    run = TrainingRun(tmp_path, *WITHIN_A_RUN, *ONE, *env, *options)
    code, output, errors = ended(run)
    assert code == 0, output + errors
    told = "env slot 2 failed in step and was replaced: hung in step: no answer within 4 s (step_timeout_s)"
    assert re.findall(r"^env slot .*", output, re.MULTILINE) == [told]
    assert "was lost" not in output
    assert "in simulate_for_ever" in (run.path / "faults" / "generation0-collector0.txt").read_text()
    assert [row["what"] for row in faults(run.path)] == ["env slot 2"]
    check_accounts(run.path, SLOTS * 16)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(15)], ids=["waiting", "starting"])
def test_a_signal_keeps_its_exit_code_where_ray_raises_something_else_for_it(raised: BaseException) -> None:
    def call_of_ray() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise raised from None

    with pytest.raises(Interrupted) as interruption, handled(interrupt):
        call_of_ray()
    assert interruption.value.exit_code == 143


@dataclasses.dataclass(frozen=True)
class OneReplacement(TrainConfig):
    """A run that bears one replacement of a slot."""

    @property
    def environment_factory(self) -> EnvironmentFactory:
        return dataclasses.replace(super().environment_factory, restarts=RestartBudgetConfig(max_restarts=1))


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE, prepend=os.pathsep)
    for folder in IMPORTABLE.split(os.pathsep):
        monkeypatch.syspath_prepend(folder)


def failing(fault: str, after: int, step_timeout_s: float = 60.0) -> TrainConfig:
    """A run of an env that always fails."""
    return OneReplacement(
        env="toy_envs:FaultyEnv",
        env_kwargs={"fault": fault, "after": after},
        vectorization="sync",
        collectors=1,
        envs_per_collector=SLOTS,
        rollout_steps=16,
        jit_compile=False,
        step_timeout_s=step_timeout_s,
        network=NetworkConfig(actor_units=(8,)),
    )


def train(config: TrainConfig, run_dir: Path) -> None:
    with training_run.TrainingRun(config, run_dir=run_dir) as run:
        run.run()


@pytest.mark.slow
@pytest.mark.usefixtures("toys", "no_process_left")
def test_an_env_that_always_raises_ends_the_run_with_slot_step_seed_and_traceback(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentCrashedError) as error:
        train(failing("step", after=3), tmp_path / "run")
    [seed] = slot_seeds(0, 0, 1, generation=0).environment
    assert "raised OSError in step: the simulator is gone; it was replaced 1 times" in str(error.value)
    assert re.search(rf"\(collector 0, env slot 0, step \d+, seed {seed}\)$", str(error.value))
    assert "in _maybe_fail" in error.value.traceback


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["exit", "hang"])
@pytest.mark.usefixtures("toys", "no_process_left")
def test_a_collector_that_is_lost_before_every_first_rollout_ends_the_run(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = functools.partial(
        CollectorPool, restart_budget=RestartBudgetConfig(max_restarts=1, window_steps=1, backoff_s=0.0)
    )
    monkeypatch.setattr(training_workers, "CollectorPool", patient)
    kind = EnvironmentCrashedError if fault == "hang" else WorkerLostError
    with pytest.raises(kind, match=r"^collector 0 \(env slots 0 to 3\) was lost 2 times in a row; ") as error:
        train(failing(fault, after=3, step_timeout_s=4.0), tmp_path / "run")
    if fault == "hang":
        assert "hung in step 3: toy_envs:FaultyEnv took more than 4 s" in str(error.value)
        assert "in simulate_for_ever" in error.value.traceback
