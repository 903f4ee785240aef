"""The standard output may be closed, or on a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import distpolicy, environment

COMMANDS = [("--help",), ("train", "--help"), ("train", "--env", "Acrobot-v1", "--dry-run")]


def run(arguments: tuple[str, ...], folder: Path, output: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in a shell, with something done to its output."""
    command = [sys.executable, "-m", "launch", *arguments]
    script = f'"$@" {output}'
    shell = ["bash", "-o", "pipefail", "-c", script, "bash", *command]
    return subprocess.run(shell, cwd=folder, env=environment(), capture_output=True, check=False)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(arguments, tmp_path, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"distpolicy: error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_reader_that_has_ended_is_no_error_to_tell(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(arguments, tmp_path, "| true")
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "http://127.0.0.1:99999", "doctor"),
        ("submit", "http://127.0.0.1:x", "doctor"),
        ("submit", "127.0.0.1:99999", "doctor"),
        ("doctor", "--address", "127.0.0.1:99999"),
    ],
)
def test_a_port_that_cannot_be_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = distpolicy(*arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()) + done.stdout.count("FAIL") == 1
    assert "Traceback" not in done.stderr
