"""Inputs of our own: what people type, and where. README.md beside this file has the table."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distpolicy.errors import ConfigError
from launch.cli import run
from launch.commands.collect import parse_collect
from launch.commands.evaluate import parse_evaluate
from launch.commands.train import parse_train
from launch.config.codec import dump
from launch.config.evaluate import EvaluateConfig
from launch.config.train import TrainConfig, load_train_config
from launch.evaluation import kind_of
from launch.output.shown_paths import shown_from

HERE = Path(__file__).parent


def command(arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command line in a shell; the environments beside this file are found."""
    path = os.pathsep.join([str(HERE), *sys.path])
    text = arguments.replace("distpolicy", f"{shlex.quote(sys.executable)} -m launch", 1)
    environment = {**os.environ, "PYTHONPATH": path, **more}
    return subprocess.run(
        text, shell=True, cwd=cwd, capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def file_with(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding)
    return path


# config.yaml, written by hand


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    text = "env: CartPole-v1\ntarget_return: -1e+3\nagent: {kind: ppo, learning_rate: 3e-4, clip_range: 1E-1}\n"
    config = load_train_config(file_with(tmp_path, text))
    assert config.target_return == -1000.0
    assert (config.agent.learning_rate, config.agent.clip_range) == (3e-4, 0.1)


@pytest.mark.parametrize("text", ["1e3", "-2E+5", "1e-3", "no", "0x10", "1_000", "~", ".nan", "12:30"])
def test_a_text_that_looks_like_a_number_stays_a_text(text: str, tmp_path: Path) -> None:
    config = TrainConfig(env_kwargs={"name": text, "of": 1e-5})
    assert load_train_config(file_with(tmp_path, dump(config))) == config


def test_a_file_of_another_editor_is_read(tmp_path: Path) -> None:
    text = "# für alle\r\nenv: CartPole-v1\r\nseed: 7\r\n"
    assert load_train_config(file_with(tmp_path, text, "utf-8-sig")).seed == 7


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "agent:\n  kind: ppo\n  discount: 0.9\n  discount: 0.8\n"])
def test_a_setting_that_is_given_twice_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: the key '(seed|discount)' occurs twice"):
        load_train_config(file_with(tmp_path, text))


# Options


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_target_that_is_no_finite_number_is_told(value: str) -> None:
    with pytest.raises(
        ConfigError, match=f"target_return must be a finite number, or None for no target, but is {value}"
    ):
        run(["train", f"--target-return={value}", "--dry-run"], 0.0)


def test_a_negative_number_with_an_exponent_is_a_value() -> None:
    config = parse_train(["--target-return", "-1e3", "--env-kwargs", "low", "-1e3", "high=-.5"]).config
    assert (config.target_return, config.env_kwargs) == (-1000.0, {"low": -1000.0, "high": -0.5})


@pytest.mark.parametrize("option", ["--run-dir", "--resume", "--config"])
def test_a_path_from_a_variable_that_was_never_set_is_told(option: str) -> None:
    with pytest.raises(ConfigError, match="a path is empty: give the name of a file or folder"):
        parse_train([option, ""])


def test_so_is_one_of_collect_and_evaluate() -> None:
    with pytest.raises(ConfigError, match="a path is empty"):
        parse_collect(["--out", "", "--steps", "10"])
    with pytest.raises(ConfigError, match="a path is empty"):
        parse_evaluate(["", "--env", "CartPole-v1"])


# Output


def test_control_characters_are_spelt_out() -> None:
    assert shown_from("/home", "a\x1b[2Jb\x07\x9b\r /home/c\n\tä ±") == "a\\x1b[2Jb\\x07\\x9b\\x0d c\n\tä ±"


def test_an_error_of_an_environment_cannot_command_the_terminal(tmp_path: Path) -> None:
    ended = command("distpolicy evaluate random --env habit_envs:FailsInColour --episodes 1", tmp_path)
    assert ended.returncode == 2
    assert "OSError: \\x1b[2Jsimulator\\x07 gone" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_an_encoding_without_the_characters_of_the_output_is_no_error(tmp_path: Path) -> None:
    arguments = "distpolicy evaluate random --env CartPole-v1 --episodes 2"
    ended = command(arguments, tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\xb1" in ended.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_may_be_started_without_its_streams(closed: str, tmp_path: Path) -> None:
    assert command(f"distpolicy --version {closed}", tmp_path).returncode == 0


def test_json_stands_alone_beside_an_environment_that_prints(tmp_path: Path) -> None:
    goal = """'goal={"a": {"b": [1, 2]}, "c": null}'"""
    arguments = f"distpolicy evaluate random --env habit_envs:Prints --env-kwargs {goal} --episodes 3 --json"
    ended = command(arguments, tmp_path)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["returns"], result["info"]) == ([5.0] * 3, {"goals": 2.0})
    assert "step 0" in ended.stderr


