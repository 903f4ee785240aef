"""PPOPolicy: a policy that tells what PPO learns from, with TF-Agents' arguments."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.distributions.distribution_form import DistributionForm
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.masks import Splitter, network_input_spec, num_values, split_mask
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.nests.checks import assert_value_spec

_ACTOR_STATE, _VALUE_STATE = "actor_network_state", "value_network_state"


class PPOPolicy(ActorPolicy):
    """An ActorPolicy with a critic, whose info holds its distributions' parameters and perhaps the values.

    The policy state of recurrent networks is a dict with ``actor_network_state`` and, if the policy tells values,
    ``value_network_state``.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs.
        actor_network: From observations to distributions.
        value_network: From observations to values.
        observation_normalizer: See :class:`ActorPolicy`.
        clip: The same.
        collect: Whether the info is ``{"dist_params": ...}``, with a dict of tensors for each part of the action;
            otherwise it is ``()``.
        compute_value_and_advantage_in_train: Whether the agent computes the values. If not, they are in the info as
            ``value_prediction``.
        name: Name of the module.
        observation_and_action_constraint_splitter: Function from an observation to the networks' input and a mask of
            actions, not 0 where an action is allowed; None for no masks. The critic does not see the mask.

    Raises:
        TypeError: If a network is not a Network.
        ValueError: If the networks' outputs do not match.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        value_network: Network,
        observation_normalizer: Any = None,
        clip: bool = True,
        collect: bool = True,
        compute_value_and_advantage_in_train: bool = False,
        name: str | None = None,
        observation_and_action_constraint_splitter: Splitter = None,
    ) -> None:
        for role, network in (("actor_network", actor_network), ("value_network", value_network)):
            if not isinstance(network, Network):
                raise TypeError(f"{role} must be a Network, not {type(network).__name__}")
        splitter, masked_action = observation_and_action_constraint_splitter, flatten(action_spec)[0]
        observation_spec = tensor_spec.from_spec(time_step_spec.observation)
        input_spec = network_input_spec(observation_spec, splitter, tensor_spec.from_spec(masked_action))
        actor_network.create_variables(input_spec)
        assert_value_spec(value_network.create_variables(input_spec), "value_network")
        tells_values = collect and not compute_value_and_advantage_in_train
        info_spec: Any = ()
        num_actions = None if splitter is None else num_values(masked_action)
        form = DistributionForm(_probed(actor_network, input_spec, num_actions)) if collect else None
        if form is not None:
            info_spec = {"dist_params": form.parameters_spec}
            if tells_values:
                info_spec["value_prediction"] = tensor_spec.TensorSpec((), tf.float32, "value_prediction")
        states = {
            _ACTOR_STATE: actor_network.state_spec,
            _VALUE_STATE: value_network.state_spec if tells_values else (),
        }
        states = {key: spec for key, spec in states.items() if tf.nest.flatten(spec)}
        super().__init__(
            time_step_spec,
            action_spec,
            actor_network,
            policy_state_spec=states,
            info_spec=info_spec,
            observation_normalizer=observation_normalizer,
            clip=clip,
            observation_and_action_constraint_splitter=splitter,
            name=name,
        )
        self._value_network, self._tells_values = value_network, tells_values
        # Hidden from tf.Module's tracking.
        object.__setattr__(self, "_self_form", form)

    @property
    def distribution_form(self) -> DistributionForm:
        """How the info's ``dist_params`` are distributions.

        Raises:
            ValueError: If the policy is not one that collects.
        """
        if self._self_form is None:
            raise ValueError(f"{self.name} does not tell its distributions: make it with collect=True")
        return self._self_form

    def get_initial_value_state(self, batch_size: Any) -> Any:
        """Returns the critic's state before an episode: ``[batch_size, ...]``, or ``[...]`` for None."""
        outer = None if batch_size is None else [batch_size]
        return tensor_spec.zero_spec_nest(self._value_network.state_spec, outer)

    def apply_value_network(
        self, observations: Any, step_types: Any, value_state: Any = None, training: bool = False
    ) -> tuple[tf.Tensor, Any]:
        """Returns values of observations, which are normalised first, and the critic's next state.

        Args:
            observations: Nest of ``[B, ...]`` or ``[B, T, ...]``.
            step_types: int32 of the same outer dimensions.
            value_state: Nest of ``[B, ...]``; None for the initial one.
            training: Whether the network is called in training mode.
        """
        observations, _ = split_mask(self._splitter, observations, flatten(self.action_spec)[0])
        if self._observation_normalizer is not None:
            observations = self._observation_normalizer.normalize(observations)
        return self._value_network(
            observations,
            step_type=step_types,
            network_state=() if value_state is None else value_state,
            training=training,
        )

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        given = dict(policy_state) if policy_state else {}
        step = super()._distribution(time_step, given.get(_ACTOR_STATE, ()))
        states, info = {_ACTOR_STATE: step.state}, {}
        if self._self_form is not None:
            info["dist_params"] = self._self_form.parameters(step.action)
        if self._tells_values:
            info["value_prediction"], states[_VALUE_STATE] = self.apply_value_network(
                time_step.observation, time_step.step_type, given.get(_VALUE_STATE, ())
            )
        kept = {key: states[key] for key in self.policy_state_spec} if self.policy_state_spec else ()
        return PolicyStep(step.action, kept, info or ())


def _probed(network: Network, input_spec: Any, num_actions: int | None) -> Any:
    """Returns the network's distributions for two rows, with masks if there is a number of actions."""
    with tf.init_scope():
        zeros = tensor_spec.zero_spec_nest(input_spec, [2])
        mask = None if num_actions is None else tf.ones([2, num_actions], tf.bool)
        return network(zeros, step_type=tf.zeros([2], tf.int32), mask=mask)[0]
