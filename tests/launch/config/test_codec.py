"""YAML files that are too large, too deep, or not files: one line that names them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from distpolicy.errors import ConfigError
from launch.config.codec import dump, load_yaml
from launch.config.collect import CollectConfig


def refused(path: Path, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cannot read {path}: [^\n]*{reason}[^\n]*$"):
        load_yaml(path)


def test_what_is_not_a_small_file_is_refused(tmp_path: Path) -> None:
    huge, fifo = tmp_path / "huge.yaml", tmp_path / "fifo.yaml"
    huge.touch()
    os.truncate(huge, 40 * 2**30)
    os.mkfifo(fifo)
    refused(huge, r"40\.0 GiB")
    refused(fifo, "not a regular file")
    refused(tmp_path / "none.yaml", "No such file")


def test_what_is_not_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("env: CartPole-v1\nwrappers: [1\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml: line 3: expected ',' or '\]', but got '<stream end>'$"):
        load_yaml(tmp_path / "broken.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file or directory$"):
        load_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, "? " * 1_000, "[" * 200 + "]" * 200])
def test_nests_that_are_too_deep_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text(text)
    refused(tmp_path / "deep.yaml", "nested more than 100 deep")


def test_a_short_file_that_stands_for_a_huge_one_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    refused(tmp_path / "bomb.yaml", "alias")


def test_what_is_written_has_no_alias(tmp_path: Path) -> None:
    twice = [1, 2]
    text = dump(CollectConfig(env_kwargs={"a": twice, "b": twice}))  # type: ignore[dict-item]
    (tmp_path / "config.yaml").write_text(text)
    assert load_yaml(tmp_path / "config.yaml") == yaml.safe_load(text)