def test_an_environment_that_leaves_when_it_is_closed_does_not_hide_the_result(tmp_path: Path) -> None:
    ended = command("distpolicy evaluate random --env habit_envs:LeavesInClose --episodes 2", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 episodes" in ended.stdout


PLAYED = "ended the process that played its episodes"
MADE = "ended the process that it was made in"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("constructor", f"{MADE}: exit code 0"),
        ("reset", f"{PLAYED}: exit code 0; --vectorization async gives each environment a process, and replaces it"),
        ("step", f"{PLAYED}: exit code 0; --vectorization async gives each environment a process, and replaces it"),
        ("close", f"{MADE}: exit code 0"),
        ("step --env-kwargs crashes=true", f"{PLAYED}: signal SIGSEGV; --vectorization async gives"),
    ],
)
def test_an_environment_that_ends_its_process_is_told_by_an_evaluation(call: str, told: str, tmp_path: Path) -> None:
    call, _, more = call.partition(" ")
    arguments = f"--env habit_envs:EndsItsProcess {more or '--env-kwargs'} call={call} --episodes 2"
    ended = command(f"distpolicy evaluate random {arguments}", tmp_path, TMPDIR=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"distpolicy: error: env habit_envs:EndsItsProcess {told}")
    assert len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["train", "collect --policy random --steps 10 --out data", "train --dry-run"])
def test_an_environment_that_ends_its_process_is_told_before_anything_is_started(
    arguments: str, tmp_path: Path
) -> None:
    ended = command(f"distpolicy {arguments} --env habit_envs:EndsItsProcess --env-kwargs call=constructor", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"distpolicy: error: env habit_envs:EndsItsProcess {MADE}: exit code 0\n"
    assert not list(tmp_path.iterdir())


def test_a_thread_that_an_environment_has_left_does_not_keep_the_command(tmp_path: Path) -> None:
    ended = command("distpolicy evaluate random --env habit_envs:KeepsAThread --episodes 2 --json", tmp_path)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["returns"] == [5.0] * 2
    assert re.fullmatch(
        r"distpolicy: warning: ended without a thread that goes on: simulator(, simulator)*\n", ended.stderr
    )


def test_programs_that_an_environment_has_left_end_with_the_command(tmp_path: Path) -> None:
    ended = command("distpolicy evaluate random --env habit_envs:StartsPrograms --episodes 2", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 episodes" in ended.stdout
    assert not [found for found in psutil.process_iter(["cmdline"]) if found.info["cmdline"] == ["sleep", "4321"]]


def test_the_result_is_shown_though_an_environment_has_taken_the_output(tmp_path: Path) -> None:
    for option, shown in (("", "2 episodes"), ("--json", '"episodes": 2')):
        ended = command(f"distpolicy evaluate random --env habit_envs:TakesOutput --episodes 2 {option}", tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert shown in ended.stdout


def test_more_processes_than_files_may_be_open_is_told_in_one_line(tmp_path: Path) -> None:
    arguments = "--env habit_envs:Base --episodes 60 --num-envs 60 --vectorization async"
    ended = command(f"ulimit -n 40; distpolicy evaluate random {arguments}", tmp_path)
    assert ended.returncode == 1
    assert re.fullmatch(
        r"distpolicy: error: env habit_envs:Base cannot have 60 processes: Too many open files; .*\n", ended.stderr
    )


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("random", "random"),
        ("fixed:[0, 1]", "fixed"),
        ("run", "greedy"),
        ("run/best_policy", "greedy"),
        ("run/collect_policy", "stochastic"),
        ("somewhere/my model", "saved"),
    ],
)
def test_an_evaluation_does_not_call_every_policy_greedy(
    source: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert kind_of(Path(source), EvaluateConfig()) == kind
    assert kind_of(Path("run"), EvaluateConfig(stochastic=True)) == "stochastic"
