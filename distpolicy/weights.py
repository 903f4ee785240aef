"""Weights: one versioned snapshot of a policy's variables.

The learner packs one, Ray's object store holds it once, and every collector reads it there without a copy
and applies it by ``policy.update``. This module needs no TensorFlow, so that a driver can handle weights.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import SpecMismatchError, StaleWeightsError


class VariableLayout(NamedTuple):
    """What one variable is.

    Attributes:
        path: The variable's path in its policy.
        shape: Its shape.
        dtype: Name of its dtype.
        trainable: Whether it is trained.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool


class WeightView(NamedTuple):
    """A variable's value inside ``Weights``; stands where a policy's variable would.

    Attributes:
        path: The variable's path.
        variable: A read-only view of its buffer.
    """

    path: str
    variable: np.ndarray


class Acknowledgement(NamedTuple):
    """What a receiver answers once weights are applied.

    Attributes:
        receiver: Who applied them.
        generation: The learner's generation: how often it was started.
        version: Its number of updates in this run.
        applied: False if these very weights had been applied before.
    """

    receiver: str
    generation: int
    version: int
    applied: bool


@dataclass(frozen=True)
class Weights:
    """An immutable snapshot.

    Attributes:
        generation: How often the learner was started; goes up when it restarts, so that lag is never negative.
        version: The learner's number of updates.
        layout: What each variable is, in the policy's order.
        buffers: Each variable's value by its path. As packed they are read-only and lie in TensorFlow's own memory,
            which it does not write to while they live; the one copy is the object store's.
        checksum: Sum of the words of buffers and parameters; see :func:`checksum`.
        parameters: What TensorFlow has computed from the variables for programs that run without it, by the program's
            key; see :class:`distpolicy.policies.policy_program.PolicyProgram`.
        made: Clock time (``time.time``) at which they were packed; 0.0 if it is not known.
    """

    generation: int
    version: int
    layout: tuple[VariableLayout, ...]
    buffers: dict[str, np.ndarray]
    checksum: int
    parameters: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    made: float = 0.0

    @property
    def num_bytes(self) -> int:
        """Size of the buffers."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

    def named_variables(self) -> list[WeightView]:
        """The variables as views, as ``policy.update`` takes them."""
        return [WeightView(item.path, self.buffers[item.path]) for item in self.layout]

    def verify(self) -> None:
        """Checks the buffers against the checksum.

        Raises:
            SpecMismatchError: If they differ: the buffers were damaged or written over.
        """
        found = checksum(_all_arrays(self.buffers, self.parameters))
        if found != self.checksum:
            raise SpecMismatchError(
                f"weights ({self.generation}, {self.version}): checksum {found:#x} instead of {self.checksum:#x}; "
                "the buffers were damaged or written over"
            )


class WeightsPacker:
    """Packs a policy's variables; the layout is made once.

    Args:
        policy: Anything with ``named_variables()`` of tf.Variables.
    """

    def __init__(self, policy: Any) -> None:
        import tensorflow as tf  # here: a process that only hands weights on has none

        self._read = tf.raw_ops.ReadVariableOp
        named = policy.named_variables()
        self._layout = make_layout(named)
        self._sources = [(item.path, item.variable.handle, item.variable.dtype) for item in named]
        self._parameters: dict[str, Callable[[], Sequence[np.ndarray]]] = {}

    def add_parameters(self, key: str, compute: Callable[[], Sequence[np.ndarray]]) -> None:
        """Adds to every snapshot what a program takes that was made from the policy.

        Args:
            key: The program's key.
            compute: Computes its parameters from the present variables.
        """
        self._parameters[key] = compute

    def pack(self, generation: int, version: int) -> Weights:
        """A snapshot of the variables as they are now."""
        buffers = {path: _memory(self._read(resource=handle, dtype=dtype)) for path, handle, dtype in self._sources}
        parameters = {key: tuple(compute()) for key, compute in self._parameters.items()}
        total = checksum(_all_arrays(buffers, parameters))
        return Weights(generation, version, self._layout, buffers, total, parameters, time.time())


def _all_arrays(buffers: Mapping[str, np.ndarray], parameters: Mapping[str, Sequence[np.ndarray]]) -> list[np.ndarray]:
    return [*buffers.values(), *(array for arrays in parameters.values() for array in arrays)]


def _memory(tensor: Any) -> np.ndarray:
    """The tensor's memory as it is. While it is held, TensorFlow assigns and updates the variable elsewhere."""
    if tensor.dtype.name == "bfloat16":  # the buffer protocol has no code for it
        copy: np.ndarray = tensor.numpy()
        copy.setflags(write=False)
        return copy
    return np.asarray(memoryview(tensor))


def layout_of(policy: Any) -> tuple[VariableLayout, ...]:
    """What each variable of a policy is, in the order of its ``named_variables()``."""
    known: tuple[VariableLayout, ...] | None = getattr(policy, "variable_layout", None)
    return make_layout(policy.named_variables()) if known is None else known


