"""QPolicy: a policy with the values of a Q-network as logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.masked import MaskedCategorical
from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.errors import SpecMismatchError
from distpolicy.networks.network import Network
from distpolicy.policies.masks import network_input_spec, num_values, split_mask
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten


class QPolicy(TFPolicy):
    """Draws one discrete action with the Q-values as logits. Wrap it in a :class:`GreedyPolicy` for the best action.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: One bounded scalar integer spec with any minimum, or a nest that holds one.
        q_network: Called with ``(observation, step_type, network_state)``; returns ``[..., num_actions]`` and the next
            state.
        emit_log_probability: Whether the info holds log-probabilities.
        observation_and_action_constraint_splitter: Function from an observation to the network's input and a mask
            ``[..., num_actions]``, not 0 where an action is allowed.
        validate_action_spec_and_network: Whether the action spec and the network's output are checked.
        name: Name of the module.

    Raises:
        ValueError: If ``q_network`` is not a Network, does not return one float for each action or was built for
            another ``action_spec``, or the action is not a scalar integer.
        NotImplementedError: If there are several actions and ``validate_action_spec_and_network`` is False.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        q_network: Network,
        emit_log_probability: bool = False,
        observation_and_action_constraint_splitter: Any = None,
        validate_action_spec_and_network: bool = True,
        name: str | None = None,
    ) -> None:
        time_step_spec, action_spec = tensor_spec.from_spec(time_step_spec), tensor_spec.from_spec(action_spec)
        if not isinstance(q_network, Network):
            raise ValueError(f"q_network must be a Network, not {type(q_network).__name__}")
        if validate_action_spec_and_network:
            check_scalar_action(action_spec, "QPolicy")
        elif len(flatten(action_spec)) != 1:
            raise NotImplementedError(f"QPolicy has one action, but action_spec holds {len(flatten(action_spec))}")
        (spec,) = flatten(action_spec)
        own_specs = flatten(getattr(q_network, "action_spec", None) or spec)
        if not (len(own_specs) == 1 and spec.is_compatible_with(own_specs[0])):
            raise SpecMismatchError(f"q_network was built for the action {own_specs}, but action_spec is {spec}")
        output_spec = q_network.create_variables(
            network_input_spec(time_step_spec.observation, observation_and_action_constraint_splitter, spec)
        )
        if validate_action_spec_and_network:
            check_output(output_spec, [num_values(spec)], "q_network")
        super().__init__(
            time_step_spec,
            action_spec,
            policy_state_spec=q_network.state_spec,
            clip=False,
            emit_log_probability=emit_log_probability,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
            name=name,
        )
        self._q_network = q_network

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        (spec,) = flatten(self.action_spec)
        observation, mask = split_mask(self._splitter, time_step.observation, spec)
        q_values, state = self._q_network(observation, step_type=time_step.step_type, network_state=policy_state)
        distribution = categorical_for(spec, q_values, mask)
        return PolicyStep(tf.nest.map_structure(lambda _: distribution, self.action_spec), state, ())


def check_scalar_action(action_spec: Any, what: str) -> None:
    """Raises an error if an action spec is not one bounded scalar integer.

    Raises:
        ValueError: If it is anything else.
    """
    leaves = flatten(action_spec)
    if len(leaves) != 1 or leaves[0].shape.rank != 0 or not tensor_spec.is_discrete(leaves[0]):
        held = ", ".join(f"{leaf.dtype.name}{list(leaf.shape)}" for leaf in leaves)
        raise SpecMismatchError(f"{what} has one scalar integer action, but action_spec holds {held}")
    if not tensor_spec.is_bounded(leaves[0]):
        raise SpecMismatchError(
            f"{what} needs an action_spec with bounds, such as BoundedTensorSpec((), tf.int64, 0, 3)"
        )


def check_output(output_spec: Any, shape: list[int], what: str) -> None:
    """Raises an error if a network's output is not one float tensor of this shape.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(output_spec, tf.TensorSpec) or not (
        output_spec.dtype.is_floating and output_spec.shape.is_compatible_with(shape)
    ):
        raise SpecMismatchError(f"{what} must return a float tensor of inner shape {shape}, but returns {output_spec}")


def categorical_for(spec: Any, logits: tf.Tensor, mask: Any = None) -> tfp.distributions.Distribution:
    """Returns the distribution over an integer spec's values with these logits.

    Args:
        spec: A bounded integer spec.
        logits: ``[..., num_values]``.
        mask: ``[..., num_values]``, not 0 where a value is allowed; None for all.
    """
    minimum = int(np.asarray(spec.minimum).item())
    if minimum != 0:
        return ShiftedCategorical(logits=logits, mask=mask, dtype=spec.dtype, shift=minimum)
    if mask is not None:
        return MaskedCategorical(logits, mask, dtype=spec.dtype, neg_inf=None)
    return tfp.distributions.Categorical(logits=logits, dtype=spec.dtype)
