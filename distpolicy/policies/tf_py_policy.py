"""TFPyPolicy: a policy over arrays that takes tensors, also in compiled functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import SpecMismatchError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, leaf_places, map_structure, packer
from distpolicy.utils.numpy_call import numpy_call


class TFPyPolicy(TFPolicy):
    """Wraps a PyPolicy. In a compiled function it runs in Python.

    Args:
        policy: The policy.
        py_policy_is_batched: Whether the policy takes batches. If not, batches must have one row.
        name: Name of the module.

    Raises:
        TypeError: If ``policy`` is not a PyPolicy.
    """

    def __init__(self, policy: PyPolicy, py_policy_is_batched: bool = False, name: str | None = None) -> None:
        if not isinstance(policy, PyPolicy):
            raise TypeError(f"policy must be a PyPolicy, not {policy!r}")
        super().__init__(
            tensor_spec.from_spec(policy.time_step_spec),
            tensor_spec.from_spec(policy.action_spec),
            policy_state_spec=tensor_spec.from_spec(policy.policy_state_spec),
            info_spec=tensor_spec.from_spec(policy.info_spec),
            clip=False,
            automatic_state_reset=False,
            name=name,
        )
        # Hidden from tf.Module's tracking: what a PyPolicy holds is its own.
        object.__setattr__(self, "_py_policy", policy)
        self._is_batched = py_policy_is_batched

    def _get_initial_state(self, batch_size: Any) -> Any:
        specs = tf.nest.flatten(self.policy_state_spec)
        if not specs:
            return self.policy_state_spec

        def initial(size: np.ndarray) -> list[np.ndarray]:
            own = int(size) if self._is_batched else None
            leaves = [np.asarray(leaf) for leaf in flatten(self._py_policy.get_initial_state(own))]
            return leaves if self._is_batched else [np.stack([leaf] * int(size)) for leaf in leaves]

        size = 1 if batch_size is None else batch_size
        outputs = [tf.TensorSpec([tf.get_static_value(size), *spec.shape], spec.dtype) for spec in specs]
        leaves = numpy_call(initial, [size], outputs)
        if batch_size is None:
            leaves = [leaf[0] for leaf in leaves]
        return tf.nest.pack_sequence_as(self.policy_state_spec, leaves)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        if seed is not None:
            raise NotImplementedError("TFPyPolicy takes no seed; give it to the wrapped policy's constructor")
        outer = time_step.step_type.shape
        if not self._is_batched and outer.rank and outer[0] not in (None, 1):
            raise SpecMismatchError(
                f"the wrapped policy takes one time step, not a batch of {outer[0]}: give py_policy_is_batched=True, "
                "or wrap a BatchedPyPolicy"
            )
        unpacks = not self._is_batched and bool(outer.rank)
        inputs = (time_step, policy_state)
        pack, specs = packer(leaf_places(inputs)), tf.nest.flatten(self.policy_step_spec)

        def act(*arrays: np.ndarray) -> list[np.ndarray]:
            step, state = pack([array[0] for array in arrays] if unpacks else arrays)
            found = map_structure(np.asarray, self._py_policy.action(step, state))
            leaves = [leaf.astype(spec.dtype.as_numpy_dtype) for leaf, spec in zip(flatten(found), specs, strict=True)]
            return [leaf[np.newaxis] for leaf in leaves] if unpacks else leaves

        leaves = numpy_call(act, flatten(inputs), [tf.TensorSpec([*outer, *spec.shape], spec.dtype) for spec in specs])
        return tf.nest.pack_sequence_as(self.policy_step_spec, leaves)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("TFPyPolicy does not have a distribution; call action()")
