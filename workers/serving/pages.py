"""The pages of a served policy: its specs, the OpenAPI document, and a page for people."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from distpolicy.serving.documents import FORMS, JSON, MSGPACK
from distpolicy.serving.protobuf_messages import proto_text
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.utils.nests.array_nest import flatten, map_structure, pack_leaves, paths
from workers.serving.service import PolicyService

_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


def pages(name: str, service: PolicyService, needs_token: bool, url: str) -> Mapping[str, tuple[str, bytes]]:
    """Returns the content type and body of each page by its path.

    Args:
        name: Name of what is served.
        service: The service.
        needs_token: Whether requests need a token.
        url: The address of the server.
    """
    document = openapi(name, service, needs_token)
    return {
        "/v1/policy": (JSON, FORMS[JSON].encode(describe(name, service))),
        "/openapi.json": (JSON, FORMS[JSON].encode(document)),
        "/docs": (_HTML, _page(name, service, document, needs_token, url).encode()),
        "/docs/policy.proto": (_TEXT, proto_text().encode()),
    }


def describe(name: str, service: PolicyService) -> dict[str, Any]:
    """Returns what a client has to know of the policy: names, shapes, dtypes and bounds.

    A leaf's name is its path in the nest, as in messages of gRPC. It says what a place in a list stands for.
    """
    policy = service.policy
    return {
        "name": name,
        "observation": _named(policy.time_step_spec.observation),
        "action": _named(policy.action_spec),
        "info": _named(policy.info_spec),
        "state": _named(policy.policy_state_spec),
        "state_kept_by": service.config.state if service.has_state else None,
        "max_rows": service.config.max_batch,
    }


def openapi(name: str, service: PolicyService, needs_token: bool) -> dict[str, Any]:
    """Returns the OpenAPI document. Its schemas are for JSON; in msgpack an array may be a map of its bytes, too.

    Args:
        name: Name of what is served.
        service: The service.
        needs_token: Whether requests need a token.
    """
    error = {
        "description": "what is wrong, in one line",
        "content": _both({"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}),
    }
    act = {
        "summary": "The action for an observation, or the actions for a batch",
        "requestBody": {"required": True, "content": _both(_request_schema(service))},
        "responses": {"200": {"description": "the action", "content": _both(_reply_schema(service))}, "default": error},
    }
    specs = {"description": "the specs", "content": {JSON: {"schema": {"type": "object"}}}}
    up = {"description": "ok", "content": {JSON: {"schema": {"type": "object"}}}}
    places: dict[str, Any] = {
        "/v1/act": {"post": act},
        "/v1/policy": {"get": {"summary": "The policy's specs", "responses": {"200": specs, "default": error}}},
        "/healthz": {"get": {"summary": "Answers if the server is up", "security": [], "responses": {"200": up}}},
    }
    if service.keeps_sessions:
        parameter = {"name": "session", "in": "path", "required": True, "schema": {"type": "string"}}
        ended = {"description": "ended", "content": _both({"type": "object"})}
        end = {
            "summary": "Ends a session",
            "parameters": [parameter],
            "responses": {"200": ended, "default": error},
        }
        places["/v1/sessions/{session}"] = {"delete": end}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": f"distpolicy: {name}", "version": "1"},
        "paths": places,
    }
    if needs_token:
        schemes = {"token": "bearer", "password": "basic"}
        document["components"] = {
            "securitySchemes": {name: {"type": "http", "scheme": scheme} for name, scheme in schemes.items()}
        }
        # Any one of them.
        document["security"] = [{name: []} for name in schemes]
    return document


def _request_schema(service: PolicyService) -> dict[str, Any]:
    specs = service.policy.time_step_spec
    rows = service.config.max_batch
    asked: dict[str, Any] = {
        "observation": _or_batch(specs.observation, rows),
        "first": {"description": "whether an episode begins", **_or_list({"type": "boolean"}, rows)},
        "reward": {"description": "reward of the last step", **_or_batch(specs.reward, rows)},
        "discount": {"description": "of the last step", **_or_list({"type": "number"}, rows)},
        "seed": {"type": "integer", "minimum": 0, "description": "seed of the draws"},
    }
    if service.keeps_sessions:
        asked["session"] = {"type": "string", "description": "of the last reply"}
    elif service.has_state:
        asked["state"] = {"description": "of the last reply", **_or_batch(service.policy.policy_state_spec, rows)}
    # A field that is null counts as left out.
    asked = {key: item if key == "observation" else {"anyOf": [item, {"type": "null"}]} for key, item in asked.items()}
    return {"type": "object", "properties": asked, "required": ["observation"], "additionalProperties": False}


def _reply_schema(service: PolicyService) -> dict[str, Any]:
    policy, rows = service.policy, service.config.max_batch
    answered: dict[str, Any] = {
        "action": _or_batch(policy.action_spec, rows),
        "version": {
            "type": "integer",
            "description": "train step of the weights: of a run, the update after which the policy was saved",
        },
    }
    if flatten(policy.info_spec):
        # Numbers that JSON does not have are null there.
        names = ", ".join(path for path in paths(policy.info_spec) if path)
        answered["info"] = {"description": f"what else the policy tells{': ' * bool(names)}{names}"}
    if service.keeps_sessions:
        answered["session"] = {"type": "string", "description": "to name in the next request"}
    elif service.has_state:
        answered["state"] = {"description": "to send with the next", **_or_batch(policy.policy_state_spec, rows)}
    return {"type": "object", "properties": answered, "required": sorted(answered)}


def schema(spec: Any, max_rows: int | None = None) -> dict[str, Any]:
    """Returns the JSON schema of a nest of arrays.

    Args:
        spec: Nest of array specs.
        max_rows: The most rows of a batch; None for arrays without a batch dimension.
    """
    if isinstance(spec, dict):
        properties = {str(key): schema(value, max_rows) for key, value in spec.items()}
        return {"type": "object", "properties": properties, "required": sorted(properties)}
    if isinstance(spec, tuple | list):
        items = [schema(item, max_rows) for item in spec]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    kind = {"f": "number", "b": "boolean"}.get(spec.dtype.kind, "integer")
    found: dict[str, Any] = {"type": kind}
    bounds = _spec(spec)
    for key, name in (("minimum", "minimum"), ("maximum", "maximum")):
        if isinstance(bounds.get(key), int | float) and math.isfinite(bounds[key]) and kind != "boolean":
            found[name] = bounds[key]
    for size in reversed(spec.shape):
        found = {"type": "array", "items": found, "minItems": size, "maxItems": size}
    return found if max_rows is None else {"type": "array", "items": found, "minItems": 1, "maxItems": max_rows}


def _named(nest: Any) -> Any:
    """Returns a nest of specs as plain values, with the path of each leaf."""
    leaves = zip(paths(nest), flatten(nest), strict=True)
    return pack_leaves(nest, [{"name": path, **_spec(spec)} if path else _spec(spec) for path, spec in leaves])


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


def _or_batch(spec: Any, max_rows: int) -> dict[str, Any]:
    return {"anyOf": [schema(spec), {**schema(spec, max_rows), "description": "a batch"}]}


def _or_list(one: dict[str, Any], max_rows: int) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": max_rows}]}


def _both(content: dict[str, Any]) -> dict[str, Any]:
    return {form: {"schema": content} for form in (JSON, MSGPACK)}


def _page(name: str, service: PolicyService, document: Mapping[str, Any], needs_token: bool, url: str) -> str:
    """Returns a page that needs no network."""
    policy = service.policy
    example = json.dumps({"observation": map_structure(_example, policy.time_step_spec.observation)})
    example = example if len(example) < 2000 else '{"observation": ...}'
    token = " \\\n  -H 'Authorization: Bearer TOKEN'" if needs_token else ""
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
td:last-child {{ overflow-wrap: anywhere }}
pre {{ padding: .8rem; border: 1px solid #8886; border-radius: 4px; font-size: 14px }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}
</style><h1>{html.escape(name)}</h1><p>A policy served by distpolicy.</p><table>{rows}
<tr><td><a href="openapi.json"><code>GET /openapi.json</code></a></td>
<td>The interface as an OpenAPI document</td></tr>
<tr><td><a href="docs/policy.proto"><code>GET /docs/policy.proto</code></a></td>
<td>The interface of gRPC</td></tr></table>
<h2>An action</h2><pre>curl <span id="url">{html.escape(url)}</span>/v1/act \\
  -H 'content-type: {JSON}'{token} \\
  -d '{html.escape(example)}'</pre>
<script>
// A proxy may have given this page another address.
document.getElementById("url").textContent = location.origin + location.pathname.replace(/\\/docs$/, "")
</script>
<p>Bodies are JSON, or msgpack
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


def _example(spec: Any) -> Any:
    """Returns zeros, or what is next to them within the bounds."""
    zeros = np.zeros(spec.shape, spec.dtype)
    if isinstance(spec, BoundedArraySpec):
        zeros = np.clip(zeros, spec.minimum, spec.maximum).astype(spec.dtype)
    return zeros.tolist()
