from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from workers.learning.replica import reserve_port

SERVER = """
import socket, sys
from workers.learning.replica import reserve_port
reserved = reserve_port()
port = reserved.getsockname()[1]
import tensorflow as tf
server = tf.distribute.Server({"worker": [f"127.0.0.1:{port}"]}, job_name="worker", task_index=0)
reserved.close()
socket.create_connection(("127.0.0.1", port), 10.0).close()
print("connected", port)
"""


def test_nobody_else_gets_a_port_that_is_reserved() -> None:
    reserved = reserve_port()
    with socket.socket() as other, reserved, pytest.raises(OSError, match="in use"):
        other.bind(("", reserved.getsockname()[1]))


def test_tensorflows_server_takes_the_port_while_it_is_reserved() -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("connected"), done.stderr
