"""Pages that show concepts and how to do things: their code runs, and their commands are ones that train understands.

Commands that train are run in this process, without Ray, for an update or two.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launch.commands.collect import parse_collect
from launch.commands.doctor import parse_doctor
from launch.commands.evaluate import parse_evaluate
from launch.commands.export import parse_export
from launch.commands.reports import PLOT, REPORT, RUNS, WATCH
from launch.commands.serve import parse_serve
from launch.commands.submit import parse_submit
from launch.commands.train import parse_train
from launch.commands.tune import parse_tune
from launch.completion.command import parse_completion
from launch.training.run import TrainingRun

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "concepts").glob("*.md")), *sorted((DOCS / "how_to").glob("*.md"))]
PARSERS: Mapping[str, Callable[[list[str]], Any]] = {
    "train": parse_train,
    "collect": parse_collect,
    "evaluate": parse_evaluate,
    "doctor": parse_doctor,
    "submit": parse_submit,
    "completion": parse_completion,
    "tune": parse_tune,
    "serve": parse_serve,
    "export": parse_export,
    "report": REPORT.parse,
    "plot": PLOT.parse,
    "runs": RUNS.parse,
    "watch": WATCH.parse,
}
# Those whose options stand for something, such as a folder that the reader has.
SHOWN_ONLY = ("runs/x", "runs/ant", "runs/search", "trained", "cloned", "my_", "…", "COMMAND", "CLUSTER")


class Block(NamedTuple):
    language: str
    text: str
    file: str  # Where the page says to save it; empty if it does not.


def blocks(path: Path) -> list[Block]:
    found = re.finditer(r"^(?:.*[Ss]ave this as `([\w.]+)`:\n\n)?```(\w+)\n(.*?)^```$", path.read_text(), re.M | re.S)
    return [Block(match[2], match[3], match[1] or "") for match in found]


def commands(text: str) -> list[list[str]]:
    """The arguments of the lines that call distpolicy."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", "").splitlines()]
    return [words[1:] for words in lines if words[:1] == ["distpolicy"] and ">" not in words]


def train(arguments: list[str]) -> None:
    """Runs a command for an update, or for one more if it resumes a run."""
    parsed = parse_train([text for text in arguments if text != "--dry-run"])
    config = dataclasses.replace(parsed.config, total_steps=1, eval_episodes=0, jit_compile=False, checkpoint_every=1)
    if parsed.resume is not None:
        config = dataclasses.replace(config, total_steps=10_000)
    with TrainingRun(config, run_dir=parsed.run_dir, resume=parsed.resume, serial=True) as run:
        next(run)
        run.stop()
        run.run()


@pytest.mark.slow
@pytest.mark.parametrize("path", [page for page in PAGES if blocks(page)], ids=lambda path: path.stem)
def test_a_page_does_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if path.stem == "datasets":
        sys.path.append(str(ROOT / "tests" / "workers"))
        from dataset_rollouts import CARTPOLE, write_dataset

        write_dataset(tmp_path / "data", CARTPOLE)
    if path.stem == "metrics":
        # It goes on with the environment of another page.
        (tmp_path / "my_envs.py").write_text(blocks(DOCS / "how_to" / "environment.md")[0].text)
    names: dict[str, Any] = {"__name__": f"page_{path.stem}"}
    for block in blocks(path):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        if block.language == "python":
            exec(compile(block.text, str(path), "exec"), names)
        for words in commands(block.text) if block.language == "sh" else ():
            if words[0] == "train":
                train(words[1:])
            else:
                PARSERS[words[0]](words[1:])
    for name in ("my_envs", "my_network"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_commands_have_options_that_exist(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (words for block in blocks(path) if block.language == "sh" for words in commands(block.text)):
        # In the background of the shell.
        command, *rest = [word for word in words if word != "&"]
        shown_only = any(mark in word for word in rest for mark in SHOWN_ONLY) or "--resume" in rest
        # An offline agent reads the dataset that it is given.
        if (
            command in PARSERS
            and not shown_only
            and "--dataset" not in rest
            and not {"--help", "--help-all"} & set(rest)
        ):
            PARSERS[command](rest)


def test_messages_of_errors_are_real() -> None:
    """Each part of a message on the page of errors is a text in the code, or of a library that it names."""
    code = "".join(
        # Strings that go on in the next line are joined.
        re.sub(r"\"\s*\n\s*f?\"", "", file.read_text())
        for package in ("distpolicy", "launch", "workers")
        for file in sorted((ROOT / package).rglob("*.py"))
    )
    code = re.sub(r"\{[^{}\n]*\}", "…", code)
    rows = re.findall(r"^\| (.*?) \| .* \|$", (DOCS / "errors.md").read_text(), re.M)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    parts = [part.strip(" .:(),[]") for message in messages for part in message.split("…")]
    assert len(parts) > 30
    assert not [part for part in parts if len(part) > 3 and part not in code]