def make_layout(variables: Sequence[Any]) -> tuple[VariableLayout, ...]:
    """What each of these tf.Variables with their paths is, in their order."""
    return tuple(
        VariableLayout(
            item.path,
            tuple(int(size) for size in item.variable.shape),
            np.dtype(item.variable.dtype.as_numpy_dtype).name,
            bool(item.variable.trainable),
        )
        for item in variables
    )


def checksum(buffers: Iterable[np.ndarray]) -> int:
    """Sum of all 64-bit words of each array, and of the bytes that are left, modulo 2**64.

    It runs at the speed of memory, which a CRC does not, and finds torn and overwritten buffers.
    """
    total = 0
    for buffer in buffers:
        flat = buffer.reshape(-1)
        if rest := flat.nbytes % 8:
            flat = flat.view(np.uint8)
            total += int(np.add.reduce(flat[-rest:], dtype=np.uint64))
            flat = flat[:-rest]
        total += int(np.add.reduce(flat.view(np.uint64)))
    return total % 2**64


class WeightsReceiver:
    """Applies weights to a policy: in order, whole or not at all.

    Args:
        policy: A policy with ``named_variables()`` and ``update(...)``.
        name: Who this is, for acknowledgements and messages.
    """

    def __init__(self, policy: Any, name: str) -> None:
        self._policy = policy
        self._name = name
        self._layout = layout_of(policy)
        self._held: tuple[int, int] | None = None
        # The weights that the policy is equal to; None if it is a mixture (tau below 1) or has applied none.
        self._whole: Weights | None = None
        self._lock = threading.Lock()

    @property
    def held(self) -> tuple[int, int] | None:
        """(generation, version) of the weights that are applied; None before the first."""
        return self._held

    def apply(
        self,
        weights: Weights,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> Acknowledgement:
        """Updates the policy from weights. The same weights are applied once, however often they come.

        Args:
            weights: The snapshot.
            tau: As in ``policy.update``.
            tau_non_trainable: As in ``policy.update``.
            sort_variables_by_name: As in ``policy.update``.

        Raises:
            StaleWeightsError: If they are older than those held.
            SpecMismatchError: If their layout is not the policy's, or they are damaged; names the variable.
        """
        offered = (weights.generation, weights.version)
        with self._lock:
            if self._held is not None and offered < self._held:
                raise StaleWeightsError(f"{self._name} holds weights {self._held} and was offered the older {offered}")
            if offered == self._held:
                return Acknowledgement(self._name, *offered, applied=False)
            self.check(weights, sort_variables_by_name)
            self._policy.update(weights, tau, tau_non_trainable, sort_variables_by_name)
            self._held = offered
            is_whole = tau == 1.0 and tau_non_trainable in (None, 1.0) and not sort_variables_by_name
            self._whole = weights if is_whole else None
            return Acknowledgement(self._name, *offered, applied=True)

    @contextlib.contextmanager
    def lent(self, weights: Weights) -> Iterator[None]:
        """Lets the policy act by other weights for a while, older or newer ones; then puts back those held.

        An evaluation may so come between rollouts that act by other versions. A mixture of weights (tau below 1)
        cannot be put back: the weights are then applied as by :meth:`apply`, for good.

        Args:
            weights: The weights to act by.

        Raises:
            SpecMismatchError: As :meth:`apply`.
            StaleWeightsError: If the policy is a mixture, and they are older than those held.
        """
        before = self._whole
        if before is None and self._held is not None:
            self.apply(weights)
            yield
            return
        if self._held == (weights.generation, weights.version):
            yield
            return
        with self._lock:
            self.check(weights)
            self._policy.update(weights, 1.0, None, False)
        try:
            yield
        finally:
            if before is not None:
                self._policy.update(before, 1.0, None, False)

    def check(self, weights: Weights, sort_variables_by_name: bool = False) -> None:
        """Checks that weights are whole and fit the policy.

        Args:
            weights: The snapshot.
            sort_variables_by_name: As in ``policy.update``.

        Raises:
            SpecMismatchError: If they do not; names the variable.
        """
        self._check_layout(weights, sort_variables_by_name)
        weights.verify()

    def _check_layout(self, weights: Weights, sort_variables_by_name: bool) -> None:
        if weights.layout == self._layout or sort_variables_by_name:
            return  # policy.update checks the pairs that sorting makes
        for ours, theirs in zip(self._layout, weights.layout, strict=False):
            if ours != theirs:
                raise SpecMismatchError(
                    f"{self._name}: variable {ours.path} of shape {ours.shape} and dtype {ours.dtype} was offered "
                    f"{theirs.path} of shape {theirs.shape} and dtype {theirs.dtype}: policies were not built alike"
                )
        raise SpecMismatchError(
            f"{self._name}: the policy has {len(self._layout)} variables and the weights {len(weights.layout)}"
        )
