"""The migration page: its snippet runs, its two forms differ in the root of imports only, and its table is true."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from distpolicy.drivers import py_driver
from distpolicy.policies import random_py_policy

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text()
# The last one is for a run on Ray: tests of runs have it.
BEFORE, AFTER, TRAINING, WITHOUT_REVERB, _ = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TABLE = {
    f"distpolicy.{package}.{module}"
    for package, modules in re.findall(r"^\| `([\w.]+)` \| (`.*`) \|$", PAGE, re.MULTILINE)
    for module in re.findall(r"`(\w+)`", modules)
}


def test_the_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(AFTER, "docs/migration.md", "exec"), {"__name__": "snippet"})
    printed = capsys.readouterr().out
    assert re.search(r"reward per episode: \d+\.\d+", printed)
    assert "the same action: True" in printed


def test_the_training_program_runs_and_its_replay_buffer_takes_reverbs_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(TRAINING, "docs/migration.md", "exec"), names)
    assert "AverageReturn" in capsys.readouterr().out
    assert int(names["agent"].train_step_counter) == 20
    exec(compile(WITHOUT_REVERB, "docs/migration.md", "exec"), names)
    py_env = names["suite_gym"].load("CartPole-v1")
    policy = random_py_policy.RandomPyPolicy(py_env.time_step_spec(), py_env.action_spec())
    py_driver.PyDriver(py_env, policy, [names["rb_observer"]], max_steps=10).run(py_env.reset())
    experience, _ = next(iter(names["dataset"]))
    assert float(names["agent"].train(experience).loss) >= 0.0


def test_the_two_snippets_differ_in_the_root_of_their_imports_only() -> None:
    moved = [
        line.replace("tf_agents", "distpolicy") if line.startswith("from ") else line for line in BEFORE.splitlines()
    ]
    assert BEFORE != AFTER
    assert moved == AFTER.splitlines()


def test_the_numbers_are_those_of_the_record() -> None:
    record = json.loads((ROOT / "tests" / "golden" / "tf_agents_0_19.json").read_text())
    assert f"{len(record['cases'])} small programs" in PAGE
    assert f"{len(record['signatures'])} names" in PAGE
    agents = json.loads((ROOT / "tests" / "golden" / "agents_0_19.json").read_text())
    assert f"{len(agents['cases'])} updates" in PAGE


def test_the_table_names_modules() -> None:
    assert len(TABLE) > 40


@pytest.mark.parametrize("module", sorted(TABLE))
def test_a_module_of_the_table_exists(module: str) -> None:
    assert importlib.import_module(module).__doc__
