"""Weights: one versioned snapshot of a policy's variables.

The learner packs one, Ray's object store holds it once, and every collector reads it there without a copy
and applies it by ``policy.update``. This module needs no TensorFlow, so that a driver can handle weights.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import SpecMismatchError, StaleWeightsError


class VariableLayout(NamedTuple):
    """One variable's place in the buffers.

    Attributes:
        path: The variable's path in its policy.
        shape: Its shape.
        dtype: Name of its dtype, and of the buffer that holds it.
        trainable: Whether it is trained.
        offset: Its first element in the buffer.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    offset: int


class WeightView(NamedTuple):
    """A variable's value inside ``Weights``; stands where a policy's variable would.

    Attributes:
        path: The variable's path.
        variable: A read-only view of the buffer.
    """

    path: str
    variable: np.ndarray


class Acknowledgement(NamedTuple):
    """What a receiver answers once weights are applied.

    Attributes:
        receiver: Who applied them.
        epoch: The learner's epoch: how often it was started.
        version: Its number of updates in this run.
        applied: False if these very weights had been applied before.
    """

    receiver: str
    epoch: int
    version: int
    applied: bool


@dataclass(frozen=True)
class Weights:
    """An immutable snapshot.

    Attributes:
        epoch: How often the learner was started; goes up when it restarts, so that lag is never negative.
        version: The learner's number of updates.
        layout: Each variable's place, in the policy's order.
        buffers: One contiguous array for each dtype.
        checksum: Sum of the buffers' words; see :func:`checksum`.
    """

    epoch: int
    version: int
    layout: tuple[VariableLayout, ...]
    buffers: dict[str, np.ndarray]
    checksum: int

    @property
    def num_bytes(self) -> int:
        """Size of the buffers."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

    def named_variables(self) -> list[WeightView]:
        """The variables as views, as ``policy.update`` takes them."""
        views = []
        for item in self.layout:
            size = int(np.prod(item.shape, dtype=np.int64))
            view = self.buffers[item.dtype][item.offset : item.offset + size].reshape(item.shape)
            view.setflags(write=False)
            views.append(WeightView(item.path, view))
        return views

    def verify(self) -> None:
        """Checks the buffers against the checksum.

        Raises:
            SpecMismatchError: If they differ: the buffers were damaged or written over.
        """
        found = checksum(self.buffers)
        if found != self.checksum:
            raise SpecMismatchError(
                f"weights ({self.epoch}, {self.version}): checksum {found:#x} instead of {self.checksum:#x}; "
                "the buffers were damaged or written over"
            )


class WeightsPacker:
    """Packs a policy's variables; the layout is made once.

    Args:
        policy: Anything with ``named_variables()`` of tf.Variables.
    """

    def __init__(self, policy: Any) -> None:
        self._variables = [item.variable for item in policy.named_variables()]
        self._layout = make_layout(policy.named_variables())
        sizes: dict[str, int] = {}
        for item in self._layout:
            sizes[item.dtype] = item.offset + int(np.prod(item.shape, dtype=np.int64))
        self._sizes = sizes

    def pack(self, epoch: int, version: int) -> Weights:
        """A snapshot of the variables as they are now."""
        buffers = {dtype: np.empty(size, dtype) for dtype, size in self._sizes.items()}
        for item, variable in zip(self._layout, self._variables, strict=True):
            # The buffer protocol reads the tensor in place; numpy() would copy once more.
            value = np.asarray(memoryview(variable.read_value()))
            target = buffers[item.dtype][item.offset : item.offset + value.size]
            np.copyto(target.reshape(item.shape), value)
        return Weights(epoch, version, self._layout, buffers, checksum(buffers))


def make_layout(variables: Sequence[Any]) -> tuple[VariableLayout, ...]:
    """Where each variable of ``named_variables()`` lies, in their order."""
    layout = []
    ends: dict[str, int] = {}
    for item in variables:
        dtype = np.dtype(item.variable.dtype.as_numpy_dtype).name
        shape = tuple(int(size) for size in item.variable.shape)
        offset = ends.get(dtype, 0)
        ends[dtype] = offset + int(np.prod(shape, dtype=np.int64))
        layout.append(VariableLayout(item.path, shape, dtype, bool(item.variable.trainable), offset))
    return tuple(layout)


def checksum(buffers: dict[str, np.ndarray]) -> int:
    """Sum of all 64-bit words (and of the bytes that are left) modulo 2**64, over buffers in order of dtype.

    It runs at the speed of memory, which a CRC does not, and finds torn and overwritten buffers.
    """
    total = 0
    for dtype in sorted(buffers):
        raw = buffers[dtype].view(np.uint8).reshape(-1)
        whole = raw.size // 8 * 8
        total += int(np.add.reduce(raw[:whole].view(np.uint64), dtype=np.uint64))
        total += int(np.add.reduce(raw[whole:], dtype=np.uint64))
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
        self._layout = make_layout(policy.named_variables())
        self._held: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def held(self) -> tuple[int, int] | None:
        """(epoch, version) of the weights that are applied; None before the first."""
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
        offered = (weights.epoch, weights.version)
        with self._lock:
            if self._held is not None and offered < self._held:
                raise StaleWeightsError(f"{self._name} holds weights {self._held} and was offered the older {offered}")
            if offered == self._held:
                return Acknowledgement(self._name, *offered, applied=False)
            self._check_layout(weights, sort_variables_by_name)
            weights.verify()
            self._policy.update(weights, tau, tau_non_trainable, sort_variables_by_name)
            self._held = offered
            return Acknowledgement(self._name, *offered, applied=True)

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
