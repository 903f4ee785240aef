"""Sockets between processes that wait for each other, whatever the program has set for sockets in general.

``socket.setdefaulttimeout``, which some environments and downloaders call, makes every socket after it give up, and its
file descriptor non-blocking, in another process as well.
"""

from __future__ import annotations

import socket


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Returns two connected sockets without a timeout."""
    pair = socket.socketpair()
    for end in pair:
        end.settimeout(None)
    return pair


def inherited_socket(descriptor: int) -> socket.socket:
    """Returns the socket of a file descriptor that another process has made, without a timeout."""
    found = socket.socket(fileno=descriptor)
    found.settimeout(None)
    return found
