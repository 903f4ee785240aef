"""A function that is called in a process of its own: what it returns, raises and leaves, and how its end is told."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from launch.apart import apart

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import multiprocessing, os, signal, subprocess, sys, time
import psutil
from distpolicy.errors import ConfigError, EnvironmentCrashedError
from launch.apart import apart
from workers.last_words import end_with

def explain(note, how):
    return f"noted {note}, ended by {how}"

def raised(call):
    try:
        apart(call, explain)
    except BaseException as error:
        return error
"""


def run(code: str) -> str:
    """Runs code in a Python without TensorFlow and threads; returns its output."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(code)],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_results_output_and_errors_are_as_of_a_plain_call() -> None:
    code = """
    def call(note):
        print("printed", os.getpid() == PARENT, end="; ")
        return {"a": [1.5]}
    def misspelt(note):
        raise ConfigError("no such env")
    def faulty(note):
        class Local(Exception): pass
        raise Local("cannot be pickled")
    PARENT = os.getpid()
    print("first", end="; ")
    print(apart(call, explain))
    error = raised(misspelt)
    print(type(error).__name__, error, "in misspelt" in error.traceback)
    print(type(raised(faulty)).__name__, raised(faulty))
    print(type(raised(lambda note: {}["key"])).__name__)
    """
    assert run(code).splitlines() == [
        "first; printed False; {'a': [1.5]}",
        "ConfigError no such env True",
        "DistPolicyError Local: cannot be pickled",
        "KeyError",
    ]


def test_an_end_without_a_word_is_explained_by_the_last_note_and_last_words_are_told() -> None:
    code = """
    def ends(note):
        note("first"), note("second")
        os._exit(7)
    def crashes(note):
        os.kill(os.getpid(), signal.SIGSEGV)
    for call in (ends, crashes, lambda note: end_with("it hung")):
        error = raised(call)
        print(type(error).__name__, error, "in crashes" in error.traceback)
    """
    assert run(code).splitlines() == [
        "EnvironmentCrashedError noted second, ended by exit code 7 False",
        "EnvironmentCrashedError noted None, ended by signal SIGSEGV True",
        "EnvironmentCrashedError it hung False",
    ]


def test_nothing_is_left_of_what_it_has_started_and_an_interrupt_ends_it() -> None:
    code = """
    def starts(note):
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,)).start()
        os._exit(0)
    def interrupt(number, frame):
        raise TimeoutError
    signal.signal(signal.SIGALRM, interrupt)
    begin = time.monotonic()
    print(raised(starts))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    print(type(raised(lambda note: time.sleep(300))).__name__)
    print(psutil.Process().children(recursive=True), time.monotonic() - begin < 60)
    """
    assert run(code).splitlines() == ["noted None, ended by exit code 0", "TimeoutError", "[] True"]


def test_a_process_with_threads_is_not_forked() -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        assert apart(lambda note: os.getpid(), lambda note, how: how) == os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            apart(lambda note: int("key"), lambda note, how: how)
    finally:
        event.set()
        thread.join()
