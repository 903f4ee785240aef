"""Options and commands that do not exist are answered with the one that was meant."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from commands import distpolicy

from distpolicy.errors import ConfigError
from launch.cli import run
from launch.commands.collect import parse_collect
from launch.commands.train import parse_train


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--learning-rate", "--ppo.learning-rate"),
        ("--lr", "--ppo.learning-rate"),
        ("--ppo.lr", "--ppo.learning-rate"),
        ("--envs", "--envs-per-collector"),
        ("--num-envs", "--envs-per-collector"),
        ("--gamma", "--ppo.discount"),
        ("--colectors", "--collectors"),
        ("--rundir", "--run-dir"),
        ("--reinforce.learning-rate", "--ppo.learning-rate"),
    ],
)
def test_the_option_that_was_meant_is_named(given: str, meant: str) -> None:
    for arguments in ([given, "1"], [f"{given}=1"]):
        with pytest.raises(ConfigError, match=rf"unknown option {given}; did you mean {meant}\?"):
            parse_train(arguments)


def test_each_command_has_its_own_options() -> None:
    for given, meant in (("--envs", "--num-envs"), ("--total-steps", "--steps"), ("--output", "--out")):
        with pytest.raises(ConfigError, match=rf"did you mean {meant}\?"):
            parse_collect([given, "1"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("CartPole-v1",), r"unexpected argument CartPole-v1: options begin with --"),
        (("--seeds", "two"), r"Error parsing --seeds: 'two' is not a whole number such as 1000000, 1e6, 1M or 500k \("),
        (("--target-return", "x"), r"Error parsing --target-return: could not convert string to float: 'x' \("),
        (("--ppo.learning-rate", "-1"), r"^ppo.learning_rate must be above 0, but is -1.0 \("),
        (("--total-steps",), r"^--total-steps needs a value"),
        (
            ("--vectorization", "fast"),
            r"^invalid choice 'fast' for argument '--vectorization'\. Expected one of [^-]*\(",
        ),
        (("--agent", "pppo"), r"or give module:function; did you mean ppo\?$"),
        (("--agent", "SAC"), r"or give module:function; did you mean sac\?$"),
        (("--agent", "custom"), r"--agent custom: give module:function instead"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_wrong_value_is_one_short_line(
    arguments: tuple[str, ...], told: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    with pytest.raises(ConfigError, match=told):
        parse_train(list(arguments))


def test_options_without_a_command_are_answered_with_one() -> None:
    with pytest.raises(
        ConfigError, match="give a command before --env, such as distpolicy train --env; there are train"
    ):
        run(["--env", "CartPole-v1"], 0.0)


def test_a_misspelt_command_is_answered_with_the_right_one(tmp_path: Path) -> None:
    done = distpolicy("trian", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("did you mean train?")
