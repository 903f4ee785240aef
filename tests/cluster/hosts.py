"""Several hosts on this machine, joined by a network: each with an address, processes, a home, /tmp and more its own.

Everything hangs on processes that end with this one: nothing is left behind however it ends, and any number of networks
may be there at a time, with the same addresses. Needs root, iproute2 and util-linux.

As a script, ``python tests/cluster/hosts.py 3`` has three hosts until Enter is pressed, and tells how to enter them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Of root in each host.
HOME = "/run/home"
SUBNET = "10.77.0"

_PATH = os.pathsep.join([sysconfig.get_path("scripts"), "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
# What commands in a host need of this machine's /tmp, if it lies there.
_NEEDED = [sys.prefix, sys.base_prefix, str(ROOT)]


class Host:
    """One host.

    Args:
        name: Its host name.
        address: Its IPv4 address.
        switch: What it is plugged into.
    """

    def __init__(self, name: str, address: str, switch: Switch) -> None:
        self.name = name
        self.address = address
        # The same after each start, or the others would send to a device that is gone.
        self._ethernet = "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        self._switch = switch
        self._power: subprocess.Popen[str] | None = None
        self._pid = 0
        self.power_on()

    def power_on(self) -> None:
        """Starts it, with empty folders."""
        unshare = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        self._power, first_line = _held([*unshare, "bash", str(HERE / "host_init.sh"), self.name, HOME, *_NEEDED])
        self._pid = int(first_line)
        self._switch.plug_in(self.name, self._ethernet, self._pid)
        settings = ["link set dev lo up", f"addr add {self.address}/24 dev eth0", "link set dev eth0 up"]
        _ip(self._pid, *settings, f"route add default via {self._switch.address}")

    def power_off(self) -> None:
        """Unplugs it and kills all its processes, so that nobody is told; more than once is no fault."""
        if self._power is None:
            return
        self._switch.unplug(self.name)
        os.kill(self._pid, signal.SIGKILL)
        self._power.wait()
        self._power = None

    def command(self, *words: str) -> list[str]:
        """The command line that runs a command in it, in its home directory."""
        enter = ["nsenter", f"--target={self._pid}", "--net", "--mount", "--pid", "--uts", "--ipc"]
        return [*enter, "sh", "-c", 'cd && exec "$@"', "sh", *words]

    def environment(self, **more: str) -> dict[str, str]:
        """What commands in it find in their environment; nothing of this process's."""
        return {"HOME": HOME, "PATH": _PATH, "LANG": "C.UTF-8", **more}

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """Starts a command in it; output and errors come together."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in it to its end; output and errors come together, in ``stdout``."""
        process = self.start(*words, **more)
        output = process.communicate()[0]
        return subprocess.CompletedProcess(words, process.returncode, output)

    def path(self, path: str) -> Path:
        """A file of it, as this process reaches it."""
        return Path(f"/proc/{self._pid}/root") / path.lstrip("/")

    def processes(self, name: str) -> list[int]:
        """Those of its processes that have a name, by the numbers that they have here."""
        namespace = os.readlink(f"/proc/{self._pid}/ns/pid")
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and os.readlink(folder / "ns" / "pid") == namespace:
                    found += [int(folder.name)] * ((folder / "comm").read_text().strip() == name)
        return found

    def cut(self) -> None:
        """Cuts its link: what is sent either way is lost, and nobody is told."""
        self._switch.set_link(self.name, "down")

    def heal(self) -> None:
        """Mends its link."""
        self._switch.set_link(self.name, "up")

    @contextlib.contextmanager
    def slow_link(self, delay_s: float, loss: float) -> Iterator[None]:
        """Delays what is sent either way, and loses a part of it.

        Args:
            delay_s: Seconds each way.
            loss: The part of frames that are lost.
        """
        with self._switch.relayed(self.name, delay_s, loss):
            yield

    def received_bytes(self) -> int:
        """Bytes that have come over its link since it was plugged in."""
        command = ["nsenter", f"--target={self._pid}", "--net", "ip", "-stats", "-json", "link", "show", "dev", "eth0"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return int(json.loads(shown)[0]["stats64"]["rx"]["bytes"])


class Switch:
    """A bridge in a network namespace of its own, into which hosts are plugged."""

    address = f"{SUBNET}.254"

    def __init__(self) -> None:
        script = 'read -r pid _ < /proc/self/stat; echo "$pid"; while read -r _; do :; done'
        self._power, first_line = _held(["unshare", "--net", "bash", "-c", script])
        self._pid = int(first_line)
        settings = ["link set dev lo up", "link add name switch type bridge", f"addr add {self.address}/24 dev switch"]
        _ip(self._pid, *settings, "link set dev switch up")

    def plug_in(self, name: str, ethernet: str, pid: int) -> None:
        """Lays a cable to the namespace of a process, in which it ends as eth0."""
        add = f"link add name {name} type veth peer name eth0 address {ethernet} netns {pid}"
        _ip(self._pid, add, f"link set dev {name} master switch up")

    def unplug(self, name: str) -> None:
        """Takes the cable away."""
        _ip(self._pid, f"link del dev {name}")

    def set_link(self, name: str, state: str) -> None:
        """Sets the end of a cable up or down."""
        _ip(self._pid, f"link set dev {name} {state}")

    @contextlib.contextmanager
    def relayed(self, name: str, delay_s: float, loss: float) -> Iterator[None]:
        """Puts a slow link between a cable and the bridge."""
        near, far, beyond = f"{name}-near", f"{name}-far", f"{name}-beyond"
        enter = ["nsenter", f"--target={self._pid}", "--net", sys.executable, str(HERE / "link_relay.py")]
        process, _ = _held([*enter, near, far, str(delay_s), str(loss)])
        try:
            added = [f"link add name {beyond} type bridge", f"link set dev {beyond} up"]
            moved = [f"link set dev {near} master switch up", f"link set dev {far} master {beyond} up"]
            _ip(self._pid, *added, *moved, f"link set dev {name} master {beyond}")
            yield
            assert process.poll() is None, "the slow link has broken"
        finally:
            _ip(self._pid, f"link set dev {name} master switch", f"link del dev {beyond}")
            _let_go(process)

    def close(self) -> None:
        """Removes it; the cables go with it."""
        _let_go(self._power)


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """Hosts of these names on a network, for the time of a block; their addresses count up from 10.77.0.1.

    Args:
        names: Of at most eight characters.
    """
    switch = Switch()
    up: list[Host] = []
    try:
        for number, name in enumerate(names, 1):
            up.append(Host(name, f"{SUBNET}.{number}", switch))
        yield up
    finally:
        for host in up:
            host.power_off()
        switch.close()


def obstacle() -> str | None:
    """Why there can be no hosts on this machine; None if there can."""
    if os.getuid() != 0:
        return "hosts on this machine need root"
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program, path=_PATH) is None:
            return f"hosts on this machine need the program {program} (iproute2, util-linux)"
    if not Path("/dev/net/tun").exists():
        return "slow links between hosts on this machine need /dev/net/tun"
    trial = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "sh", "-c"]
    script = "mount -t proc proc /proc && ip link add name b0 type bridge && ip link add name v0 type veth peer name v1"
    done = subprocess.run([*trial, script], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"this machine refuses hosts: {' '.join(done.stderr.split())}"


def _held(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    """Starts a process that ends when this one does, or lets go of it; its first line of output says that it is up."""
    pipe = subprocess.PIPE
    process: subprocess.Popen[str] = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={"PATH": _PATH}
    )
    assert process.stdout is not None
    first_line = process.stdout.readline()
    assert first_line, f"{' '.join(command)}: {process.communicate()[1]}"
    return process, first_line


def _let_go(process: subprocess.Popen[Any]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _ip(pid: int, *settings: str) -> None:
    """Runs settings of ``ip`` in the network namespace of a process."""
    enter = ["nsenter", f"--target={pid}", "--net", "ip", "-batch", "-"]
    done = subprocess.run(enter, input="\n".join(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{settings}: {done.stderr}"


if __name__ == "__main__":
    with hosts(*(f"host{number}" for number in range(1, int(sys.argv[1]) + 1))) as up:
        for host in up:
            print(f"{host.address}: {' '.join(host.command()[:7])} bash")
        input("Enter removes them. ")
