from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings

WITH_RAY = ("launch", "cluster")

# The key that seals config files is made here, and not among the user's own settings.
if "DISTPOLICY_TEST_SETTINGS" not in os.environ:
    folder = tempfile.mkdtemp(prefix="distpolicy-test-")
    os.environ["DISTPOLICY_TEST_SETTINGS"] = os.environ["XDG_CONFIG_HOME"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

# Examples may take any time: a machine may be busy.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")

# The tests of this run that have not ended yet, for a run that is ended early.
waiting: set[str] = set()


def folder_of(nodeid: str) -> str:
    return nodeid.split("/")[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest parts first: others fill the time of whoever is done.
    items.sort(key=lambda item: (*WITH_RAY, folder_of(item.nodeid)).index(folder_of(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``pytest -n``: what starts a Ray goes one after the other, and so do the tests of each other file.

    Commands are looked for among all that tests have started, and those of several hosts take the same addresses.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = folder_of(nodeid)
            return folder if folder in WITH_RAY else nodeid.split("::")[0]

    config.option.loadscopereorder = False
    return ByFolder(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    waiting.update(ids)


def pytest_collection_finish(session: pytest.Session) -> None:
    waiting.update(item.nodeid for item in session.items)


def pytest_runtest_logfinish(nodeid: str) -> None:
    # xdist adds the group of a test to its name.
    waiting.discard(nodeid.split("@")[0])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Names the files whose tests a run that was ended early has left out."""
    if not waiting or config.option.collectonly:
        return
    terminalreporter.section(f"{len(waiting)} tests were left out")
    for file, number in sorted(Counter(name.split("::")[0] for name in waiting).items()):
        terminalreporter.write_line(f"{file}: {number}")
