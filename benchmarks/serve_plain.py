"""The other side of benchmarks/serve.py: a SavedModel behind plain Ray Serve, as its documentation shows it.

Settings that favour it: its throughput-optimised mode (user code in the replica's own event loop, no log of requests),
a traced signature of TensorFlow with one thread for each replica, bodies in JSON that are not checked at all.
``/single`` computes each request alone; ``/batched`` gathers them by ``@serve.batch`` without a wait.
"""

from __future__ import annotations

import argparse
import os
import signal

os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
# The mode would start HAProxy, which listens on all interfaces, where that is available.
os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "0"
os.environ["RAY_SERVE_ENABLE_DIRECT_INGRESS"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

THREADS = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
MAX_BATCH = 64


OPTIONS = {"max_ongoing_requests": 1024, "ray_actor_options": {"num_cpus": 1}}


class Policy:
    """A SavedModel in TensorFlow."""

    def __init__(self, folder: str) -> None:
        os.environ.update(THREADS | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"})
        import numpy as np
        import tensorflow as tf

        self._np, self._tf = np, tf
        self._saved = tf.saved_model.load(folder)
        self._function = self._saved.signatures["serving_default"]
        # One trace for all sizes, since the signature has an open batch dimension.
        for size in (1, MAX_BATCH):
            self._act(np.zeros((size, 4), np.float32))

    def _act(self, observations):
        return self._function(observation=self._tf.constant(observations))["action"].numpy()


@serve.deployment(**OPTIONS)
class Single(Policy):
    """A replica that computes each request alone."""

    async def __call__(self, request: Request) -> JSONResponse:
        body = await request.json()
        observations = self._np.asarray([body["observation"]], self._np.float32)
        return JSONResponse({"action": int(self._act(observations)[0])})


@serve.deployment(**OPTIONS)
class Batched(Policy):
    """A replica that gathers requests, as Ray Serve's documentation shows it."""

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)
    async def act(self, observations: list[list[float]]) -> list[int]:
        return self._act(self._np.asarray(observations, self._np.float32)).tolist()

    async def __call__(self, request: Request) -> JSONResponse:
        body = await request.json()
        return JSONResponse({"action": await self.act(body["observation"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replicas", type=int, required=True)
    parser.add_argument("--ray-dir", required=True)
    arguments = parser.parse_args()
    # Room for the replicas of both, of which one is idle.
    ray.init(
        address="local",
        num_cpus=2 * arguments.replicas,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=arguments.ray_dir,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port}, proxy_location="HeadOnly")
    for name, deployment in (("single", Single), ("batched", Batched)):
        application = deployment.options(num_replicas=arguments.replicas).bind(arguments.folder)
        serve.run(application, name=name, route_prefix=f"/{name}")
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    ray.shutdown()


if __name__ == "__main__":
    main()
