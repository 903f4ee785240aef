"""The page of first steps: its commands, one after the other, in a short form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment
from ray_head import free_ports, ray_head

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "first_steps.md").read_text()

# What makes a command short, and lets it run beside others on this machine.
SHORTER = [
    (r"^(distpolicy train(?!.*--total-steps).*)$", r"\1 --total-steps 4096"),
    (r"^(distpolicy train.*--total-steps) \d+", r"\1 4096"),
    (r"^(distpolicy train.*)$", r"\1 --eval-episodes 4"),
    (r"--samples \d+ --steps \w+", "--samples 2 --steps 2048"),
    (r"--episodes \d+", "--episodes 4"),
]


def script(text: str) -> str:
    """The commands of a part of the page, without those that install or start and stop a Ray."""
    lines = []
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.M | re.S):
        if language == "python":
            lines.append(f"python - <<'END'\n{block}END")
        elif "pip install" not in block:
            lines += [line for line in block.splitlines() if "ray st" not in line]
    found = "\n".join(lines)
    for pattern, shorter in SHORTER:
        found = re.sub(pattern, shorter, found, flags=re.M)
    return found


def run(text: str, folder: Path, **variables: str) -> str:
    """Runs commands as a shell does that stops at the first failure; returns what they print."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "distpolicy").write_text(f'#!/bin/sh\nexec {sys.executable} -m launch "$@"\n')
    (programs / "distpolicy").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.run(
        ["bash", "-e", "-x", "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(PATH=path, **variables),
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-5000:]
    return process.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_the_first_steps_lead_to_a_served_policy_and_to_a_cluster(tmp_path: Path) -> None:
    laptop, _, cluster = PAGE.partition("## On a cluster")
    commands = script(laptop)
    assert all(f"distpolicy {name}" in commands for name in ("train", "evaluate", "report", "tune", "export", "serve"))
    output = run(commands.replace("8000", str(free_ports(1)[0])), tmp_path)
    assert re.search(r'"action": ?[01]\b', output), output
    assert "mean return" in output
    made = ("first/report.html", "report.html", "search/search.html", "best/report.html")
    for name in (*(f"runs/{file}" for file in made), "data/_manifest.json"):
        assert (tmp_path / name).exists(), name
    (tmp_path / "head").mkdir()
    with ray_head(tmp_path / "head", "--num-cpus=4") as head:
        run(script(cluster).replace("auto", head.address), tmp_path, **head.environment())
    assert (tmp_path / "runs" / "on_cluster" / "policy" / "saved_model.pb").exists()
