from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distpolicy.errors import ConfigError
from launch.output.folder_lock import is_used, used_alone

HOLD = """
import sys, time
from pathlib import Path
from launch.output.folder_lock import used_alone
with used_alone(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert not is_used(folder)
    with used_alone(folder):
        assert is_used(folder)
        with pytest.raises(ConfigError, match=f"{folder} is in use"), used_alone(folder):
            pass
        (folder / "file").touch()
    assert not is_used(folder)
    with used_alone(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_folder_that_stays_empty_goes_with_the_parents_made_for_it(tmp_path: Path) -> None:
    with used_alone(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not list(tmp_path.iterdir())
    with used_alone(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match="is in use"), used_alone(tmp_path):
            pass
        process.kill()
    with used_alone(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"cannot write into .*file/data: Not a directory"),
        used_alone(tmp_path / "file" / "data"),
    ):
        pass
