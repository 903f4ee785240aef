"""The folder of a Ray that a command starts. Ray itself does not run here."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from distpolicy.errors import ConfigError, DistPolicyWarning
from launch.cluster.session_folder import session_folder

RAY = Path(ray.__file__).parent
NOBODY = 65534
LONG_AGO = time.time() - 60.0


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder, where the folders of a session are made."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def leftover(parent: Path, name: str = "gone") -> Path:
    folder = parent / f"dp-{os.getuid()}-{name}"
    (folder / "ray").mkdir(parents=True)
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def test_nobody_else_can_enter_the_folder_whatever_ray_does_to_its_own(parent: Path) -> None:
    with session_folder() as folder:
        ray._common.utils.try_to_create_directory(str(folder))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert folder.parent.parent == parent
    assert not list(parent.iterdir())


def test_the_folder_goes_after_an_error(parent: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), session_folder() as folder:
        folder.mkdir()
        raise ZeroDivisionError
    assert not list(parent.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_folders_of_killed_commands_go_and_those_of_others_stay(parent: Path) -> None:
    gone = leftover(parent)
    foreign, elsewhere = leftover(parent, "foreign"), parent / "elsewhere"
    elsewhere.mkdir()
    (parent / f"dp-{os.getuid()}-link").symlink_to(elsewhere)
    os.chown(foreign, NOBODY, NOBODY)
    with session_folder() as used:
        os.utime(used.parent, (LONG_AGO, LONG_AGO))
        with session_folder():
            assert used.parent.is_dir()
    assert not gone.exists()
    assert foreign.is_dir()
    assert elsewhere.is_dir()


def test_what_ray_has_left_of_a_killed_command_is_ended_and_nothing_else(parent: Path) -> None:
    gone = leftover(parent)
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    agent = subprocess.Popen([*program, str(RAY / "dashboard" / "agent.py"), f"--session-dir={gone}/ray/session"])
    reader = subprocess.Popen([*program, f"{gone}/ray/session/logs/raylet.out"])
    try:
        while not psutil.Process(agent.pid).cmdline():
            time.sleep(0.01)
        with session_folder():
            agent.wait(10.0)
            assert reader.poll() is None
    finally:
        for process in (agent, reader):
            process.kill()
            process.wait()


def test_a_folder_that_others_may_replace_is_refused(parent: Path) -> None:
    parent.chmod(0o777)
    with pytest.raises(ConfigError, match=f"others may write to {parent}"), session_folder():
        pass


def test_a_path_that_is_too_long_for_sockets_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with contextlib.ExitStack() as resources:
        with pytest.warns(DistPolicyWarning, match="too long"):
            folder = resources.enter_context(session_folder())
        assert folder.is_relative_to("/tmp")
        assert len(str(folder)) < 40


def test_a_parent_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere")
    with pytest.raises(ConfigError, match="in /nowhere: No such file"), session_folder():
        pass
