"""`distpolicy doctor` as a user runs it, and its judgements."""

from __future__ import annotations

import ast
import inspect
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from commands import distpolicy, environment, no_process_left  # noqa: F401
from ray import cloudpickle
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray_head import RayHead

from launch.cluster.doctor_checks import check_authentication, judge_node, judge_versions
from launch.cluster.placement import Node
from workers import node_check

GIB = 2**30


def report(**changes: Any) -> dict[str, Any]:
    whole = {
        "versions": {"python": "3.11.7", **dict.fromkeys(node_check.PACKAGES, "1.0")},
        "failure": None,
        "import_s": 1.0,
        "num_gpus": 0,
        "disk": ("/tmp", 50 * GIB, 100 * GIB),
        "shared_memory": (8 * GIB, 8 * GIB),
    }
    return {**whole, **changes}


def judged(node: Node, **changes: Any) -> list[str]:
    """The findings that are not well, as text."""
    findings = judge_node(node, report(**changes))
    return [f"{finding.verdict} {finding.text}" for finding in findings if finding.verdict != "ok"]


def test_a_healthy_machine_passes_with_a_line_for_each_check(tmp_path: Path, no_process_left: None) -> None:  # noqa: F811
    result = distpolicy("doctor", cwd=tmp_path, CUDA_VISIBLE_DEVICES="-1")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok    ") for line in lines[:-1])
    told = {line.split(": ", 1)[1].split(" ")[0] for line in lines[:-1]}
    assert {"nodes", "every", "GPUs:", "python", "weights"} <= told
    assert f"python {platform.python_version()}, distpolicy {metadata.version('distpolicy')}" in result.stdout
    assert lines[-1].startswith("all is well: 7 ok")


@pytest.mark.slow
def test_what_a_cluster_lacks_fails_each_with_its_line(head: RayHead, tmp_path: Path) -> None:
    start = time.monotonic()
    wanted = ("--nodes", "3", "--cpus", "2", "--gpus", "4", "--deadline", "1")
    result = distpolicy("doctor", "--address", head.address, *wanted, cwd=tmp_path, **head.environment())
    assert result.returncode == 1, result.stdout + result.stderr
    assert not result.stderr
    lines = result.stdout.splitlines()
    assert "ok    authentication: by token" in lines
    assert "FAIL  resources: nodes 1 of 3, CPUs 2 of 2, GPUs 1 of 4 after 1 s" in lines
    gpus = next(line for line in lines if "GPUs: 1 in Ray, 0 in TensorFlow" in line)
    assert gpus.startswith("FAIL  node 127.0.0.1 (head)")
    assert any(line.startswith("ok    node 127.0.0.1 (head): weights of 1 MB there in") for line in lines)
    assert lines[-1].endswith("2 failed")
    assert time.monotonic() - start > 1.0


