from __future__ import annotations

import sys
from pathlib import Path

import pytest

from distpolicy.utils.module_names import why_not_there

SOURCE = """
raise AssertionError("the module was run")
import keras
from os import path as where

def make_agent(): ...
class Agent:
    def method(self): ...
if keras:
    made = make_agent
else:
    def other(): ...
for looped, _ in ():
    with open("x") as opened: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("raise AssertionError('the package was run')")
    (tmp_path / "pack" / "inner" / "deep.py").write_text("def make(): ...")  # inner is a namespace.
    return tmp_path


@pytest.mark.parametrize("name", ["make_agent", "Agent", "made", "other", "looped", "opened", "keras", "where"])
def test_a_name_that_a_module_binds_is_there_and_the_module_is_not_run(folder: Path, name: str) -> None:
    before = set(sys.modules)
    assert why_not_there("mine", name, str(folder)) is None
    assert why_not_there("pack.inner.deep", "make", str(folder)) is None
    assert not {"mine", "pack", "pack.inner", "pack.inner.deep"} & (set(sys.modules) - before)


def test_a_module_on_the_path_or_without_a_source_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    assert why_not_there("mine", "made", "/") is None
    assert why_not_there("math", "sqrt", "/") is None
    assert why_not_there("numpy.linalg", "norm", "/") is None


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [
        ("nothing", "make", "there is no module nothing, neither installed nor in {folder}: run the command in the"),
        ("pack.nothing", "make", "there is no module pack.nothing, neither installed"),
        ("mine.part", "make", "there is no module mine.part, neither installed"),
        ("mine", "make_agnet", "mine has no make_agnet; did you mean mine:make_agent?"),
        ("mine", "method", "mine has no method; did you mean mine:"),
        ("pack.inner.deep", "xyz", "pack.inner.deep has no xyz; did you mean pack.inner.deep:make?"),
        ("broken", "make", "{folder}/broken.py is not valid Python in line 2: "),
    ],
)
def test_what_is_not_there_is_told(folder: Path, module: str, name: str, reason: str) -> None:
    (folder / "broken.py").write_text("x = 1\ndef make(:\n")
    assert str(why_not_there(module, name, str(folder))).startswith(reason.format(folder=folder))


@pytest.mark.parametrize(
    "source",
    [
        "from os.path import *",
        "def __getattr__(name): ...",
        "globals()['make'] = 1",
        "import sys\nsetattr(sys.modules[__name__], 'make', 1)",
        "def fill():\n    global make\n    make = 1\nfill()",
    ],
)
def test_a_module_that_may_have_more_names_passes(tmp_path: Path, source: str) -> None:
    (tmp_path / "hiding.py").write_text(source)
    assert why_not_there("hiding", "make", str(tmp_path)) is None
