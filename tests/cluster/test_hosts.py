"""The hosts of this machine that the tests of this folder use: they are apart, and nothing of them is left behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import HERE, Host, hosts, obstacle

pytestmark = [pytest.mark.slow, pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))]

PORT = 5000
SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[4])) as server:
    server.settimeout(None)
    server.sendall(bytes(range(256)) * int(sys.argv[3]))
    server.shutdown(socket.SHUT_WR)
    print(server.recv(100).decode(), end="")
"""
RECEIVE = """
import hashlib, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), reuse_port=True)
print("listens", flush=True)
while True:
    with listener.accept()[0] as client:
        digest = hashlib.sha256()
        while data := client.recv(65536):
            digest.update(data)
        client.sendall(digest.hexdigest().encode())
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Host, Host]]:
    """Two hosts; on the second somebody listens."""
    with hosts("left", "right") as (left, right):
        listen(right)
        yield left, right


def listen(host: Host) -> None:
    server = host.start("python", "-c", RECEIVE, host.address, str(PORT))
    assert server.stdout is not None
    assert server.stdout.readline() == "listens\n"


def send(
    sender: Host, receiver: Host, kilobytes: int = 1, connects_within_s: float = 1.0
) -> subprocess.CompletedProcess[str]:
    return sender.run("python", "-c", SEND, receiver.address, str(PORT), str(4 * kilobytes), str(connects_within_s))


def test_a_host_has_a_name_an_address_and_folders_of_its_own(pair: tuple[Host, Host]) -> None:
    left, right = pair
    assert left.run("hostname").stdout == "left\n"
    assert right.run("sh", "-c", "ip -4 -brief address show dev eth0").stdout.split()[2] == "10.77.0.2/24"
    left.run("sh", "-c", "echo 1 > ~/mine; echo 2 > /tmp/mine; echo 3 > /dev/shm/mine")
    assert left.path("/tmp/mine").read_text() == "2\n"
    assert right.run("sh", "-c", "cat ~/mine /tmp/mine /dev/shm/mine | wc -l").stdout.split()[-1] == "0"
    assert not Path("/tmp/mine").exists()


def test_a_host_sees_its_own_processes_alone(pair: tuple[Host, Host]) -> None:
    left, right = pair
    assert len(right.processes("python")) == 1
    assert not left.processes("python")
    assert left.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout.split() == ["bash", "sh"]


def test_what_a_host_receives_is_counted(pair: tuple[Host, Host]) -> None:
    left, right = pair
    before = right.received_bytes()
    assert len(send(left, right, kilobytes=1000).stdout) == 64
    assert 1.0 < (right.received_bytes() - before) / 1_024_000 < 1.1


def test_nothing_passes_a_cut_link_until_it_is_mended(pair: tuple[Host, Host]) -> None:
    left, right = pair
    right.cut()
    assert "TimeoutError" in send(left, right).stdout
    right.heal()
    assert len(send(left, right).stdout) == 64


def test_a_slow_link_delays_and_loses_and_what_arrives_is_whole(pair: tuple[Host, Host]) -> None:
    left, right = pair
    expected = hashlib.sha256(bytes(range(256)) * 400).hexdigest()
    with right.slow_link(delay_s=0.05, loss=0.0):
        start = time.monotonic()
        assert send(left, right, kilobytes=100).stdout == expected
        delayed_s = time.monotonic() - start
    with right.slow_link(delay_s=0.0, loss=0.2):
        # A frame of the greeting that is lost is sent again after a second, and then after twice as long each time.
        assert send(left, right, kilobytes=100, connects_within_s=60.0).stdout == expected
    with right.slow_link(delay_s=0.0, loss=1.0):
        assert "TimeoutError" in send(left, right).stdout
    durations_s = []
    for _ in range(3):  # one of which nothing else holds up
        start = time.monotonic()
        assert send(left, right, kilobytes=100).stdout == expected
        durations_s.append(time.monotonic() - start)
    # Twice there and back at least: one to connect, and one to send.
    assert delayed_s - min(durations_s) > 0.19


def test_power_off_takes_all_processes_and_power_on_brings_an_empty_host(pair: tuple[Host, Host]) -> None:
    left, right = pair
    right.run("sh", "-c", "echo 1 > /tmp/mine")
    right.power_off()
    assert "TimeoutError" in send(left, right).stdout
    right.power_on()
    assert not right.path("/tmp/mine").exists()
    assert "ConnectionRefused" in send(left, right).stdout
    listen(right)
    assert len(send(left, right).stdout) == 64


def test_networks_of_the_same_addresses_are_apart_and_gone_when_who_made_them_is_killed() -> None:
    code = "import hosts, sys\nwith hosts.hosts('left', 'right') as (left, right):\n"
    code += "  left.start('sleep', '3600')\n  right.start('sleep', '3600')\n"
    code += (
        "  print(left.run('hostname', '-I').stdout, left._pid, right._pid, left._switch._pid, flush=True)\n  input()"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    firsts = []
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline().split() == [b"10.77.0.1"]
        firsts += [int(pid) for pid in maker.stdout.readline().split()]
    namespaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in firsts}
    assert len(namespaces) == 6
    for maker in makers:
        maker.send_signal(signal.SIGKILL)
        maker.wait()
    while left := namespaces & used_namespaces():
        assert time.sleep(0.05) is None, left


def used_namespaces() -> set[str]:
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(link))
        except OSError:
            continue  # it has ended meanwhile
    return found
