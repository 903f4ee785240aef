"""Signals, each in a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from launch.signals import held

SCRIPT = """
import os, signal, sys, time
from launch.signals import Interrupted, handled, interrupt

def wait(text):
    os.write(3, (text + "\\n").encode())
    time.sleep(30)

try:
    with handled(interrupt):
        with handled(interrupt):
            try:
                wait("runs")
            except KeyboardInterrupt as first:
                os.write(3, f"saves {first.exit_code}\\n".encode())
                print("saving", flush=True)
                wait("is saving")
except Interrupted as last:
    os.write(3, f"ends {last.exit_code}\\n".encode())
    time.sleep(0.5)
    os.write(3, b"has ended\\n")
"""


class Process:
    def __init__(self, *before: str, stdout: int = subprocess.DEVNULL) -> None:
        reader, writer = os.pipe()
        command = [sys.executable, "-c", f"import os; os.dup2({writer}, 3)\n{SCRIPT}"]
        self.process = subprocess.Popen(
            [*before, *command],
            pass_fds=(writer,),
            stdout=stdout,
            stderr=stdout,
            # The tests themselves may run under nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        os.close(writer)
        self._told = os.fdopen(reader)

    def told(self) -> str:
        return self._told.readline().strip()

    def send(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.mark.usefixtures("heeded_interrupt")
def test_a_block_that_holds_signals_is_run_whole_unless_a_second_one_comes() -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def block(num_signals: int) -> None:
        with held():
            for _ in range(num_signals):
                signal.raise_signal(signal.SIGINT)
            done.append(num_signals)

    block(0)
    for num_signals in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            block(num_signals)
        assert signal.getsignal(signal.SIGINT) is before
    assert done == [0, 1]
    thread = threading.Thread(target=block, args=(0,))
    thread.start()
    thread.join()
    assert done == [0, 1, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_saves_the_second_leaves_and_further_ones_do_not_disturb(number: int) -> None:
    process = Process()
    assert process.told() == "runs"
    process.send(number)
    assert process.told() == f"saves {128 + number}"
    assert process.told() == "is saving"
    process.send(number)
    assert process.told() == f"ends {128 + number}"
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send(other)
    assert process.told() == "has ended"
    assert process.process.wait(30.0) == 0


def test_output_to_a_terminal_that_is_closed_does_not_end_the_saving() -> None:
    ours, theirs = pty.openpty()
    process = Process(stdout=theirs)
    os.close(theirs)
    assert process.told() == "runs"
    os.close(ours)
    process.send(signal.SIGHUP)
    assert process.told() == f"saves {128 + signal.SIGHUP}"
    assert process.told() == "is saving"
    process.process.kill()
    process.process.wait()


def test_nohup_keeps_its_meaning() -> None:
    process = Process("nohup")
    assert process.told() == "runs"
    process.send(signal.SIGHUP)
    process.send(signal.SIGTERM)
    assert process.told() == f"saves {128 + signal.SIGTERM}"
    process.process.kill()
    process.process.wait()


FORKED = """
import multiprocessing, os, signal, sys, time
from launch.signals import handled, interrupt

context = multiprocessing.get_context("fork")
runs = context.Event()

def run():
    runs.set()
    time.sleep(60)

with handled(interrupt):
    child = context.Process(target=run)
    child.start()
    # A signal that comes right after the fork is lost by Python.
    runs.wait()
    os.kill(child.pid, int(sys.argv[1]))
    child.join()
    print(child.exitcode)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_forked_meanwhile_ends_by_a_signal_as_others_do(number: int) -> None:
    command = [sys.executable, "-c", FORKED, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (f"{-number}\n", "")
