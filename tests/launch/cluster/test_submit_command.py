"""`distpolicy submit` as a user runs it, against a head with token authentication."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import yaml
from commands import distpolicy, environment, our_processes
from ray_head import RayHead, free_ports

from distpolicy.errors import ConfigError
from launch import cli
from launch.cluster.submit import entrypoint
from launch.commands.submit import parse_submit
from workers.datasets.manifest import verify

SMALL = ("--collectors", "1", "--num-envs", "4", "--rollout-steps", "16", "--vectorization", "sync")


def submit(head: RayHead, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return distpolicy("submit", *arguments, cwd=cwd, **head.environment(**more))


def job_name(output: str) -> str:
    return next(line.split()[1] for line in output.splitlines() if line.startswith("job distpolicy-"))


def job_status(head: RayHead, name: str) -> str:
    headers = {"Authorization": f"Bearer {head.token}"}
    return requests.get(f"{head.dashboard}/api/jobs/{name}", headers=headers, timeout=60).json()["status"]


@pytest.fixture(scope="module")
def sent(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A job with a module of the client's, whose RAY_ADDRESS is another's: the client's folder and the result."""
    folder = tmp_path_factory.mktemp("sent")
    (folder / "poles.py").write_text(
        "import gymnasium as gym\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "gym.register('Pole-v0', CartPoleEnv, max_episode_steps=20)\n"
    )
    job = ("collect", "--env", "poles:Pole-v0", "--steps", "640", "--out", "sent", "--policy", "fixed:1", *SMALL)
    elsewhere = {"RAY_ADDRESS": "http://127.0.0.1:1"}
    return folder, submit(head, head.dashboard, "--working-dir", ".", *job, cwd=folder, **elsewhere)


@pytest.mark.slow
def test_output_of_the_job_is_shown(sent: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    result = sent[1]
    assert result.returncode == 0, result.stdout + result.stderr
    assert "policy fixed:1" in result.stdout
    assert "640 steps" in result.stdout
    # Ray tells of the upload there, and of nothing else.
    assert all(" Uploading " in line or " Creating " in line for line in result.stderr.splitlines())


def test_paths_of_the_job_are_those_of_the_heads_home(
    head: RayHead, sent: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    assert verify(head.home / "sent").num_rows == 640
    assert [path.name for path in sent[0].iterdir()] == ["poles.py"]


def test_token_is_in_no_log(head: RayHead, sent: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    result = sent[1]
    logs = [path for path in head.temporary.rglob("logs/**/*") if path.is_file()]
    assert any(job_name(result.stdout) in path.name for path in logs)
    logs += list(head.home.parent.glob("*.log"))
    assert head.token not in result.stdout + result.stderr
    assert not [path for path in logs if head.token.encode() in path.read_bytes()]


@pytest.mark.slow
def test_exit_code_of_the_job_is_passed_on_through_the_address_of_the_head(head: RayHead, tmp_path: Path) -> None:
    result = submit(head, head.address, "collect", "--env", "Nope-v0", "--steps", "9", "--out", "no", cwd=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "unknown env 'Nope-v0'" in result.stdout


@pytest.mark.slow
def test_interrupt_stops_the_job_which_makes_its_data_whole(head: RayHead, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch", "submit", head.dashboard, "collect", "--steps", "1000000000"]
    process = subprocess.Popen(
        [*command, "--out", "cut", "--rows-per-shard", "1000", *SMALL],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**head.environment()),
    )
    assert process.stdout is not None
    first = []
    for line in process.stdout:  # that it comes while the job runs shows that it is streamed
        first.append(line)
        if line.startswith("steps "):
            break
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130, output + errors
    assert "stopping job" in output
    assert "Traceback" not in output + errors
    assert job_status(head, job_name("".join(first))) == "STOPPED"
    assert verify(head.home / "cut").num_rows > 0
    assert not our_processes()


@pytest.mark.slow
def test_no_wait_leaves_the_job_to_itself(head: RayHead, tmp_path: Path) -> None:
    result = submit(head, head.dashboard, "--no-wait", "train", "--dry-run", "--collectors", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "dry run" not in result.stdout
    name = job_name(result.stdout)
    assert f"RAY_AUTH_MODE=token ray job logs {name} --address {head.dashboard}" in result.stdout
    while (status := job_status(head, name)) in ("PENDING", "RUNNING"):
        time.sleep(0.2)
    assert status == "SUCCEEDED"


def test_a_client_without_the_token_is_refused_in_one_line(head: RayHead, tmp_path: Path) -> None:
    result = submit(head, head.dashboard, "doctor", cwd=tmp_path, HOME=str(tmp_path))
    assert result.returncode == 2, result.stdout
    assert "asks for its token" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "CLUSTER"),
        (("auto",), "submit needs a command after auto: train, tune, collect, evaluate, doctor"),
        (("http://127.0.0.1:1", "doctor"), "no Ray cluster at 127.0.0.1:1"),
        (("127.0.0.1:1", "doctor"), "no Ray cluster at 127.0.0.1:1"),
        (("ray://127.0.0.1:1", "doctor"), "it must begin with http:// or https://"),
        (("nowhere.yaml", "doctor"), "there is no cluster file nowhere.yaml"),
        (("auto", "train", "--envs-per-collector", "0"), "envs_per_collector must be 1 or more"),
        (("auto", "train", "--no-such-option"), "no-such-option"),
        (("auto", "--working-dir", "nowhere", "doctor"), "nowhere is not a folder"),
        (("auto", "collect", "--steps", "5"), "give either --out"),
        (("auto", "doctor", "--nodes", "0"), "nodes must be 1 or more"),
    ],
)
def test_bad_input_is_refused_before_anything_is_submitted(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match=re.escape(told)):
        cli.run(["submit", *arguments], time.time())


def test_a_jobs_resume_is_not_looked_for_on_the_client() -> None:
    parsed, command = parse_submit(["cluster.yaml", "train", "--resume", "runs/there"])
    assert parsed.target == "cluster.yaml"
    assert command == ["train", "--resume", "runs/there"]


def test_something_that_is_no_dashboard_is_told(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port := free_ports(1)[0])],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _listens(port):
            time.sleep(0.05)
        result = distpolicy("submit", f"http://127.0.0.1:{port}", "doctor", cwd=tmp_path)
    finally:
        server.kill()
        server.wait()
    assert result.returncode == 2
    assert f"no dashboard of a Ray cluster at http://127.0.0.1:{port}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def _listens(port: int) -> bool:
    table = Path("/proc/net/tcp").read_text()
    return f"0100007F:{port:04X} 00000000:0000 0A" in table


def test_a_cluster_file_whose_cluster_is_not_up_is_told_and_leaves_no_process(tmp_path: Path) -> None:
    cluster = {"cluster_name": "none", "provider": {"type": "local", "head_ip": "127.0.0.2", "worker_ips": []}}
    cluster["auth"] = {"ssh_user": "nobody"}
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(cluster))
    result = distpolicy("submit", "none.yaml", "doctor", cwd=tmp_path, RAY_TMPDIR=str(tmp_path))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "the head of none.yaml cannot be reached; is it up (ray up none.yaml)?" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not our_processes()


def test_a_job_joins_the_cluster_that_it_runs_on_unless_told_otherwise() -> None:
    assert entrypoint(["train", "--env", "a b"]) == "cd && exec distpolicy train --env 'a b' --address auto"
    assert entrypoint(["train", "--address=x:1"]) == "cd && exec distpolicy train --address=x:1"
    assert entrypoint(["evaluate", "run"]) == "cd && exec distpolicy evaluate run"
