"""The cluster files, against Ray's own schema and code, and the rules of this project."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from kuberay_checks import problems
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

ROOT = Path(__file__).resolve().parents[3]
CLOUD = ROOT / "cluster.yaml"
OWN = ROOT / "launch" / "cluster-local.yaml"
KUBERAY = ROOT / "launch" / "kuberay.yaml"
CLUSTER_FILES = [pytest.param(CLOUD, id="cloud"), pytest.param(OWN, id="own machines")]
COMMANDS = ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands")


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def validated(config: dict[str, Any]) -> dict[str, Any]:
    """The config with Ray's defaults, once Ray has accepted it."""
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def kubernetes(kind: str) -> Any:
    return next(document for document in yaml.safe_load_all(KUBERAY.read_text()) if document["kind"] == kind)


def setup_commands(config: Mapping[str, Any]) -> list[str]:
    groups = [config, *config.get("available_node_types", {}).values()]
    return [command for group in groups for name in COMMANDS for command in group.get(name, [])]


def ray_start(config: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The options of a role's ``ray start``, as Ray's own command line reads them."""
    command = config[f"{role}_start_ray_commands"][-1]
    words = shlex.split(command.split("; ", 1)[1])
    begin = words.index("start") + 1
    with click.Context(start):
        return start.make_context("start", words[begin:], resilient_parsing=False).params


@pytest.mark.parametrize("file", CLUSTER_FILES)
def test_ray_accepts_the_cluster_file(file: Path) -> None:
    validated(load(file))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda config: config.update(setup_comands=[]),
        lambda config: config.update(head_node_type="nobody"),
        lambda config: config.update(max_workers=1),
        lambda config: config.pop("provider"),
        lambda config: config["available_node_types"]["learner"].pop("resources"),
        lambda config: config["available_node_types"]["learner"]["resources"].update(GPU="one"),
    ],
)
def test_ray_refuses_a_spoilt_cluster_file(spoil: Callable[[Any], None]) -> None:
    config = load(CLOUD)
    spoil(config)
    with pytest.raises((jsonschema.ValidationError, ValueError, KeyError)):
        validated(config)


def test_each_role_has_its_nodes_and_the_head_has_no_cpu_to_give() -> None:
    types = validated(load(CLOUD))["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    collector, learner = types["collector"]["resources"], types["learner"]["resources"]
    assert collector["collector"] == collector["CPU"] > 0
    assert learner["learner"] == learner["GPU"] > 0
    for name in ("collector", "learner"):
        assert 1 <= types[name]["min_workers"] <= types[name]["max_workers"]
    assert sum(kind["max_workers"] for kind in types.values()) <= load(CLOUD)["max_workers"]


def test_ray_gives_kubernetes_nodes_the_same_roles() -> None:
    cluster = kubernetes("RayCluster")
    cluster["metadata"]["namespace"] = "default"
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    validate_config(config)
    found = {name: dict(kind["resources"]) for name, kind in config["available_node_types"].items()}
    for resources in found.values():
        resources.pop("memory")
    assert found == {
        "headgroup": {"CPU": 0},
        "collector": {"CPU": 8, "collector": 8},
        "learner": {"CPU": 4, "GPU": 1, "learner": 1},
    }
    for group in cluster["spec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits["cpu"] == group["rayStartParams"]["num-cpus"]
        assert limits.get("nvidia.com/gpu", "0") == group["rayStartParams"].get("num-gpus", "0")


@pytest.mark.parametrize("file", CLUSTER_FILES)
def test_nodes_start_ray_with_options_that_it_knows_and_ports_that_agree(file: Path) -> None:
    config = load(file)
    head, worker = ray_start(config, "head"), ray_start(config, "worker")
    assert head["head"]
    assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"
    ports = {name: value for name, value in head.items() if name.endswith("port") and value is not None}
    shared = set(ports) - {"port", "dashboard_port"}
    assert len(shared) >= 7
    assert {name: int(ports[name]) for name in shared} == {name: int(worker[name]) for name in shared}
    numbers = [int(value) for name, value in ports.items() if "worker" not in name]
    assert len(set(numbers)) == len(numbers)
    workers = range(int(ports["min_worker_port"]), int(ports["max_worker_port"]) + 1)
    assert not set(numbers) & set(workers)


@pytest.mark.parametrize("file", CLUSTER_FILES)
def test_dashboard_is_on_loopback_and_every_ray_asks_for_the_token(file: Path) -> None:
    config = load(file)
    assert ray_start(config, "head")["dashboard_host"] == "127.0.0.1"
    for role in ("head", "worker"):
        assert "RAY_AUTH_MODE=token ray start" in re.sub(
            r"RAY_enable\S+ ", "", config[f"{role}_start_ray_commands"][-1]
        )
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in setup_commands(config)


@pytest.mark.parametrize("file", CLUSTER_FILES)
def test_commands_are_shell(file: Path) -> None:
    config = load(file)
    for command in [*setup_commands(config), *config["head_start_ray_commands"], *config["worker_start_ray_commands"]]:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.parametrize("file", CLUSTER_FILES)
def test_setting_up_a_node_twice_leaves_one_line_for_its_shells(file: Path, tmp_path: Path) -> None:
    command = next(command for command in setup_commands(load(file)) if ".bashrc" in command)
    for _ in range(2):
        subprocess.run(["bash", "-c", f"touch ~/.bashrc; {command}"], env={"HOME": str(tmp_path)}, check=True)
    shell = "source ~/.bashrc; echo $PATH $RAY_AUTH_MODE"
    done = subprocess.run(
        ["/bin/bash", "-c", shell], env={"HOME": str(tmp_path), "PATH": "/bin"}, capture_output=True, text=True
    )
    assert len((tmp_path / ".bashrc").read_text().splitlines()) == 1
    assert done.stdout == f"{tmp_path}/venv/bin:/bin token\n"


def test_all_nodes_get_one_version_of_ray_which_the_project_supports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [
        pin
        for file in (CLOUD, OWN)
        for text in setup_commands(load(file))
        for pin in re.findall(r"ray\[.+?\]==\S+?(?=\")", text)
    ]
    versions = {pin.split("==")[1] for pin in pins}
    spec = kubernetes("RayCluster")["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    images = [group["template"]["spec"]["containers"][0]["image"] for group in groups]
    assert len(pins) == 3
    assert versions == {spec["rayVersion"]}
    ray = next(found for text in project["dependencies"] if (found := Requirement(text)).name == "ray")
    assert ray.specifier.contains(spec["rayVersion"])
    assert {Requirement(pin).extras == ray.extras for pin in pins} == {True}
    for image in images:
        python = re.search(r"-py3(\d+)", image)
        assert python
        assert SpecifierSet(project["requires-python"]).contains(f"3.{python[1]}")
        assert f":{project['version']}-" in image


def test_kubernetes_resources_pass_the_checks() -> None:
    kinds = [document["kind"] for document in yaml.safe_load_all(KUBERAY.read_text())]
    assert kinds == ["PersistentVolumeClaim", "RayCluster", "RayJob"]
    assert [text for kind in kinds for text in problems(kubernetes(kind))] == []
    assert kubernetes("RayJob")["spec"]["clusterSelector"] == {
        "ray.io/cluster": kubernetes("RayCluster")["metadata"]["name"]
    }


def first_container(cluster: Any) -> Any:
    return cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda cluster: cluster.update(apiVersion="ray.io/v2"), "ray.io/v2 RayCluster is unknown"),
        (lambda cluster: cluster["metadata"].update(name="Dist Policy"), "the name is none"),
        (lambda cluster: cluster["spec"].update(headGroup={}), "unknown field headGroup"),
        (lambda cluster: cluster["spec"].pop("authOptions"), "token authentication is off"),
        (lambda cluster: cluster["spec"]["headGroupSpec"].update(serviceType="LoadBalancer"), "reachable from outside"),
        (lambda cluster: cluster["spec"]["headGroupSpec"]["rayStartParams"].update(cpus="1"), "knows no --cpus"),
        (lambda cluster: cluster["spec"]["workerGroupSpecs"][0].update(minReplicas=9), "replicas out of order"),
        (lambda cluster: first_container(cluster).pop("securityContext"), "may gain privileges"),
        (lambda cluster: first_container(cluster)["resources"]["limits"].update(memory="16 GB"), "is no quantity"),
        (lambda cluster: first_container(cluster).update(image="distpolicy:latest"), "is not of Ray"),
        (lambda cluster: first_container(cluster)["volumeMounts"][0].update(name="none"), "no volume none"),
    ],
)
def test_a_spoilt_kubernetes_cluster_is_found(spoil: Callable[[Any], None], told: str) -> None:
    # Anchors of YAML are one object: a copy that is spoilt in one place only.
    cluster = yaml.safe_load(yaml.dump(kubernetes("RayCluster"), Dumper=_WithoutAliases))
    spoil(cluster)
    assert any(told in text for text in problems(cluster))