@pytest.mark.parametrize(("open_to_all", "verdict"), [(True, "warn"), (False, "ok")])
def test_a_cluster_that_lets_anybody_in_is_told_whatever_token_is_here(
    monkeypatch: pytest.MonkeyPatch, open_to_all: bool, verdict: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    grpc = gcs_service_pb2_grpc.grpc

    class Nodes(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
        def GetAllNodeInfo(self, request: Any, context: Any) -> Any:
            if not open_to_all:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "Authentication token is missing or incorrect")
            return gcs_service_pb2.GetAllNodeInfoReply()

    server = grpc.server(ThreadPoolExecutor(1))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(Nodes(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        finding = check_authentication(f"127.0.0.1:{port}")
    finally:
        server.stop(0.0)
    assert (finding.verdict, finding.subject) == (verdict, "authentication")
    assert ("everyone who reaches the head can run code on it" in finding.text) == open_to_all


def test_sigterm_ends_the_command_with_its_exit_code_and_nothing_else(
    tmp_path: Path,
    no_process_left: None,  # noqa: F811
) -> None:
    command = [sys.executable, "-m", "launch", "doctor"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ok    resources")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60.0)
    assert (process.returncode, errors) == (143, "")


def test_a_cluster_that_is_not_there_fails(tmp_path: Path) -> None:
    result = distpolicy("doctor", "--address", "127.0.0.1:1", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("FAIL  Ray: no Ray cluster at 127.0.0.1:1")
    assert not result.stderr


def test_a_ray_that_cannot_be_imported_fails(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['ray'] = None\nsys.argv = ['distpolicy', 'doctor']\n"
        "from launch.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FAIL  this machine: import ray:")


def test_the_first_import_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    found = node_check.check_node(60.0, ("json", "broken_module", "also_missing"))
    assert found["failure"] == "import broken_module: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert found["num_gpus"] is None


def test_an_import_that_kills_its_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deadly_module.py").write_text("import os\nos.kill(os.getpid(), 4)")
    monkeypatch.syspath_prepend(tmp_path)
    assert (
        node_check.check_node(60.0, ("json", "deadly_module"))["failure"] == "import deadly_module: killed by signal 4"
    )


def test_an_import_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging_module.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    assert node_check.check_node(5.0, ("json", "hanging_module"))["failure"] == (
        "import hanging_module: not done in 5 s"
    )


def test_a_report_holds_versions_disk_and_shared_memory() -> None:
    found = node_check.check_node(60.0, ("json",))
    assert found["failure"] is None
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == metadata.version("numpy")
    folder, free, total = found["disk"]
    assert os.path.isdir(folder)
    assert 0 < free <= total
    assert found["shared_memory"] is None or found["shared_memory"][0] <= found["shared_memory"][1]


def test_the_check_of_a_node_needs_neither_the_project_nor_a_package() -> None:
    tree = ast.parse(inspect.getsource(node_check))
    imported = {alias.name for item in ast.walk(tree) if isinstance(item, ast.Import) for alias in item.names}
    imported |= {item.module or "" for item in ast.walk(tree) if isinstance(item, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_the_check_runs_on_a_node_that_lacks_the_project(tmp_path: Path) -> None:
    cloudpickle.register_pickle_by_value(node_check)
    try:
        (tmp_path / "check").write_bytes(cloudpickle.dumps(node_check.check_node))
    finally:
        cloudpickle.unregister_pickle_by_value(node_check)
    code = (
        "import sys\nsys.modules['workers'] = sys.modules['distpolicy'] = None\nimport pickle, ray\n"
        "print(pickle.load(open('check', 'rb'))(60.0, ('json', 'no_such_module'))['failure'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "import no_such_module: ModuleNotFoundError: No module named 'no_such_module'", (
        done.stderr
    )


def test_versions_that_differ_or_are_missing_are_named_with_their_nodes() -> None:
    same = report()["versions"]
    assert judge_versions({"a": same, "b": same}).verdict == "ok"
    found = judge_versions({"a": same, "b": {**same, "ray": "2.0"}, "c": {**same, "keras": None}})
    assert found.verdict == "FAIL"
    assert found.text == "ray is 1.0 on a, c, 2.0 on b; keras is 1.0 on a, b, missing on c"
    assert judge_versions({"a": {**same, "gymnasium": None}}).verdict == "FAIL"
    assert judge_versions({}).verdict == "FAIL"


def test_a_healthy_node_has_nothing_against_it() -> None:
    assert judged(Node("a", {}, {}, object_store_bytes=4 * GIB)) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"failure": "import keras: ImportError: no"}, "FAIL import keras: ImportError: no"),
        ({"disk": ("/tmp", 1 * GIB, 100 * GIB)}, "FAIL 1.0 GiB of 100.0 GiB free for /tmp"),
        ({"num_gpus": 0}, "FAIL GPUs: 2 in Ray, 0 in TensorFlow: install distpolicy[gpu]"),
        ({"num_gpus": 4}, "warn GPUs: 2 in Ray, 4 in TensorFlow: start Ray there with --num-gpus"),
        ({"shared_memory": (GIB, GIB)}, "warn 1.0 GiB of /dev/shm for an object store of 4.0 GiB"),
        ({"shared_memory": None}, "warn no /dev/shm"),
    ],
)
def test_what_is_wrong_with_a_node_is_told(changes: dict[str, Any], told: str) -> None:
    node = Node("a", {"GPU": 2.0}, {}, object_store_bytes=4 * GIB)
    (line,) = judged(node, **{"num_gpus": 2, **changes})
    assert line.startswith(told)


def test_a_shortage_of_gpus_is_not_told_where_tensorflow_was_not_imported() -> None:
    lines = judged(Node("a", {"GPU": 2.0}, {}), failure="import tensorflow: no", num_gpus=None)
    assert lines == ["FAIL import tensorflow: no"]
