"""Runs whose checkpoints leave the replay buffer out: they say what was lost when they go on, and count it."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
from commands import no_process_left, read_metrics
from driver_runs import CONFIG
from rich.console import Console
from training_runs import TrainingRun, faults, kill, let_go, paced, workers_of

from distpolicy.agents.dqn.config import DQNConfig
from launch.config.train import TrainConfig
from launch.reports.run_data import read_run
from launch.reports.tables import tiles_of_run
from launch.training import run as training_run
from launch.training.checkpoint_store import CheckpointStore
from launch.training.console import ConsoleObserver

__all__ = ["no_process_left"]

AGENT = DQNConfig(
    replay_capacity=2_000,
    batch_size=8,
    updates_per_call=4,
    samples_per_insert=2.0,
    learning_starts=100,
    checkpoint_replay=False,
)
# A call of 4 times 8 samples is paid for by 16 transitions.
FIRST_CALL = 116
ALONE = dataclasses.replace(CONFIG, collectors=1, total_steps=256, eval_episodes=0, agent=AGENT)


def losses_said(output: str) -> list[int]:
    """Returns how many transitions each line says that were lost."""
    line = (
        r"the replay buffer is empty: ([\d,]+) transitions were lost; "
        rf"learning goes on after {FIRST_CALL} new ones"
    )
    return [int(told.replace(",", "")) for told in re.findall(line, output)]


def run_serially(config: TrainConfig, folder: Path, resume: bool = False) -> str:
    """Trains in this process; returns what was said."""
    said = io.StringIO()
    observers = [ConsoleObserver(Console(file=said, width=300), 0.0)]
    new, before = (None, folder) if resume else (folder, None)
    with training_run.TrainingRun(config, observers, new, before, serial=True, reports=False) as run:
        run.run()
    return said.getvalue()


def test_a_run_that_goes_on_without_its_replay_buffer_says_what_was_lost(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert "replay buffer" not in run_serially(ALONE, folder)
    held = []
    for total_steps in (512, 768):
        held.append(int(float(read_metrics(folder)[-1]["replay_size"])))
        said = run_serially(dataclasses.replace(ALONE, total_steps=total_steps), folder, resume=True)
        assert losses_said(said) == held[-1:], said
    assert min(held) > 200
    rows = read_metrics(folder)
    counted = [int(row["replay_lost"]) for row in rows]
    assert counted == sorted(counted)
    for total in (0, held[0], sum(held)):
        losses = [row["loss"] for row in rows if int(row["replay_lost"]) == total]
        assert losses[:3] == [""] * 3, "after each start the buffer is filled first"
        assert losses[-1]
    assert f"{sum(held):,} transitions of the replay buffer lost" in tiles_of_run(read_run(folder))


def test_a_buffer_that_a_checkpoint_holds_is_not_lost(tmp_path: Path) -> None:
    config = dataclasses.replace(ALONE, agent=dataclasses.replace(AGENT, checkpoint_replay=True))
    run_serially(config, tmp_path / "run")
    said = run_serially(dataclasses.replace(config, total_steps=512), tmp_path / "run", resume=True)
    assert "replay buffer" not in said
    assert read_metrics(tmp_path / "run")[-1]["replay_lost"] == "0"


@pytest.mark.slow
def test_a_learner_that_is_replaced_without_its_replay_buffer_says_what_was_lost(tmp_path: Path) -> None:
    options: tuple[str, ...] = (
        "--agent",
        "dqn",
        "--collectors",
        "2",
        "--envs-per-collector",
        "4",
        "--rollout-steps",
        "16",
    )
    options += ("--network.actor-units", "8", "--no-jit-compile", "--target-return", "None", "--checkpoint-every", "5")
    options += ("--dqn.no-checkpoint-replay", "--dqn.learning-starts", "100", "--dqn.batch-size", "8")
    options += ("--dqn.updates-per-call", "4", "--dqn.samples-per-insert", "2", "--run-dir", "run")
    run = TrainingRun(tmp_path, *options, *paced(tmp_path, 6_000))
    run.wait_for_updates(7)
    kill(*workers_of("Learner"))
    run.wait_for_line("learner is back after")
    run.wait_for_updates(7)
    kill(*workers_of("Learner"))
    run.wait_for(lambda: len(faults(run.path)) == 2)
    let_go(tmp_path)
    assert run.end() == 0, run.output + run.errors
    lost = losses_said(run.output)
    back_to = [int(told.replace(",", "")) for told in re.findall(r"going back to ([\d,]+) env steps", run.output)]
    assert len(lost) == len(back_to) == 2
    # What came after the checkpoint is among the env steps that were lost. A few rows are not transitions.
    assert 0.9 * back_to[0] <= lost[0] <= back_to[0]
    since = back_to[1] - back_to[0]
    assert 0.9 * since <= lost[1] <= since
    last = read_metrics(run.path)[-1]
    assert int(last["replay_lost"]) == sum(lost)
    assert float(last["loss"]) > 0.0, "it learns again"
    found = CheckpointStore(run.path / "checkpoints", keep=1).load_latest()
    assert found is not None
    assert found.totals.replay_lost == sum(lost)
    assert found.totals.env_steps >= 6_000
