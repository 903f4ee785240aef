"""Inputs of our own: settings on the command line and in files. README.md beside this file has the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from distpolicy.errors import ConfigError
from launch.commands.evaluate import parse_evaluate
from launch.commands.train import parse_train
from launch.config.codec import dump
from launch.config.train import TrainConfig, load_train_config
from launch.evaluation import _environment
from launch.option_values import absolute_path, keyword_arguments


def loaded(folder: Path, text: str) -> TrainConfig:
    path = folder / "config.yaml"
    path.write_text(text)
    return load_train_config(path)


def typed(values: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    """Values with their types: 1, 1.0 and True are equal."""
    return {name: (type(value), value) for name, value in values.items()}


# The command line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--env-kwargs", "size=3", "goal=1", "size=4"], "'size' is given twice"),
        (["--env-kwargs", 'goal={"a": 1, "b": {"c": 2, "c": 3}}'], "the key 'c' occurs twice"),
        (["--env-kwargs", "size=3", "--env-kwargs", "goal=4"], "--env-kwargs is given twice: give all its values"),
        (["--env_kwargs", "size=3", "--env-kwargs", "goal=4"], "--env-kwargs is given twice"),
        (["--wrappers", "a.B", "--seed", "1", "--wrappers=c.D"], "--wrappers is given twice"),
        (["--info-metrics", "won", "--info-metrics", "far"], "--info-metrics is given twice"),
    ],
)
def test_a_value_that_would_be_dropped_is_told(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_train(words)
    with pytest.raises(ConfigError, match=told):
        parse_evaluate(["random", "--env", "CartPole-v1", *words])


def test_arguments_of_an_environment_that_are_not_named_stay(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(dump(TrainConfig(env="Pendulum-v1", env_kwargs={"g": 5.0, "render_mode": None})))
    options = ["--config", str(file), "--env-kwargs", "g=2"]
    assert parse_train(options).config.env_kwargs == {"g": 2, "render_mode": None}
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "saved_model.pb").touch()
    factory, _ = _environment(tmp_path, parse_evaluate([str(tmp_path), "--env-kwargs", "g=2"]).config)
    assert factory.kwargs == {"g": 2, "render_mode": None}
    # Those of one environment are not those of another.
    other = parse_evaluate([str(tmp_path), "--env", "CartPole-v1", "--env-kwargs", "sutton_barto_reward=true"])
    assert _environment(tmp_path, other.config)[0].kwargs == {"sutton_barto_reward": True}


def test_an_option_of_one_value_may_be_given_again() -> None:
    # Scripts and aliases change their own defaults so.
    assert parse_train(["--total-steps", "10", "--seed", "3", "--total-steps", "20"]).config.total_steps == 20


def test_only_what_is_spelt_as_a_number_is_one() -> None:
    texts = ["level=007", "zip=010.5", "when=12:30", "day=2024-01-01", "hex=0x10", "under=1__0", "digit=٣", "word=yes"]
    assert keyword_arguments(texts) == dict(text.split("=") for text in texts)
    numbers = keyword_arguments(["a=+5", "b=1_000", "c=.5", "d=5.", "e=-1e3", "f=inf", "g=-0", "h=1_0.5"])
    expected = {"a": 5, "b": 1000, "c": 0.5, "d": 5.0, "e": -1000.0, "f": float("inf"), "g": 0, "h": 10.5}
    assert typed(numbers) == typed(expected)


@pytest.mark.parametrize("text", ["1e999", "[1, -1e999]", "1_0e999", "1" + "0" * 5000, "[" * 100_000])
def test_a_number_that_becomes_infinite_and_a_deep_nest_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"too large|Exceeds the limit|nested more than 100 deep") as caught:
        parse_train(["--env-kwargs", f"x={text}"])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["²", "--5", "1:00", "0.0s"])
def test_an_interval_that_is_neither_a_number_nor_a_time_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="checkpoint_every must be a number of updates, or a time"):
        TrainConfig(checkpoint_every=text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * 300, r"cannot use the path .*x\.\.\.: File name too long"),
        (os.fsdecode(b"r\xff"), r"r\\udcff is not in UT"),
    ],
)
def test_a_path_that_no_file_system_or_file_takes_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_train(["--run-dir", str(tmp_path / text)])
    with pytest.raises(ConfigError, match=told):
        parse_evaluate([str(tmp_path / text)])
    with pytest.raises(ConfigError, match=told):
        absolute_path(str(tmp_path / text))


# config.yaml, written by hand


def test_scalars_are_read_as_everybody_reads_them_by_now(tmp_path: Path) -> None:
    text = (
        "env_kwargs: {level: 010, at: 12:30, long: 1:30:00, day: 2024-01-01, b: no, on: off, y: y, op: =, hex: 0x1F,\n"
        "  oct: 0o17, n: 1_000, e: 1e3, f: -.5, g: 5., none: ~, t: true, i: .inf, exp: 1e5x, minus: -, text: '1'}\n"
    )
    expected = {
        **{"level": "010", "at": "12:30", "long": "1:30:00", "day": "2024-01-01", "b": "no", "on": "off", "y": "y"},
        **{"op": "=", "hex": 31, "oct": 15, "n": 1000, "e": 1000.0, "f": -0.5, "g": 5.0, "none": None, "t": True},
        **{"i": float("inf"), "exp": "1e5x", "minus": "-", "text": "1"},
    }
    config = loaded(tmp_path, text)
    assert typed(config.env_kwargs) == typed(expected)
    written = dump(config)
    assert typed(loaded(tmp_path, written).env_kwargs) == typed(expected)
    # Other readers, of YAML 1.1 too, find the same in what is written.
    assert typed(yaml.safe_load(written)["env_kwargs"]) == typed(expected)


def test_a_count_may_have_an_exponent_in_a_file_too(tmp_path: Path) -> None:
    assert typed(vars(loaded(tmp_path, "total_steps: 1e6\n")))["total_steps"] == (int, 10**6)
    assert loaded(tmp_path, "checkpoint_every: 1e3\n").checkpoint_every == 1000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 010\n", "seed: expected int, got '010'"),
        ("total_steps: 1:30:00\n", "total_steps: expected int, got '1:30:00'"),
        ("total_steps: 1e6.5\n", "total_steps: expected int, got '1e6.5'"),
        ("total_steps: 1.5\n", "total_steps: expected int, got 1.5"),
        ("total_steps: .inf\n", "total_steps: expected int, got inf"),
        ("jit_compile: no\n", "jit_compile: expected true or false, got 'no'"),
        ("jit_compile: 1e0\n", "jit_compile: expected bool, got 1.0"),
        (f"target_return: 1{'0' * 400}\n", "target_return: a number of 401 digits is too large"),
        ("env_kwargs: {3: 4}\n", "env_kwargs: the name 3 is not a text"),
        ("env_kwargs: {true: 4}\n", "env_kwargs: the name True is not a text"),
        (
            "env_kwargs: {map: [!!binary aGVsbG8=]}\n",
            "env_kwargs: map: expected numbers, texts, lists or mappings, got a b",
        ),
        ("env_kwargs: {map: !!set {a, b}}\n", "env_kwargs: map: expected numbers, texts, lists or mappings, got a set"),
        ("env: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("seed: 1\n---\nseed: 2\n", "found another document"),
        ("agent:\n\tkind: ppo\n", r"line 2: found character '\\t'"),
        ("<<: {seed: 3}\n", "unknown key '<<'"),
    ],
)
def test_a_value_of_another_type_is_told_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        loaded(tmp_path, text)
    assert "config.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "\x00",
        "\x1b[2J",
        "\x85",
        "\u2028",
        "\ufeff",
        "🙂",
        "\ud800",
        " a ",
        "# b",
        "a: b",
        "- c",
        "'",
        "=",
        "<<",
    ],
)
def test_a_text_of_any_characters_stays_as_it_is(text: str, tmp_path: Path) -> None:
    config = TrainConfig(env_kwargs={"name": text, text: [text]})
    assert loaded(tmp_path, dump(config)) == config


# The interpreter


def test_an_evaluation_does_not_depend_on_the_interpreters_options(tmp_path: Path) -> None:
    arguments = ["evaluate", "random", "--env", "CartPole-v1", "--episodes", "4", "--json"]
    found = []
    for options, hash_seed in (([], "0"), ([], "1"), (["-OO"], "random")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, *options, "-m", "launch", *arguments]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(ended.stdout)["returns"])
    assert found[0] == found[1] == found[2]
