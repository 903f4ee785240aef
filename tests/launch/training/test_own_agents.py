"""An agent of the user's own, as docs/agents.md shows it, and REINFORCE, trained through Ray by the command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import distpolicy, environment, read_metrics

from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import ConfigError
from launch.config.run_specs import check_agent_is_there
from launch.config.train import TrainConfig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "agents.md"
MIGRATION = PAGE.with_name("migration.md")
SMALL = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--vectorization", "sync")


def page_blocks(page: Path = PAGE) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the page's module, and a run of its agent."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_agent.py").write_text(page_blocks()[0])
    options = ("--agent", "my_agent:make_agent", "--custom.kwargs", "learning_rate", "0.01", *SMALL)
    result = distpolicy(
        "train", *options, "--total-steps", "320", "--run-dir", "run", "--eval-episodes", "3", cwd=folder
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_the_pages_agent_trains_and_leaves_a_whole_run_directory(folder: Path) -> None:
    rows = read_metrics(folder / "run")
    assert len(rows) >= 5
    assert {"loss", "policy_loss", "value_loss", "entropy"} <= set(rows[0])
    assert all(float(row["policy_lag"]) == 0.0 for row in rows)
    assert (folder / "run" / "policy" / "saved_model.pb").exists()
    assert "Policy loss" in (folder / "run" / "report.html").read_text()
    assert "factory: my_agent:make_agent" in (folder / "run" / "config.yaml").read_text()


@pytest.mark.slow
def test_the_pages_agent_is_evaluated_and_resumed(folder: Path) -> None:
    played = distpolicy("evaluate", "run", "--episodes", "3", cwd=folder)
    assert played.returncode == 0, played.stdout + played.stderr
    before = len(read_metrics(folder / "run"))
    resumed = distpolicy("train", "--resume", "run", "--total-steps", "448", "--eval-episodes", "0", cwd=folder)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    rows = read_metrics(folder / "run")
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > before


def test_a_function_that_is_not_there_is_told_before_ray_starts(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(page_blocks()[0])
    result = distpolicy("train", "--agent", "my_agent:make_agnet", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "agent my_agent:make_agnet: my_agent has no make_agnet; did you mean my_agent:make_agent?" in line
    with pytest.raises(ConfigError, match="agent nothing:make: there is no module nothing, neither installed nor in"):
        check_agent_is_there(TrainConfig(agent=CustomAgentConfig("nothing:make")))
    with pytest.raises(ConfigError, match=r"^agent ./my_agent.py:make: './my_agent.py' is .*: write my_agent:make$"):
        CustomAgentConfig("./my_agent.py:make")
    with pytest.raises(ConfigError, match=r"was defined in a script: give it, as in TrainingRun\(..., agent=make\)"):
        check_agent_is_there(TrainConfig(agent=CustomAgentConfig("__main__:make")))


@pytest.mark.slow
def test_a_script_trains_an_agent_that_it_defines_itself(tmp_path: Path) -> None:
    main = """
from launch import TrainConfig, TrainingRun

config = TrainConfig(collectors=1, envs_per_collector=4, rollout_steps=16, total_steps=128, eval_episodes=2)
with TrainingRun(config, agent=make_agent, run_dir="run") as run:
    print("updates", run.run().updates, run.config.agent.name)
"""
    (tmp_path / "script.py").write_text(page_blocks()[0] + main)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "__main__:make_agent" in done.stdout
    assert (tmp_path / "run" / "policy" / "saved_model.pb").exists()


@pytest.mark.slow
def test_the_program_of_the_migration_page_learns_on_two_collectors(tmp_path: Path) -> None:
    (program,) = [block for block in page_blocks(MIGRATION) if "TrainingRun(" in block]
    short = {
        "total_steps=20_000": "total_steps=640, envs_per_collector=4, rollout_steps=16, eval_episodes=2",
        '"batch_size": 64}': '"batch_size": 64, "min_size": 200, "num_updates": 4}, run_dir="run"',
        "evaluate(10)": "evaluate(2)",
    }
    for old, new in short.items():
        assert old in program
        program = program.replace(old, new)
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(done.stdout.strip().splitlines()[-1]) >= 8.0
    rows = read_metrics(tmp_path / "run")
    assert rows[0]["td_error"] == ""  # The buffer fills first.
    assert float(rows[-1]["td_error"]) > 0.0
    assert float(rows[-1]["replay_size"]) > 200


@pytest.mark.slow
def test_reinforce_solves_cartpole_through_ray(tmp_path: Path) -> None:
    options = ("--agent", "reinforce", "--run-dir", "run", "--target-return", "300")
    result = distpolicy("train", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "solved: mean return" in result.stdout
