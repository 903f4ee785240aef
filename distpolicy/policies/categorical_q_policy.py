"""CategoricalQPolicy: a policy with the expected values of a distributional Q-network as logits."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.policies.masks import network_input_spec, num_values, split_mask
from distpolicy.policies.q_policy import categorical_for, check_output, check_scalar_action
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class CategoricalQPolicy(TFPolicy):
    """Draws one discrete action with expected Q-values, divided by a temperature, as logits.

    The network returns a categorical distribution over a support of values for each action (Bellemare, Dabney and
    Munos, "A distributional perspective on reinforcement learning", 2017).

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: One bounded scalar integer spec with any minimum.
        q_network: A network with ``num_atoms``; it returns logits ``[..., num_actions, num_atoms]`` and the next state.
        min_q_value: The lowest value of the support.
        max_q_value: The highest value of the support.
        observation_and_action_constraint_splitter: Function from an observation to the network's input and a mask
            ``[..., num_actions]``, not 0 where an action is allowed.
        temperature: Divides the expected values; the closer to 0, the more often the best action is drawn.
        name: Name of the module.

    Raises:
        ValueError: If the network has no ``num_atoms``, its outputs do not match the action, the support is empty or
            the temperature is not positive.
        TypeError: If ``action_spec`` is not one bounded spec.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        q_network: Network,
        min_q_value: float,
        max_q_value: float,
        observation_and_action_constraint_splitter: Any = None,
        temperature: float = 1.0,
        name: str | None = None,
    ) -> None:
        time_step_spec = tensor_spec.from_spec(time_step_spec)
        if not tensor_spec.is_bounded(action_spec):
            raise TypeError(f"action_spec must be one bounded spec, not {action_spec!r}")
        spec = tensor_spec.from_spec(action_spec)
        check_scalar_action(spec, "CategoricalQPolicy")
        num_atoms = getattr(q_network, "num_atoms", None)
        if num_atoms is None:
            raise ConfigError(f"q_network must have num_atoms, like a CategoricalQNetwork; it is {q_network!r}")
        if not min_q_value < max_q_value:
            raise ConfigError(f"min_q_value must be below max_q_value, but they are {min_q_value} and {max_q_value}")
        if not temperature > 0.0:
            raise ConfigError(f"temperature must be positive, but is {temperature}")
        output_spec = q_network.create_variables(
            network_input_spec(time_step_spec.observation, observation_and_action_constraint_splitter, spec)
        )
        check_output(output_spec, [num_values(spec), num_atoms], "q_network")
        super().__init__(
            time_step_spec,
            spec,
            policy_state_spec=q_network.state_spec,
            clip=False,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
            name=name,
        )
        self._q_network = q_network
        self._temperature = temperature
        self._bounds = (float(min_q_value), float(max_q_value))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        observation, mask = split_mask(self._splitter, time_step.observation, self.action_spec)
        logits, state = self._q_network(observation, step_type=time_step.step_type, network_state=policy_state)
        support = tf.cast(tf.linspace(*self._bounds, self._q_network.num_atoms), logits.dtype)
        q_values = tf.reduce_sum(tf.nn.softmax(logits) * support, axis=-1)
        return PolicyStep(categorical_for(self.action_spec, q_values / self._temperature, mask), state, ())
