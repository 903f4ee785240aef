"""CompiledAction: a policy's action as one flat, compiled call on NumPy arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.flat_call import FlatCall, flat_call
from distpolicy.utils.nests.array_nest import flatten, map_structure, packer

_logger = logging.getLogger(__name__)


class _Signature(NamedTuple):
    """The compiled call for one batch size.

    Attributes:
        call: Takes the flat inputs, arrays or tensors; returns the flat output tensors.
        unused: For each input, a tensor to pass instead if the policy does not use the input, otherwise None.
        state_places: Places of the state among the flat outputs. The state stays in tensors.
        pack: Packs the flat outputs into a PolicyStep.
    """

    call: FlatCall
    unused: list[tf.Tensor | None]
    state_places: frozenset[int]
    pack: Callable[[Sequence[Any]], PolicyStep]


class CompiledAction:
    """Compiles ``policy.action`` once for each batch size and calls it with as little Python as possible.

    Only arrays that the policy uses become tensors (a feed-forward policy uses neither reward nor step type). The state
    stays in tensors from call to call.

    Args:
        policy: The policy.
        jit_compile: Whether XLA compiles the call; None tries it and falls back to a plain tf.function.
    """

    def __init__(self, policy: TFPolicy, jit_compile: bool | None = None) -> None:
        self._policy = policy
        self._jit_compile = jit_compile
        self._signatures: dict[Any, _Signature] = {}
        self.tracing_count = 0

    @property
    def jit_compiled(self) -> bool:
        """Whether XLA compiles the call; False before the first call if this is yet to be tried."""
        return bool(self._jit_compile)

    def __call__(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> PolicyStep:
        """Returns the policy's step: action and info as NumPy arrays, the state as tensors.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of tensors or arrays ``[B, ...]``.
            seed: int32 ``[2]`` or ``[B, 2]``.
        """
        if not isinstance(policy_state, tuple) or policy_state:
            policy_state = map_structure(tf.convert_to_tensor, policy_state)
        leaves = [*flatten(time_step), *flatten(policy_state), seed]
        key = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        signature = self._signatures.get(key)
        if signature is None:
            signature = self._signatures[key] = self._compile(time_step, policy_state, seed)
        inputs = [leaf if unused is None else unused for leaf, unused in zip(leaves, signature.unused, strict=True)]
        state_places = signature.state_places
        return signature.pack(
            [output if place in state_places else output.numpy() for place, output in enumerate(signature.call(inputs))]
        )

    def _compile(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> _Signature:
        if self._jit_compile is None:
            try:
                signature = self._trace(time_step, policy_state, seed, jit_compile=True)
            except (tf.errors.OpError, NotImplementedError) as error:
                _logger.info("%s is not compiled by XLA: %s", self._policy.name, str(error).splitlines()[0])
                self._jit_compile = False
            else:
                self._jit_compile = True
                return signature
        return self._trace(time_step, policy_state, seed, self._jit_compile)

    def _trace(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray, jit_compile: bool) -> _Signature:
        inputs = (time_step, policy_state, seed)
        places: list[PolicyStep] = []

        def flat_action(*leaves: tf.Tensor) -> list[tf.Tensor]:
            step = self._policy.action(*tf.nest.pack_sequence_as(inputs, leaves))
            places.append(tf.nest.pack_sequence_as(step, list(range(len(tf.nest.flatten(step))))))
            return [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(step)]

        leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(inputs)]
        function = tf.function(flat_action, autograph=False, jit_compile=jit_compile)
        concrete = function.get_concrete_function(*[tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in leaves])
        call = flat_call(concrete, leaves)
        self.tracing_count += function.experimental_get_tracing_count()
        unused = [
            None if placeholder.consumers() else leaf
            for placeholder, leaf in zip(concrete.inputs[: len(leaves)], leaves, strict=True)
        ]
        return _Signature(call, unused, frozenset(flatten(places[-1].state)), packer(places[-1]))
