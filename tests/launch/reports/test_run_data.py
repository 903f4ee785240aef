"""What is read from run directories: of runs that go on, have ended, were killed, or come from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from written_runs import STEPS, change_record, moved_to_another_process, write_run

from distpolicy.errors import ConfigError
from launch.config.train import TrainConfig
from launch.reports.groups import grouped
from launch.reports.run_data import read_run


def test_a_run_is_read_into_arrays(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", 7, num_faults=1).path)
    assert (run.env, run.agent, run.seed, run.target_return) == ("CartPole-v1", "ppo", 3, 475.0)
    np.testing.assert_array_equal(run.steps, STEPS * np.arange(1, 8))
    np.testing.assert_array_equal(run.seconds, 2.0 * np.arange(1, 8))
    assert np.isnan(run.column("nothing")).all()
    assert np.isnan(run.column("approx_kl")).all(), "a column without values"
    assert (run.last("loss"), run.last("approx_kl")) == (pytest.approx(1 / 7, rel=1e-4), None)
    assert [row["what"] for row in run.faults] == ["collector 0"]
    assert (run.steps_of_update(3), run.steps_of_update(0), run.steps_of_update(99)) == (3 * STEPS, 0.0, 7 * STEPS)


def test_the_seconds_of_training_are_those_that_the_run_has_told_at_its_end(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 7, ends=False)
    assert read_run(directory.path).train_s == 14.0
    # The evaluation that has solved it counts, and comes after the last update.
    change_record(directory, end={"state": "solved", "train_s": 29.3})
    assert read_run(directory.path).train_s == 29.3
    assert read_run(write_run(tmp_path / "new", 0, ends=False).path).train_s is None


@pytest.mark.parametrize(("last", "state"), [(400.0, "ended"), (480.0, "solved")])
def test_the_state_of_a_run_that_has_ended(last: float, state: str, tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path / "run", 5, returns=np.linspace(0.0, last, 5)).path).state == state


def test_a_run_is_running_as_long_as_its_process_is(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5, ends=False)
    assert read_run(directory.path).state == "running"
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    moved_to_another_process(directory, process.pid)
    assert read_run(directory.path).state == "interrupted"
    # Another process has got the number.
    moved_to_another_process(directory, 1)
    assert read_run(directory.path).state == "interrupted"


def test_a_run_of_another_machine_is_running_while_it_writes(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5, ends=False)
    moved_to_another_process(directory, 1, "elsewhere")
    assert read_run(directory.path).state == "running"
    os.utime(directory.metrics_file, (0, 0))
    assert read_run(directory.path).state == "interrupted"


def test_a_table_that_is_just_being_written_is_read_up_to_its_last_whole_row(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5)
    for file in (directory.metrics_file, directory.evaluations_file, directory.worker_times_file):
        data = file.read_bytes()
        file.write_bytes(data[:-4])
    run = read_run(directory.path)
    assert run.num_rows == 4
    assert run.evaluations == []
    assert [row["worker"] for row in run.worker_times][-1] == "collector 0"


def test_a_run_without_the_newer_files_is_read(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5)
    for file in (directory.record_file, directory.evaluations_file, directory.worker_times_file):
        file.unlink()
    run = read_run(directory.path)
    assert (run.num_rows, run.record, run.evaluations, run.state) == (5, {}, [], "interrupted")


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a run directory: it has no config\.yaml"):
        read_run(tmp_path)
    (tmp_path / "config.yaml").write_text("policy: random\n")
    with pytest.raises(ConfigError, match="is not the directory of a training run"):
        read_run(tmp_path)
    (tmp_path / "config.yaml").write_text("{")
    with pytest.raises(ConfigError, match=r"cannot read .*config\.yaml"):
        read_run(tmp_path)


def test_a_run_of_a_later_version_is_refused(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5)
    change_record(directory, format=99)
    with pytest.raises(ConfigError, match=r"another version of distpolicy: run\.json has format 99"):
        read_run(directory.path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": [1]}'])
def test_a_damaged_record_is_told(text: str, tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5)
    directory.record_file.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.json"):
        read_run(directory.path)


def test_runs_are_grouped_by_any_setting(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path / str(number), 3, TrainConfig(seed=number, collectors=collectors)).path)
        for number, collectors in enumerate((1, 2, 2))
    ]
    names = {
        by: [(group.name, len(group.runs)) for group in grouped(runs, by)]
        for by in ("agent", "env", "collectors", "seed", "learning-rate", "ppo.learning-rate")
    }
    assert names["agent"] == [("ppo", 3)]
    assert names["env"] == [("CartPole-v1", 3)]
    assert names["collectors"] == [("collectors 1", 1), ("collectors 2", 2)]
    assert len(names["seed"]) == 3
    assert names["learning-rate"][0][1] == names["ppo.learning-rate"][0][1] == 3
    with pytest.raises(ConfigError, match="no run has the setting colectors; did you mean collectors"):
        grouped(runs, "colectors")
