"""The folder of the runs of several seeds, and the preset that settings come from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from distpolicy.errors import ConfigError
from launch.config.codec import dump
from launch.config.train import TrainConfig
from launch.config.tune import BEST_FILE, SEARCH_FILE, TuneConfig, TuneFile
from launch.output.seeds_folder import SEEDS_FILE, SETTINGS_FILE, Seeds, preset_of, read_seeds, text_of_seeds


def test_seeds_and_their_preset_are_read_as_they_were_written(tmp_path: Path) -> None:
    for seeds in (Seeds([3, 4], "lunarlander-ppo"), Seeds([0])):
        (tmp_path / SEEDS_FILE).write_text(text_of_seeds(seeds))
        assert read_seeds(tmp_path) == seeds
    (tmp_path / SEEDS_FILE).write_text('{"format": 1, "seeds": [7]}')
    assert read_seeds(tmp_path) == Seeds([7]), "as earlier versions wrote it"
    (tmp_path / SEEDS_FILE).write_text('{"format": 1, "seeds": []}')
    with pytest.raises(ConfigError, match=r"seeds\.json: format 1 with 0 seeds"):
        read_seeds(tmp_path)


def test_the_preset_of_settings_is_told_by_the_file_beside_them(tmp_path: Path) -> None:
    settings, config = tmp_path / SETTINGS_FILE, tmp_path / "config.yaml"
    assert preset_of(settings) is None
    assert preset_of(config) is None
    (tmp_path / SEEDS_FILE).write_text(text_of_seeds(Seeds([0], "ppo")))
    (tmp_path / "run.json").write_text(json.dumps({"format": 1, "preset": "lunarlander-ppo"}))
    assert preset_of(settings) == "ppo"
    assert preset_of(config) == "lunarlander-ppo"
    assert preset_of(tmp_path / "mine.yaml") is None


def test_the_preset_of_the_best_settings_is_that_of_the_search(tmp_path: Path) -> None:
    best = tmp_path / BEST_FILE
    assert preset_of(best) is None
    file = TuneFile(TuneConfig({"ppo.num-epochs": "choice 4 8"}), TrainConfig())
    (tmp_path / SEARCH_FILE).write_text(dump(file))
    assert preset_of(best) is None
    (tmp_path / SEARCH_FILE).write_text(dump(dataclasses.replace(file, preset="lunarlander-ppo")))
    assert preset_of(best) == preset_of(tmp_path / SEARCH_FILE) == "lunarlander-ppo"


@pytest.mark.parametrize("preset", ["a-preset-of-a-later-version", 7, None])
def test_a_preset_that_this_version_lacks_is_left_out(preset: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": 1, "preset": preset}))
    assert preset_of(tmp_path / "config.yaml") is None
