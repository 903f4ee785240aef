"""What a run says on the terminal, without a run."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.console import ConsoleObserver
from launch.training.totals import TrainingTotals, UpdateResult


def said_at_the_start_of(config: TrainConfig) -> str:
    said = io.StringIO()
    observer = ConsoleObserver(Console(file=said, width=300), 0.0)
    run: Any = SimpleNamespace(config=config, generation=0, directory=SimpleNamespace(path=Path()))
    observer.on_start(run)
    observer._terminal.end()
    return said.getvalue()


def config_of(kind: str, total_steps: int, **settings: Any) -> TrainConfig:
    recurrent = NetworkConfig(recurrent="lstm" if kind == "r2d2" else "none")
    agent = AgentConfig.of_kind(kind)(**settings)
    return TrainConfig(
        collectors=1, envs_per_collector=2, rollout_steps=10, total_steps=total_steps, network=recurrent, agent=agent
    )


@pytest.mark.parametrize(
    ("kind", "settings", "first"),
    [
        # A call of 32 steps of 256 samples is paid for by 32 transitions, each of which is learned from 256 times.
        ("sac", {"learning_starts": 1_000}, 1_032),
        ("dqn", {"learning_starts": 0, "samples_per_insert": 3.0, "batch_size": 5, "updates_per_call": 2}, 4),
        # A sequence is as many samples as it has steps.
        ("r2d2", {"learning_starts": 7, "samples_per_insert": 2.0, "batch_size": 4, "updates_per_call": 3}, 7 + 6 * 32),
    ],
)
def test_a_run_that_is_too_short_to_learn_says_so(kind: str, settings: dict[str, Any], first: int) -> None:
    updates = -(-first // 20)
    assert said_at_the_start_of(config_of(kind, updates * 20, **settings)) == ""
    # The last rollout is collected as a whole.
    assert said_at_the_start_of(config_of(kind, updates * 20 - 19, **settings)) == ""
    if updates > 1:
        too_short = config_of(kind, updates * 20 - 20, **settings)
        assert said_at_the_start_of(too_short) == (
            f"nothing will be learned: the first gradient steps of {kind} come after {first:,} transitions, and "
            f"total_steps is {too_short.total_steps:,}; raise it, or lower {kind}.learning_starts or "
            f"{kind}.updates_per_call\n"
        )


@pytest.mark.parametrize("agent", [AgentConfig.of_kind("ppo")(), CustomAgentConfig("module:make", replay={})])
def test_other_runs_say_nothing(agent: AgentConfig) -> None:
    assert said_at_the_start_of(TrainConfig(total_steps=1, agent=agent)) == ""


@pytest.mark.parametrize(("final", "told"), [(485.5, "485.5"), (474.2, "476.0")])
def test_a_solved_run_tells_its_mean_or_the_one_that_reached_the_target(final: float, told: str) -> None:
    # Updates that were under way have changed the mean since.
    said = io.StringIO()
    observer = ConsoleObserver(Console(file=said, width=300), 0.0)
    config = TrainConfig(target_return=475.0)
    run: Any = SimpleNamespace(config=config, generation=0, directory=SimpleNamespace(path=Path()), warm_up_s=1.0)
    observer.on_start(run)
    observer.on_trained(
        TrainingTotals(solved=True, solved_return=476.0, recent_returns=(final,) * 100, env_steps=93_751, train_s=3.8)
    )
    assert said.getvalue().startswith(f"solved: mean return {told} over 100 episodes (target 475) after 93,751")


def test_the_progress_line_counts_all_rows_that_were_dropped() -> None:
    said = io.StringIO()
    observer = ConsoleObserver(Console(file=said, width=300), 0.0)
    run: Any = SimpleNamespace(config=TrainConfig(), generation=0, directory=SimpleNamespace(path=Path()))
    observer.on_start(run)
    for dropped in (0.0, 1_024.0, 0.0, 512.0):
        metrics = {"steps_per_s": 1.0, "policy_lag": 1.0, "rows_dropped": dropped}
        observer.on_update(UpdateResult(TrainingTotals(), metrics, 0.0, []))
    observer._terminal.end()
    first, *_, last = [line for line in said.getvalue().splitlines() if line.startswith("env steps")]
    assert "dropped" not in first
    assert " · lag 1 · 1,536 rows dropped · " in last
