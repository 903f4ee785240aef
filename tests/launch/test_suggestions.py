"""Options and commands that do not exist are answered with the one that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import distpolicy

from distpolicy.errors import ConfigError
from launch.commands.collect import parse_collect
from launch.commands.train import parse_train
from launch.suggestions import did_you_mean


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


def test_what_is_like_nothing_gets_no_suggestion() -> None:
    assert did_you_mean("--no-such-thing", ["--env", "--collectors"]) == ""


def test_a_misspelt_command_is_answered_with_the_right_one(tmp_path: Path) -> None:
    done = distpolicy("trian", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("did you mean train?")
