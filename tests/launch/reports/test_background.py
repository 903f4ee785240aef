"""The process that writes a run's report beside the run."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest
from written_runs import write_run

from distpolicy.errors import DistPolicyError, DistPolicyWarning
from launch.reports.background import ReportProcess


def test_a_report_is_written_beside_the_run_and_with_its_picture_at_the_end(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5)
    process = ReportProcess(directory.path)
    begin = time.monotonic()
    process.begin()
    process.begin()
    assert time.monotonic() - begin < 1.0, "the run does not wait"
    deadline = time.monotonic() + 60.0
    while not directory.report_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not directory.picture_file.exists()
    directory.report_file.unlink()
    process.finish()
    assert directory.report_file.exists()
    process.close()
    assert directory.picture_file.exists()
    process.close()


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 2)
    directory.report_file.mkdir()
    process = ReportProcess(directory.path)
    with pytest.raises(DistPolicyError, match=r"^the report was not written: cannot write .*report\.html: "):
        process.finish()
    process.close()


@pytest.mark.slow
def test_a_picture_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 2)
    (directory.picture_file / "folder").mkdir(parents=True)
    process = ReportProcess(directory.path)
    process.finish()
    with pytest.warns(DistPolicyWarning, match=r"the report has no picture: cannot write .*report\.png"):
        process.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        process.close()
