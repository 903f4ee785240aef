"""The ports that the replicas of a served policy share."""

from __future__ import annotations

import socket

from distpolicy.errors import ConfigError


def reserve(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to a port but does not listen. It keeps the port for replicas while it is open.

    Args:
        host: The address.
        port: The port; 0 for a free one.

    Raises:
        ConfigError: If the address is not this machine's, or the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Replicas share the port by SO_REUSEPORT, with which another server's port would be taken, too.
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            trial.listen(1)
            port = trial.getsockname()[1]
        kept = socket.socket(family, socket.SOCK_STREAM)
        try:
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind((host, port))
            # From now on another command that tries the port finds it in use.
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            kept.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host} port {port}: {error.strerror}; choose another --host or --port (0 for a free one)"
        ) from error
    return kept
