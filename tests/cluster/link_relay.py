"""A slow link that loses frames: two network devices, and what goes into one comes out of the other later, or never.

``tc netem`` does this where the kernel has it; many have not, and all have these devices. Run as a script inside the
network namespace; it ends with its input.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_FRAME_BYTES = 65_536


def open_device(name: str) -> int:
    """Makes a network device that lives until its descriptor is closed: reading gives the frames that it is to send."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return descriptor


def relay(first: int, second: int, delay_s: float, loss: float) -> None:
    """Carries frames both ways until the input ends."""
    dice = random.Random(0)
    other = {first: second, second: first}
    under_way: deque[tuple[float, int, bytes]] = deque()
    while True:
        timeout_s = max(under_way[0][0] - time.monotonic(), 0.0) if under_way else None
        ready = select.select([*other, 0], [], [], timeout_s)[0]
        if 0 in ready:
            return
        for descriptor in ready:
            frame = os.read(descriptor, _FRAME_BYTES)
            if dice.random() >= loss:
                under_way.append((time.monotonic() + delay_s, other[descriptor], frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _, descriptor, frame = under_way.popleft()
            os.write(descriptor, frame)


if __name__ == "__main__":
    near, far, delay_s, loss = sys.argv[1:]
    devices = open_device(near), open_device(far)
    print("ready", flush=True)
    relay(*devices, float(delay_s), float(loss))
