"""The values of options: counts, arguments of environments, paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from distpolicy.errors import ConfigError
from launch.commands.collect import parse_collect
from launch.commands.evaluate import parse_evaluate
from launch.commands.train import parse_train
from launch.option_values import count, keyword_arguments
from launch.output.shown_paths import PathsConsole, shown_from


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000000", 10**6),
        ("1_000_000", 10**6),
        ("1e6", 10**6),
        ("1M", 10**6),
        ("0.5M", 500_000),
        ("500k", 500_000),
        ("2.5e3", 2500),
        ("-3", -3),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_a_count_may_have_an_exponent_or_a_unit(text: str, value: int) -> None:
    assert count(text) == value


@pytest.mark.parametrize("text", ["1.5", "1e-3", "abc", "", "M", "1MM", "nan", "1e999999"])
def test_what_is_not_a_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number such as"):
        count(text)


def test_all_count_options_take_them() -> None:
    train = parse_train(
        ["--total-steps", "1e6", "--checkpoint-every", "1k", "--network.actor-units", "1k", "64"]
    ).config
    assert (train.total_steps, train.checkpoint_every, train.network.actor_units) == (10**6, 1000, (1000, 64))
    collect = parse_collect(["--steps", "1M", "--rows-per-shard", "10k", "--out", "x"]).config
    assert (collect.steps, collect.rows_per_shard) == (10**6, 10_000)
    with pytest.raises(ConfigError, match="is not a whole number"):
        parse_train(["--total-steps", "1.5"])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["x", "false", "y", "True", "z", "null"], {"x": False, "y": True, "z": None}),
        (["goals", "[3,4]", "size=16"], {"goals": [3, 4], "size": 16}),
        (['options={"a": [1.5]}', "name", "a=b"], {"options": {"a": [1.5]}, "name": "a=b"}),
        (["gravity", "-9.8", "n=-1", "big", "1e3"], {"gravity": -9.8, "n": -1, "big": 1000.0}),
        (['text="false"', "map", "4x4", "empty="], {"text": "false", "map": "4x4", "empty": ""}),
    ],
)
def test_arguments_are_json_or_text_in_both_spellings(texts: list[str], expected: dict[str, Any]) -> None:
    found = keyword_arguments(texts)
    assert found == expected
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in expected.items()}
    assert parse_train(["--env-kwargs", *texts]).config.env_kwargs == expected


@pytest.mark.parametrize(("texts", "message"), [(["x"], "'x' has no value"), (["3", "4"], "'3' is not the name")])
def test_arguments_without_a_value_or_a_name_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_train(["--env-kwargs", *texts])


def test_paths_are_resolved_when_the_command_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "runs" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    train, evaluate = parse_train(["--run-dir", "runs/x"]), parse_evaluate(["runs/x", "--video", "videos"])
    collect = parse_collect(["--steps", "1", "--out", "data", "--policy", "saved"])
    assert train.run_dir == tmp_path / "runs/x"
    assert (Path(evaluate.source), evaluate.config.video) == (tmp_path / "runs/x", tmp_path / "videos")
    assert (collect.out, collect.config.policy) == (tmp_path / "data", str(tmp_path / "saved"))
    assert parse_collect(["--steps", "1", "--out", "data"]).config.policy == "random"


def test_paths_are_shown_relative_to_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    console = PathsConsole()
    os.chdir("/")
    console.print(f"run directory: {tmp_path / 'run'}")
    assert capsys.readouterr().out == "run directory: run\n"
    assert shown_from("/", "/a/b") == "/a/b"


def test_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    PathsConsole().print("envs:snake: 2 collectors, distpolicy[gpu]")
    assert capsys.readouterr().out == "envs:snake: 2 collectors, distpolicy[gpu]\n"
