from __future__ import annotations

import re
from pathlib import Path

import pytest

from distpolicy.errors import ConfigError
from launch.config.train import TrainConfig, load_train_config
from launch.output.run_directory import RunDirectory, check_free

CONFIG = TrainConfig(env="Pendulum-v1", seed=3)


@pytest.mark.parametrize("exists", [True, False])
def test_a_new_run_directory_holds_the_resolved_config(exists: bool, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    if exists:
        path.mkdir(parents=True)
    run = RunDirectory.create(path, CONFIG.env)
    run.write_config(CONFIG)
    assert [item.name for item in path.iterdir()] == ["config.yaml"]
    assert load_train_config(run.config_file) == CONFIG


def test_an_existing_run_directory_is_opened(tmp_path: Path) -> None:
    made = RunDirectory.create(tmp_path / "run", CONFIG.env)
    made.write_config(CONFIG)
    opened = RunDirectory.open(tmp_path / "run")
    assert vars(opened) == vars(made)
    assert opened.checkpoints == tmp_path / "run" / "checkpoints"


@pytest.mark.parametrize("content", ["config.yaml", ".hidden"])
def test_a_directory_that_holds_something_is_refused_and_left_as_it_is(content: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / content).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{path} exists: choose another --run-dir.*--resume {path}"):
        RunDirectory.create(path, CONFIG.env)
    assert {item.name: item.read_text() for item in path.iterdir()} == {content: "mine"}


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists: choose another"):
        RunDirectory.create(path, CONFIG.env)
    assert path.read_text() == "mine"


def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"cannot write to run directory .*file/run: "):
        RunDirectory.create(tmp_path / "file" / "run", CONFIG.env)


def test_a_free_place_may_be_missing_or_an_empty_folder(tmp_path: Path) -> None:
    check_free(tmp_path / "missing")
    check_free(tmp_path)
    (tmp_path / "something").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        check_free(tmp_path)


@pytest.mark.parametrize("made", [True, False])
def test_a_directory_without_config_is_no_run_directory(made: bool, tmp_path: Path) -> None:
    path = tmp_path / "run"
    if made:
        path.mkdir()
    reason = r"it has no config\.yaml" if made else "there is no such folder"
    with pytest.raises(ConfigError, match=f"run is not a run directory: {reason}"):
        RunDirectory.open(path)


def test_without_a_name_runs_get_fresh_folders_named_by_env_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [RunDirectory.create(None, "my_module:ALE/Pong-v5").path for _ in range(3)]
    assert len(set(runs)) == 3
    for path in runs:
        assert path.parent == Path("runs")
        assert re.fullmatch(r"ALE-Pong-v5-\d{8}-\d{6}(-\d+)?", path.name)


def test_a_folder_is_removed_if_nothing_was_written_and_else_stays(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", CONFIG.env)
    run.remove_if_empty()
    assert not run.path.exists()
    run = RunDirectory.create(tmp_path / "run", CONFIG.env)
    run.write_config(CONFIG)
    run.remove_if_empty()
    assert run.config_file.is_file()
