"""PolicyWrapper: the base of policies that change what another policy does."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.policies.row_draws import stream_seed, where_rows
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, paths


class PolicyWrapper(TFPolicy):
    """Shares the specs, the variables and the state of the wrapped policy.

    The wrapped policy resets its state, so the wrapper does not.

    Args:
        policy: The policy to wrap.
        sets_log_probability: Whether the wrapper replaces the log-probability in the info, if there is one.
        **arguments: Arguments of TFPolicy that differ from the wrapped policy's.

    Raises:
        ValueError: If ``policy`` is not a TFPolicy.
    """

    def __init__(self, policy: TFPolicy, sets_log_probability: bool = False, **arguments: Any) -> None:
        check_policy(policy, type(self).__name__)
        settings = {
            "policy_state_spec": policy.policy_state_spec,
            "info_spec": policy.info_spec,
            "observation_and_action_constraint_splitter": policy.observation_and_action_constraint_splitter,
            "validate_args": policy.validate_args,
            "automatic_state_reset": False,
            "emit_log_probability": sets_log_probability and policy.emit_log_probability,
            **arguments,
        }
        super().__init__(policy.time_step_spec, policy.action_spec, **settings)
        self._wrapped_policy = policy
        # Each of several nested wrappers draws from a stream of its own.
        self._stream = 1 + sum(isinstance(module, TFPolicy) for module in policy.submodules)

    @property
    def wrapped_policy(self) -> TFPolicy:
        """The wrapped policy."""
        return self._wrapped_policy

    def _own_seed(self, seed: tf.Tensor | None) -> tf.Tensor | None:
        """Returns the seed of this wrapper's own draws. The wrapped policy takes the seed as given."""
        return stream_seed(seed, self._stream)

    def _get_initial_state(self, batch_size: Any) -> Any:
        return self._wrapped_policy.get_initial_state(batch_size)


class MemoryWrapper(PolicyWrapper):
    """A wrapper with a memory of the action's structure and shapes. Its state is ``(wrapped_state, memory)``.

    The memory is all zeros before an episode and where a time step is FIRST.

    Args:
        policy: The policy to wrap.
        memory_name: Name of the memory's specs, which have no bounds; None for the action's own specs.
        **arguments: Arguments of TFPolicy that differ from the wrapped policy's.

    Raises:
        ValueError: If an action is not continuous; it names the leaf.
    """

    def __init__(self, policy: TFPolicy, memory_name: str | None = None, **arguments: Any) -> None:
        assert_continuous(policy, type(self).__name__)
        memory_spec = policy.action_spec
        if memory_name is not None:
            memory_spec = tf.nest.map_structure(
                lambda spec: tensor_spec.TensorSpec(spec.shape, spec.dtype, memory_name), memory_spec
            )
        super().__init__(policy, policy_state_spec=(policy.policy_state_spec, memory_spec), **arguments)

    def _memory(self, time_step: TimeStep, policy_state: Any) -> Any:
        """Returns the memory, set to zeros where the time step is FIRST."""
        is_first = tf.convert_to_tensor(time_step.is_first())
        if is_first.shape.rank > 1:
            raise ValueError(f"{self.name} is stateful; pass time steps with one outer dimension, not {is_first.shape}")
        zeros = tf.nest.map_structure(tf.zeros_like, policy_state[1])
        return where_rows(is_first, zeros, policy_state[1])

    def _get_initial_state(self, batch_size: Any) -> Any:
        outer_dims = None if batch_size is None else [batch_size]
        memory = tensor_spec.zero_spec_nest(self.policy_state_spec[1], outer_dims)
        return self._wrapped_policy.get_initial_state(batch_size), memory

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not have a distribution; call action()")


def check_policy(policy: Any, what: str) -> None:
    """Raises an error if an object is not a TFPolicy.

    Raises:
        ValueError: If ``policy`` is something else.
    """
    if not isinstance(policy, TFPolicy):
        raise ValueError(f"{what} wraps a TFPolicy, not a {type(policy).__name__}")


def assert_continuous(policy: TFPolicy, what: str) -> None:
    """Raises an error if a policy has an action that is not a float.

    Raises:
        ValueError: If an action is not a float. The message names the leaf.
    """
    check_policy(policy, what)
    for path, spec in zip(paths(policy.action_spec), flatten(policy.action_spec), strict=True):
        if not tensor_spec.is_continuous(spec):
            raise ValueError(f"{what} needs continuous actions, but action_spec{path} has dtype {spec.dtype.name}")
