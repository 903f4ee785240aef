"""The programs of examples/ and the notebook, each in a short form. They share one Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Arguments that make a program short. Two have tests of their own, beside those of TrainingRun.
SHORT = {
    "offline.py": ["2000", "300"],
    "own_agent.py": ["8192"],
    "own_network.py": ["4096"],
    "serving_client.py": ["RUN"],  # the newest run
    "recurrent_policy.py": ["4096"],
    "sweep.py": ["2048", "2"],
}
ELSEWHERE = {"early_stopping.py", "train_in_python.py"}

# Runs each program in turn, in one process and with one Ray, and says where it is.
PROGRAM = """
import glob, json, os, runpy, sys
import ray

ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level="ERROR")
for path, arguments in json.loads(sys.argv[1]):
    print("begin", os.path.basename(path), flush=True)
    runs = sorted(glob.glob("runs/*/policy/saved_model.pb"), key=os.path.getmtime)
    sys.argv = [path, *(os.path.dirname(os.path.dirname(runs[-1])) if text == "RUN" else text for text in arguments)]
    if path.endswith(".ipynb"):
        names = {"__name__": "__main__"}
        for cell in json.load(open(path))["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), path, "exec"), names)
    else:
        runpy.run_path(path, run_name="__main__")
    print("end", os.path.basename(path), flush=True)
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    programs = [(str(EXAMPLES / name), arguments) for name, arguments in SHORT.items()]
    programs.append((str(EXAMPLES / "first_run.ipynb"), []))
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(programs)],
        cwd=tmp_path_factory.mktemp("examples"),
        capture_output=True,
        text=True,
        env=environment(TOTAL_STEPS="4096", PYTHONPATH=os.pathsep.join(sys.path)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHORT, "first_run.ipynb"])
def test_an_example_runs(name: str, output: subprocess.CompletedProcess[str]) -> None:
    assert f"end {name}" in output.stdout, output.stdout[-2000:] + output.stderr[-4000:]


def test_every_program_is_run_by_a_test_and_listed_on_the_page() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == {*SHORT, *ELSEWHERE}
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text()
    assert all(f"(../examples/{name})" in page for name in [*programs, "first_run.ipynb"])


def test_the_notebook_is_whole_and_has_no_outputs() -> None:
    notebook = json.loads((EXAMPLES / "first_run.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
