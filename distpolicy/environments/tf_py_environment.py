"""TFPyEnvironment: a PyEnvironment whose time steps and actions are tensors, also in compiled functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.environments.batched_py_environment import BatchedPyEnvironment
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.errors import SpecMismatchError
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, leaf_places, packer, paths
from distpolicy.utils.numpy_call import numpy_call


class TFPyEnvironment(TFEnvironment):
    """Wraps a PyEnvironment. One without a batch dimension becomes a batch of one.

    In a compiled function the environment runs in Python, in the same process. Outside, its exceptions arrive as they
    are. The environment's other public attributes are available here, too.

    Args:
        environment: The environment, or a function that makes it.
        check_dims: Whether :meth:`step` checks that actions have ``batch_size`` rows.
        isolation: Whether the environment runs in a thread of its own: True for a new one, or a ThreadPool.

    Raises:
        TypeError: If ``environment`` is neither a PyEnvironment nor a function that makes one.
    """

    def __init__(
        self,
        environment: PyEnvironment | Callable[[], PyEnvironment],
        check_dims: bool = False,
        isolation: bool | ThreadPool = False,
    ) -> None:
        self._pool = isolation if isinstance(isolation, ThreadPool) else ThreadPool(1) if isolation else None
        if not isinstance(environment, PyEnvironment) and callable(environment):
            environment = self._run(environment)
        if not isinstance(environment, PyEnvironment):
            raise TypeError(f"environment must be a PyEnvironment, or a function that makes one, not {environment!r}")
        if not environment.batched:
            environment = BatchedPyEnvironment([environment], multithreading=False)
        self._env: PyEnvironment = environment
        self._check_dims = check_dims
        super().__init__(
            tensor_spec.from_spec(environment.time_step_spec()),
            tensor_spec.from_spec(environment.action_spec()),
            environment.batch_size or 1,
        )
        self._pack = packer(leaf_places(self._time_step_spec))
        self._pack_action = packer(leaf_places(environment.action_spec()))
        self._specs = flatten(environment.time_step_spec())
        self._outputs = [tf.TensorSpec((self._batch_size, *spec.shape), spec.dtype) for spec in self._specs]
        self._paths = [path.lstrip("/") for path in paths(environment.time_step_spec())]
        self._time_step: TimeStep | None = None
        self._lock = threading.Lock()

    @property
    def pyenv(self) -> PyEnvironment:
        """The wrapped environment, which has a batch dimension."""
        return self._env

    def __getattr__(self, name: str) -> Any:
        # A copied or unpickled object has no attributes yet, and looking one up would recurse.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._env, name)

    def close(self) -> None:
        """Closes the environment, and ends the thread that was made for it."""
        self._run(self._env.close)
        if self._pool is not None:
            self._pool.close()

    def render(self, mode: str = "rgb_array") -> Any:
        """Returns the images of the environments, uint8 ``[B, height, width, 3]``; mode ``human`` shows windows."""
        if mode == "human":

            def show() -> None:
                self._run(self._env.render, mode)

            return tf.numpy_function(show, [], [])
        image = tf.numpy_function(lambda: np.asarray(self._run(self._env.render, mode), np.uint8), [], tf.uint8)
        image.set_shape([self._batch_size, None, None, 3])
        return image

    def _current_time_step(self) -> TimeStep:
        def current() -> TimeStep:
            return self._env.reset() if self._time_step is None else self._time_step

        return self._tensors(lambda: self._flat(current), [])

    def _reset(self) -> TimeStep:
        return self._tensors(lambda: self._flat(self._env.reset), [])

    def _step(self, action: Any) -> TimeStep:
        tf.nest.assert_same_structure(action, self._action_spec, check_types=False)
        leaves = [tf.convert_to_tensor(leaf) for leaf in flatten(action)]
        if self._check_dims:
            for leaf in leaves:
                if leaf.shape.rank == 0 or leaf.shape[0] not in (None, self._batch_size):
                    raise SpecMismatchError(
                        f"actions must have {self._batch_size} rows, one for each environment, but have shape "
                        f"{leaf.shape}"
                    )

        def step(*arrays: np.ndarray) -> list[np.ndarray]:
            packed = self._pack_action(arrays)
            if self._time_step is None:
                self._flat(self._env.reset)
            return self._flat(lambda: self._env.step(packed))

        return self._tensors(step, leaves)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args) if self._pool is None else self._pool.apply(function, args)

    def _flat(self, take: Callable[[], TimeStep]) -> list[np.ndarray]:
        """Takes a time step, keeps it, and returns its leaves as arrays of their own."""
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("two calls of a TFPyEnvironment run at the same time; make one depend on the other")
        try:
            self._time_step = self._run(take)
        finally:
            self._lock.release()
        leaves = [np.array(leaf) for leaf in flatten(self._time_step)]
        if len(leaves) != len(self._specs):
            raise SpecMismatchError(f"the time step has {len(leaves)} arrays, but its spec has {len(self._specs)}")
        for leaf, spec, path in zip(leaves, self._specs, self._paths, strict=True):
            if leaf.dtype != spec.dtype or leaf.shape != (self._batch_size, *spec.shape):
                raise SpecMismatchError(
                    f"the environment's {path} must be {spec.dtype} {(self._batch_size, *spec.shape)}, but is "
                    f"{leaf.dtype} {leaf.shape}"
                )
        return leaves

    def _tensors(self, function: Callable[..., list[np.ndarray]], inputs: list[tf.Tensor]) -> TimeStep:
        return self._pack(numpy_call(function, inputs, self._outputs))
