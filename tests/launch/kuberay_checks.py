"""Checks of KubeRay's resources beyond what Ray's autoscaler reads: the operator's schema is not in Ray's package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ray.scripts.scripts import start

QUANTITY = re.compile(r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$")
RAY_OPTIONS = {option for parameter in start.params for option in parameter.opts}

# What each kind's fields may be: those of the operator's schema that the files here have a use for.
SPEC_FIELDS = {
    "RayCluster": {
        *("rayVersion", "authOptions", "enableInTreeAutoscaling"),
        *("autoscalerOptions", "headGroupSpec", "workerGroupSpecs"),
    },
    "RayJob": {"clusterSelector", "submissionMode", "backoffLimit", "entrypoint", "runtimeEnvYAML"},
    "PersistentVolumeClaim": {"accessModes", "resources"},
}
HEAD_FIELDS = {"serviceType", "rayStartParams", "template"}
WORKER_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
POD_FIELDS = {"containers", "volumes", "securityContext", "automountServiceAccountToken"}
CONTAINER_FIELDS = {"name", "image", "securityContext", "ports", "resources", "volumeMounts"}
API_VERSIONS = {"RayCluster": "ray.io/v1", "RayJob": "ray.io/v1", "PersistentVolumeClaim": "v1"}


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with one document."""
    kind = document.get("kind", "")
    if API_VERSIONS.get(kind) != document.get("apiVersion"):
        yield f"{document.get('apiVersion')} {kind} is unknown"
        return
    yield from _unknown(document, {"apiVersion", "kind", "metadata", "spec"}, kind)
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", document["metadata"].get("name", "")):
        yield f"{kind}: the name is none"
    yield from _unknown(document["spec"], SPEC_FIELDS[kind], kind)
    if kind == "RayCluster":
        yield from _cluster(document)
    if kind == "RayJob":
        yield from _job(document["spec"])


def _unknown(found: Mapping[str, Any], known: set[str], where: str) -> Iterator[str]:
    yield from (f"{where}: unknown field {name}" for name in sorted(set(found) - known))


def _cluster(document: Mapping[str, Any]) -> Iterator[str]:
    spec = document["spec"]
    if spec.get("authOptions") != {"mode": "token"}:
        yield "token authentication is off"
    yield from _quantities("autoscaler", spec["autoscalerOptions"]["resources"])
    head = spec["headGroupSpec"]
    yield from _unknown(head, HEAD_FIELDS, "head")
    if head.get("serviceType") != "ClusterIP":
        yield "head: reachable from outside the cluster"
    yield from _group("head", head, spec["rayVersion"])
    for group in spec["workerGroupSpecs"]:
        name = group["groupName"]
        yield from _unknown(group, WORKER_FIELDS, name)
        if not 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{name}: replicas out of order"
        yield from _group(name, group, spec["rayVersion"])
        if group["template"]["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name}: its pods can speak to Kubernetes"


def _group(name: str, group: Mapping[str, Any], ray_version: str) -> Iterator[str]:
    for option, value in group["rayStartParams"].items():
        if f"--{option}" not in RAY_OPTIONS:
            yield f"{name}: ray start knows no --{option}"
        if not isinstance(value, str):
            yield f"{name}: --{option} is no string"
    pod = group["template"]["spec"]
    yield from _unknown(pod, POD_FIELDS, f"pod of {name}")
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{name}: its pods may run as root, or make any system call"
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        yield from _container(name, container, volumes, ray_version)


def _container(group: str, container: Mapping[str, Any], volumes: set[str], ray_version: str) -> Iterator[str]:
    yield from _unknown(container, CONTAINER_FIELDS, f"container of {group}")
    if not re.search(rf":[\w.]+-ray{re.escape(ray_version)}-py3\d+(-gpu)?$", container["image"]):
        yield f"{group}: its image {container['image']} is not of Ray {ray_version}"
    expected = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if container.get("securityContext") != expected:
        yield f"{group}: its container may gain privileges"
    yield from (f"{group}: no volume {m['name']}" for m in container["volumeMounts"] if m["name"] not in volumes)
    yield from _quantities(group, container["resources"])


def _quantities(where: str, resources: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    if resources.get("requests") != resources.get("limits"):
        yield f"{where}: asks for other than its limits"
    for name, quantity in resources.get("limits", {}).items():
        if not isinstance(quantity, str) or not QUANTITY.match(quantity):
            yield f"{where}: {quantity!r} is no quantity of {name}"


def _job(spec: Mapping[str, Any]) -> Iterator[str]:
    if spec.get("submissionMode") not in ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"):
        yield f"submissionMode {spec.get('submissionMode')} is unknown"
    if not isinstance(yaml.safe_load(spec["runtimeEnvYAML"]), dict):
        yield "runtimeEnvYAML is no mapping"
