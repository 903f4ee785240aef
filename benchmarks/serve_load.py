"""The clients of benchmarks/serve.py: keep-alive connections in one asyncio process, each with one request under way.

They write prepared bytes and read no more of an answer than its status and length, so that they leave the processors to
the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import numpy as np

MAX_SECONDS = 60.0
MAX_CLIENTS = 256


class Connection(asyncio.Protocol):
    """A client: sends its request again as soon as the answer has come.

    Args:
        request: The bytes of the request.
        latencies_s: Takes the seconds of each answer.
        ends_at: When to send no more, by ``time.perf_counter()``.
        done: Is set when the connection has ended.
    """

    def __init__(self, request: bytes, latencies_s: list[float], ends_at: float, done: asyncio.Future) -> None:
        self._request, self._latencies_s, self._ends_at, self._done = request, latencies_s, ends_at, done
        self._received = b""
        self._size = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._size < 0:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            lines = self._received[:head].lower().split(b"\r\n")
            if b" 200" not in lines[0]:
                self._end(RuntimeError(self._received.decode("latin-1")[:500]))
                return
            length = next(line for line in lines if line.startswith(b"content-length:"))
            self._size = head + 4 + int(length[15:])
        if len(self._received) >= self._size:
            self._latencies_s.append(time.perf_counter() - self._sent)
            self._received, self._size = b"", -1
            if time.perf_counter() < self._ends_at:
                self._send()
            else:
                self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server has closed the connection"))

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)
        self._transport.close()


def http_request(port: int, path: str, body: bytes, content_type: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    )
    return f"{head}\r\n\r\n".encode() + body


async def load(port: int, request: bytes, num_clients: int, seconds: float) -> list[float]:
    """Returns the seconds of each answer."""
    loop = asyncio.get_running_loop()
    latencies_s: list[float] = []
    ends_at = time.perf_counter() + seconds
    done = [loop.create_future() for _ in range(num_clients)]
    for future in done:
        await loop.create_connection(
            lambda future=future: Connection(request, latencies_s, ends_at, future), "127.0.0.1", port
        )
    await asyncio.wait_for(asyncio.gather(*done), seconds + 30.0)
    return latencies_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body-file", required=True)
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    if arguments.clients > MAX_CLIENTS or arguments.seconds > MAX_SECONDS:
        raise SystemExit(f"at most {MAX_CLIENTS} clients for {MAX_SECONDS} s")
    with open(arguments.body_file, "rb") as file:
        request = http_request(arguments.port, arguments.path, file.read(), arguments.content_type)
    start = time.perf_counter()
    latencies_s = asyncio.run(load(arguments.port, request, arguments.clients, arguments.seconds))
    took_s = time.perf_counter() - start
    p50, p99 = np.percentile(latencies_s, [50, 99]) * 1e3
    figures = {"requests_per_s": len(latencies_s) / took_s, "p50_ms": p50, "p99_ms": p99}
    print(json.dumps({**figures, "num_requests": len(latencies_s)}))


if __name__ == "__main__":
    main()
