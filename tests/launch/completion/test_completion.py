"""Shell completion, in real shells."""

from __future__ import annotations

import functools
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distpolicy.agents.agent_config import agent_kinds
from launch import cli
from launch.commands.collect import parse_collect
from launch.commands.doctor import parse_doctor
from launch.commands.evaluate import parse_evaluate
from launch.commands.export import parse_export
from launch.commands.reports import PLOT, REPORT, RUNS, WATCH
from launch.commands.serve import parse_serve
from launch.commands.submit import parse_submit
from launch.commands.train import parse_train
from launch.commands.tune import parse_tune
from launch.completion.options import commands
from launch.completion.scripts import completion_script
from launch.config.codec import to_dict
from launch.config.flat_settings import flat
from launch.config.setting_names import setting_hints
from launch.config.train import TrainConfig

# Completes the last argument as bash does when TAB is pressed after it.
IN_BASH = """
compopt() { :; }  # It works in a completion only.
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_distpolicy
printf '%s\\n' "${COMPREPLY[@]}"
"""


found = functools.cache(commands)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "script"
    path.write_text(completion_script("bash"))
    return path


def completed(script: Path, *words: str) -> list[str]:
    process = subprocess.run(
        ["bash", "-c", IN_BASH, "-", script, "distpolicy", *words], capture_output=True, text=True, check=True
    )
    assert not process.stderr
    return process.stdout.split()


def test_bash_completes_commands_options_and_names(script: Path) -> None:
    assert completed(script, "tr") == ["train"]
    assert completed(script, "train", "--pre") == ["--preset"]
    assert completed(script, "train", "--preset", "stateless-pend") == ["stateless-pendulum-lstm"]
    assert completed(script, "train", "--env", "Cart") == ["CartPole-v1"]
    assert completed(script, "train", "--env", "=", "Cart") == ["CartPole-v1"]
    assert completed(script, "train", "--seed", "1", "--agent", "sa") == ["sac"]
    assert completed(script, "collect", "--vectorization", "en") == ["envpool"]
    assert set(completed(script, "")) == set(found())


def test_bash_offers_the_options_of_an_agent_once_its_name_is_there(script: Path) -> None:
    offered = completed(script, "train", "--")
    assert "--sac." in offered
    assert "--sac.learning-rate" not in offered
    assert completed(script, "train", "--sac.learning-r") == ["--sac.learning-rate"]


def test_bash_completes_the_names_of_settings(script: Path) -> None:
    assert completed(script, "tune", "--search", "pp") == ["ppo."]
    assert {"ppo.learning-rate", "ppo.num-epochs"} <= set(completed(script, "tune", "--search", "ppo."))
    assert completed(script, "tune", "--search", "rollout-s") == ["rollout-steps"]
    # They are the same in all trials.
    assert completed(script, "tune", "--search", "total") == []
    offered = completed(script, "plot", "runs", "--by", "")
    assert {"agent", "env", "seed", "collectors", "network.", "ppo."} <= set(offered)
    assert completed(script, "plot", "runs", "--by", "ppo.num-ep") == ["ppo.num-epochs"]


def test_settings_are_offered_that_the_commands_take() -> None:
    config = TrainConfig()
    others = tuple(f"{kind}." for kind in agent_kinds() if kind != config.agent.kind)
    options = {name: [option for option in found()[name].options if option.values] for name in ("tune", "plot")}
    values = {option.name: option.values for name in options for option in options[name]}
    assert [name for name in values["--search"] if not name.startswith(others)] == list(setting_hints(config))
    by = {name for name in values["--by"] if not name.startswith(others)}
    assert by == {name.replace("_", "-") for name in flat(to_dict(config))}


def test_bash_completes_the_command_of_a_job(script: Path) -> None:
    assert completed(script, "submit", "auto", "tr") == ["train"]
    assert completed(script, "submit", "auto", "train", "--env", "Pen") == ["Pendulum-v1"]


def test_bash_does_not_take_a_folder_for_a_command(script: Path) -> None:
    assert completed(script, "watch", "runs", "--onc") == ["--once"]
    assert completed(script, "submit", "auto", "train", "--run-dir", "report", "--env", "Pen") == ["Pendulum-v1"]


def test_bash_leaves_files_to_itself(script: Path) -> None:
    assert completed(script, "train", "--resume", "") == []
    assert completed(script, "evaluate", "") == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script() -> None:
    process = subprocess.run(["zsh", "-n"], input=completion_script("zsh"), capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


class Zsh:
    """A shell at a terminal of its own, which completes by a script in a folder."""

    def __init__(self, folder: Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "PS1": "> "})
        self._output = ""
        self.type(f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy\n")
        self.wait_for("ready")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, text: str) -> None:
        """Waits until the terminal has shown a text."""
        while text not in self._output:
            assert select.select([self._terminal], [], [], 60.0)[0], self._output
            self._output += os.read(self._terminal, 2**16).decode(errors="replace")
        self._output = self._output.partition(text)[2]

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(tmp_path: Path) -> None:
    (tmp_path / "_distpolicy").write_text(completion_script("zsh"))
    zsh = Zsh(tmp_path)
    try:
        for typed, whole in (
            ("distpolicy ser", "distpolicy serve "),
            ("distpolicy train --env Pendu", "distpolicy train --env Pendulum-v1 "),
            ("distpolicy train --rollout-order ar", "distpolicy train --rollout-order arrival "),
            ("distpolicy submit auto train --env Pendu", "distpolicy submit auto train --env Pendulum-v1 "),
        ):
            zsh.type(typed + "\t")
            zsh.wait_for(whole)
            # Ctrl-U: an empty line again.
            zsh.type("\x15")
    finally:
        zsh.close()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [("submit auto train --env Pen", "Pendulum-v1")],
)
def test_fish_completes(line: str, expected: str, tmp_path: Path) -> None:
    script = tmp_path / "script.fish"
    script.write_text(completion_script("fish"))
    command = f"source {script}; complete -C 'distpolicy {line}'"
    process = subprocess.run(["fish", "--no-config", "-c", command], capture_output=True, text=True, check=True)
    assert [row.split("\t")[0] for row in process.stdout.splitlines()] == [expected]


def test_every_command_is_completed() -> None:
    assert set(found()) == set(cli._COMMANDS)


@pytest.mark.parametrize(
    ("command", "parse", "arguments"),
    [
        ("train", parse_train, ["--agent", "sac", "--env", "Pendulum-v1"]),
        ("collect", parse_collect, []),
        ("evaluate", parse_evaluate, []),
        ("tune", parse_tune, []),
        ("report", REPORT.parse, []),
        ("plot", PLOT.parse, []),
        ("runs", RUNS.parse, []),
        ("watch", WATCH.parse, []),
        ("serve", parse_serve, []),
        ("export", parse_export, []),
        ("doctor", parse_doctor, []),
        ("submit", parse_submit, []),
    ],
)
def test_options_are_those_of_the_help(
    command: str, parse: Callable[[list[str]], Any], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse([*arguments, "--help-all"])
    told = set(re.findall(r"^\W*(--[a-z][\w.-]*\w)[ ,]", capsys.readouterr().out, re.MULTILINE))
    offered = {option.name.replace("no-", "", 1) for option in found()[command].options}
    assert told
    assert {name.replace("no-", "", 1) for name in told} <= offered


@pytest.mark.slow
def test_the_command_needs_neither_tensorflow_nor_ray() -> None:
    program = (
        "import sys; from launch import cli; cli.run(['completion', 'bash'], 0.0); "
        "assert not {'ray', 'tensorflow'} & set(sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("# bash: distpolicy completion bash >")
