"""PyTFEagerPolicy: a TFPolicy that takes and returns NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.policies.compiled_action import CompiledAction
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.array_nest import map_structure
from distpolicy.utils.module_variables import NamedVariable
from distpolicy.utils.sampling import stateless_seed


class PyTFEagerPolicy(PyPolicy):
    """Wraps a TFPolicy for environments of NumPy arrays; the inner loop of every collector.

    With ``use_tf_function`` a call is one flatten and one compiled call. It is traced once for each
    batch size: seeds and states are tensors.

    Args:
        policy: The policy to wrap; its variables stay shared.
        use_tf_function: Whether the call is compiled.
        batch_time_steps: Whether time steps come without a batch dimension, which is then added and taken away.
        jit_compile: Whether XLA compiles the call; None tries it and falls back to a plain tf.function where the
            policy holds something that XLA cannot compile.
        seed: Seed of the draws of calls that are given none; None for one from the system.
    """

    def __init__(
        self,
        policy: TFPolicy,
        use_tf_function: bool = False,
        batch_time_steps: bool = True,
        jit_compile: bool | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            tensor_spec.to_nest_array_spec(policy.time_step_spec),
            tensor_spec.to_nest_array_spec(policy.action_spec),
            tensor_spec.to_nest_array_spec(policy.policy_state_spec),
            tensor_spec.to_nest_array_spec(policy.info_spec),
        )
        self._policy = policy
        self._batch_time_steps = batch_time_steps
        self._compiled = CompiledAction(policy, jit_compile) if use_tf_function else None
        self._seeds = np.random.default_rng(seed)

    @property
    def policy(self) -> TFPolicy:
        """The policy that is wrapped."""
        return self._policy

    @property
    def tracing_count(self) -> int:
        """How often the call was traced: once for each batch size."""
        return 0 if self._compiled is None else self._compiled.tracing_count

    @property
    def jit_compiled(self) -> bool:
        """Whether XLA compiled the call."""
        return self._compiled is not None and self._compiled.jit_compiled

    def named_variables(self) -> list[NamedVariable]:
        """The wrapped policy's variables with their paths."""
        return self._policy.named_variables()

    def variables(self) -> list[np.ndarray]:
        """Copies of the wrapped policy's variables, as arrays."""
        return [variable.numpy() for variable in self._policy.variables()]

    def update(
        self,
        policy: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """:meth:`TFPolicy.update` of the wrapped policy."""
        self._policy.update(policy, tau, tau_non_trainable, sort_variables_by_name)

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """The wrapped policy's initial state as tensors; of a batch of one if none is given and it is added here."""
        if batch_size is None and self._batch_time_steps:
            batch_size = 1
        return self._policy.get_initial_state(batch_size)

    def warm_up(self, batch_size: int) -> None:
        """Compiles the call for batches of this size with a seed for each row, as collectors give them."""
        if self._compiled is not None and not self._batch_time_steps:
            step = map_structure(lambda spec: np.zeros((batch_size, *spec.shape), spec.dtype), self.time_step_spec)
            self.action(step, self.get_initial_state(batch_size), np.zeros((batch_size, 2), np.int32))

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """The action for a time step; a collector's every step ends here.

        Args:
            time_step: Nest of arrays.
            policy_state: The state that the last call returned, or the initial one.
            seed: None for the next of this policy's own, an int, an int32 array ``[2]``, or ``[B, 2]``: one for
                each row.

        Returns:
            Action and info as arrays, and the state as tensors, with a batch dimension in any case.
        """
        if self._compiled is not None and not self._batch_time_steps:
            return self._compiled(time_step, policy_state, self._stateless(seed))
        return self._action(time_step, policy_state, seed)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        if self._batch_time_steps:
            time_step = tf.nest.map_structure(lambda leaf: np.expand_dims(leaf, 0), time_step)
        seed = self._stateless(seed)
        if self._compiled is not None:
            step = self._compiled(time_step, policy_state, seed)
        else:
            tensors = tf.nest.map_structure(tf.constant, time_step)
            policy_state = tf.nest.map_structure(tf.convert_to_tensor, policy_state)
            step = self._policy.action(tensors, policy_state, tf.constant(seed))
            step = step._replace(
                action=tf.nest.map_structure(lambda leaf: leaf.numpy(), step.action),
                info=tf.nest.map_structure(lambda leaf: leaf.numpy(), step.info),
            )
        if self._batch_time_steps:
            step = step._replace(
                action=tf.nest.map_structure(lambda leaf: leaf[0], step.action),
                info=tf.nest.map_structure(lambda leaf: leaf[0], step.info),
            )
        return step

    def _stateless(self, seed: Any) -> np.ndarray:
        """The seed as an int32 array ``[2]`` or ``[B, 2]``, so that another seed is no other trace."""
        if isinstance(seed, np.ndarray) and seed.dtype == np.int32:
            return seed
        if seed is None:
            return self._seeds.integers(np.iinfo(np.int32).max, size=2, dtype=np.int32)
        return np.asarray(stateless_seed(seed), np.int32)
