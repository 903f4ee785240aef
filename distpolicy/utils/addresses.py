"""host_and_port: an address as URLs and gRPC have it."""

from __future__ import annotations


def host_and_port(host: str, port: int) -> str:
    """Returns ``HOST:PORT``, with brackets around an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
