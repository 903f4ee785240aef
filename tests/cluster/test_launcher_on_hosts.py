"""`ray up`, submit and `ray down` with the cluster file for machines one owns, over ssh, on hosts of this machine."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hosts import HOME, ROOT, Host, hosts, obstacle
from ray_hosts import START_ATTEMPTS

PROGRAMS = ("sshd", "ssh", "ssh-keygen", "rsync")
MISSING = [program for program in PROGRAMS if shutil.which(program, path="/usr/sbin:/usr/bin") is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(obstacle() is not None, reason=str(obstacle())),
    pytest.mark.skipif(bool(MISSING), reason=f"hosts that are reached by ssh need {', '.join(MISSING)}"),
]

CLUSTER_FILE = "/tmp/cluster.yaml"
KEY = f"{HOME}/.ssh/id_ed25519"
SSHD = ("-D", "-e", "-f", "/dev/null", "-h", KEY, "-o", "UsePAM=no", "-o", "StrictModes=no", "-o", "PidFile=none")
# The head alone is stopped by `ray down`; the nodes that miss it end, by Ray's own setting, after a minute.
SHELL = "export CUDA_VISIBLE_DEVICES=-1 RAY_gcs_rpc_server_reconnect_timeout_s=5\n"


class Launched(NamedTuple):
    """The host of a user and those of the cluster, and what `ray up` said."""

    user: Host
    machines: list[Host]
    up: subprocess.CompletedProcess[str]
    token: str

    def distpolicy(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.user.run("distpolicy", *words)

    def num_raylets(self) -> int:
        return sum(len(machine.processes("raylet")) for machine in self.machines)


@pytest.fixture(scope="module")
def launched() -> Iterator[Launched]:
    with hosts("user", "one", "two") as (user, *machines):
        assert user.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY).returncode == 0
        for machine in machines:
            own_machine(machine, user)
        config = yaml.safe_load((ROOT / "launch" / "cluster-local.yaml").read_text())
        config["provider"]["head_ip"] = machines[0].address
        config["provider"]["worker_ips"] = [machine.address for machine in machines[1:]]
        config["auth"] = {"ssh_user": "root", "ssh_private_key": KEY}
        user.path(CLUSTER_FILE).write_text(yaml.safe_dump(config))
        token = secrets.token_hex(32)
        (user.path(HOME) / ".ray" / "auth_token").write_text(token)
        # As in ray_hosts.py; to a machine on which Ray has not started once, the autoscaler does not go back.
        for _ in range(START_ATTEMPTS):
            up = user.run("sh", "-c", f"cd {ROOT} && ray up --yes --no-config-cache {CLUSTER_FILE}")
            if up.returncode == 0 and joined(machines):
                break
        yield Launched(user, machines, up, token)


def own_machine(machine: Host, user: Host) -> None:
    """Gives a host what the cluster file asks of a machine: an ssh server that takes the user's key, and a Python.

    There is no internet, so that its Python has the packages already, and its pip only notes what it was asked for.
    """
    home = machine.path(HOME)
    key = user.path(KEY)
    (home / ".ssh" / "id_ed25519").write_text(key.read_text())
    (home / ".ssh" / "id_ed25519").chmod(0o600)
    (home / ".ssh" / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    (home / ".bashrc").write_text(SHELL)
    programs = home / "venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "ray", "distpolicy"):
        write_program(programs / name, f'exec {Path(sys.executable).parent}/{name} "$@"')
    write_program(programs / "pip", 'echo "$@" >> ~/pip.txt')
    machine.path("/run/sshd").mkdir()
    machine.start("/usr/sbin/sshd", *SSHD)


def joined(machines: list[Host]) -> bool:
    """Waits until the autoscaler on the head has all machines, or has given one up."""
    while True:
        session = max(machines[0].path("/tmp/ray").glob("session_2*"))
        told = (session / "logs" / "monitor.log").read_text()
        if "launch failed" in told:
            return False
        if f" {len(machines)} local.cluster.node" in told.rpartition("Active:")[2]:
            return True
        time.sleep(0.5)


def write_program(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def test_up_brings_the_project_and_ray_to_every_machine(launched: Launched) -> None:
    assert launched.up.returncode == 0, launched.up.stdout
    assert launched.num_raylets() == len(launched.machines)
    for machine in launched.machines:
        home = machine.path(HOME)
        assert (home / "distpolicy" / "launch" / "cli.py").is_file()
        assert not (home / "distpolicy" / ".git").exists()
        asked = set((home / "pip.txt").read_text().splitlines())
        assert asked == {f"install -q {HOME}/distpolicy ray[default,rllib]==2.60.0"}
        assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


def test_doctor_is_submitted_by_the_cluster_file_and_finds_all_well(launched: Launched) -> None:
    done = launched.distpolicy("submit", CLUSTER_FILE, "doctor", "--nodes", "2", "--deadline", "60")
    assert done.returncode == 0, done.stdout
    assert "ok    authentication: by token" in done.stdout
    for machine in launched.machines:
        assert f"node {machine.address}" in done.stdout
    assert "all is well: " in done.stdout


def test_dashboard_answers_on_the_heads_loopback_alone(launched: Launched) -> None:
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 8265), 5)"
    assert launched.machines[0].run("python", "-c", connect, "127.0.0.1").returncode == 0
    assert "ConnectionRefused" in launched.user.run("python", "-c", connect, launched.machines[0].address).stdout


def test_token_is_in_no_output_and_in_no_log(launched: Launched) -> None:
    assert launched.token not in launched.up.stdout
    logs = [file for machine in launched.machines for file in machine.path("/tmp/ray").rglob("logs/**/*")]
    assert len(logs) > 20
    assert not [file for file in logs if file.is_file() and launched.token.encode() in file.read_bytes()]


def test_down_ends_ray_on_every_machine(launched: Launched) -> None:
    done = launched.user.run("ray", "down", "--yes", CLUSTER_FILE)
    assert done.returncode == 0, done.stdout
    while launched.num_raylets():
        time.sleep(0.2)
