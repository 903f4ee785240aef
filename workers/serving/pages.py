"""The pages of a served policy: its specs, the OpenAPI document, and a page for people."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from distpolicy.serving.documents import JSON, MSGPACK
from distpolicy.serving.protobuf_messages import proto_text
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from workers.serving.service import PolicyService

_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


def pages(name: str, service: PolicyService) -> Mapping[str, tuple[str, bytes]]:
    """Returns the content type and body of each page by its path.

    Args:
        name: Name of what is served.
        service: The service.
    """
    description = describe(name, service)
    document = openapi(name, service)
    return {
        "/v1/policy": (JSON, json.dumps(description).encode()),
        "/openapi.json": (JSON, json.dumps(document).encode()),
        "/docs": (_HTML, _page(name, service, document).encode()),
        "/docs/policy.proto": (_TEXT, proto_text().encode()),
    }


def describe(name: str, service: PolicyService) -> dict[str, Any]:
    """Returns what a client has to know of the policy: names, shapes, dtypes and bounds."""
    policy = service.policy
    return {
        "name": name,
        "observation": map_structure(_spec, policy.time_step_spec.observation),
        "action": map_structure(_spec, policy.action_spec),
        "info": map_structure(_spec, policy.info_spec),
        "state": map_structure(_spec, policy.policy_state_spec),
        "state_kept_by": service.config.state if service.has_state else None,
        "max_rows": service.config.max_batch,
    }


def openapi(name: str, service: PolicyService) -> dict[str, Any]:
    """Returns the OpenAPI document."""
    policy = service.policy
    observation = schema(policy.time_step_spec.observation)
    request: dict[str, Any] = {
        "observation": _or_batch(observation),
        "first": {
            "description": "whether an episode begins",
            "oneOf": [{"type": "boolean"}, _list({"type": "boolean"})],
        },
        "reward": {"description": "reward of the last step", "oneOf": [{"type": "number"}, _list({"type": "number"})]},
        "discount": {"description": "of the last step", "oneOf": [{"type": "number"}, _list({"type": "number"})]},
        "seed": {"type": "integer", "minimum": 0, "description": "seed of the draws"},
    }
    reply: dict[str, Any] = {
        "action": _or_batch(schema(policy.action_spec)),
        "version": {"type": "integer", "description": "train step of the weights"},
    }
    if service.has_state and service.config.state == "server":
        request["session"] = reply["session"] = {"type": "string"}
    elif service.has_state:
        request["state"] = reply["state"] = _or_batch(schema(policy.policy_state_spec))
    error = {
        "description": "what is wrong, in one line",
        "content": {JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
    }
    answered = {"type": "object", "properties": reply, "required": ["action", "version"]}
    asked = {
        "type": "object",
        "properties": request,
        "required": ["observation"],
        "additionalProperties": False,
    }
    act = {
        "summary": "The action for an observation, or the actions for a batch",
        "requestBody": {"required": True, "content": {JSON: {"schema": asked}, MSGPACK: {"schema": asked}}},
        "responses": {"200": {"description": "the action", "content": {JSON: {"schema": answered}}}, "default": error},
    }
    places: dict[str, Any] = {
        "/v1/act": {"post": act},
        "/v1/policy": {"get": {"summary": "The policy's specs", "responses": {"200": {"description": "the specs"}}}},
        "/healthz": {
            "get": {
                "summary": "Answers if the server is up",
                "security": [],
                "responses": {"200": {"description": "ok"}},
            }
        },
    }
    if "session" in request:
        parameter = {"name": "session", "in": "path", "required": True, "schema": {"type": "string"}}
        end = {
            "summary": "Ends a session",
            "parameters": [parameter],
            "responses": {"200": {"description": "ended"}, "default": error},
        }
        places["/v1/sessions/{session}"] = {"delete": end}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"distpolicy: {name}", "version": "1"},
        "paths": places,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
    }


def schema(spec: Any) -> dict[str, Any]:
    """Returns the JSON schema of a nest of array specs."""
    if isinstance(spec, dict):
        properties = {str(key): schema(value) for key, value in spec.items()}
        return {"type": "object", "properties": properties, "required": sorted(properties)}
    if isinstance(spec, tuple | list):
        items = [schema(item) for item in spec]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    kind = {"f": "number", "b": "boolean"}.get(spec.dtype.kind, "integer")
    found: dict[str, Any] = {"type": kind}
    bounds = _spec(spec)
    for key, name in (("minimum", "minimum"), ("maximum", "maximum")):
        if isinstance(bounds.get(key), int | float):
            found[name] = bounds[key]
    for size in reversed(spec.shape):
        found = {"type": "array", "items": found, "minItems": size, "maxItems": size}
    return found


def _spec(spec: ArraySpec) -> dict[str, Any]:
    found: dict[str, Any] = {"shape": list(spec.shape), "dtype": spec.dtype.name}
    if isinstance(spec, BoundedArraySpec):
        for name in ("minimum", "maximum"):
            bound = np.asarray(getattr(spec, name))
            # One number if it is the same everywhere.
            found[name] = (
                bound.reshape(-1)[0].item() if bound.size and (bound == bound.reshape(-1)[0]).all() else bound.tolist()
            )
    return found


def _or_batch(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "oneOf": [one, {"description": "a batch: every array with a first dimension more", "type": ["array", "object"]}]
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _page(name: str, service: PolicyService, document: Mapping[str, Any]) -> str:
    """Returns a page that needs no network."""
    policy = service.policy
    example = json.dumps({"observation": map_structure(_zeros, policy.time_step_spec.observation)})
    example = example if len(example) < 2000 else '{"observation": ...}'
    rows = "".join(
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td><td>{html.escape(item['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, item in methods.items()
    )
    nests = {
        "observation": policy.time_step_spec.observation,
        "action": policy.action_spec,
        "info": policy.info_spec,
        "state": policy.policy_state_spec,
    }
    specs = "".join(
        f"<tr><td><code>{html.escape(part + path)}</code></td><td><code>{_told(spec)}</code></td></tr>"
        for part, nest in nests.items()
        for path, spec in zip(paths(nest), flatten(nest), strict=True)
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(name)}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
td {{ padding: .2rem 1rem .2rem 0; vertical-align: top }}
pre {{ overflow-x: auto; padding: .8rem; border: 1px solid #8886; border-radius: 4px; font-size: 14px }}
</style><h1>{html.escape(name)}</h1><p>A policy served by distpolicy.</p><table>{rows}
<tr><td><a href="/openapi.json"><code>GET /openapi.json</code></a></td><td>The interface as OpenAPI document</td></tr>
<tr><td><a href="/docs/policy.proto"><code>GET /docs/policy.proto</code></a></td><td>The one of gRPC</td></tr></table>
<h2>An action</h2><pre>curl -H 'content-type: {JSON}' -d '{html.escape(example)}' URL/v1/act</pre>
<p>With a token: <code>-H "Authorization: Bearer TOKEN"</code>. Bodies are JSON, or msgpack
(<code>content-type: {MSGPACK}</code>) with arrays as maps of dtype, shape and data.</p>
<h2>The policy</h2><table>{specs}</table></html>
"""


def _told(spec: ArraySpec) -> str:
    found = _spec(spec)
    text = f"{found['dtype']}{found['shape']}"
    bounds = found.get("minimum"), found.get("maximum")
    if None in bounds:
        return text
    low, high = (f"{bound:.6g}" if isinstance(bound, int | float) else _shortened(bound) for bound in bounds)
    return html.escape(f"{text} from {low} to {high}")


def _shortened(bound: Any) -> str:
    text = ", ".join(f"{value:.4g}" for value in np.asarray(bound).reshape(-1)[:9])
    return f"[{text}]" if np.size(bound) < 10 else f"[{text}, …]"


def _zeros(spec: Any) -> Any:
    return np.zeros(spec.shape, spec.dtype).tolist()
