"""ActorPolicy: a policy made of an actor network."""

from __future__ import annotations

from typing import Any

import tensorflow_probability as tfp

from distpolicy.networks.network import Network
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.array_nest import map_structure


class ActorPolicy(TFPolicy):
    """Acts by a network from observations to actions or distributions over them.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs.
        actor_network: Called with ``(observation, step_type, network_state)``; returns actions or
            distributions, and the next state.
        info_spec: Nest of specs.
        observation_normalizer: An object with ``normalize(observation)``, part of the policy's variables.
        clip: Whether actions are clipped to their bounds. PPO learns from unclipped ones.
        training: Whether the network is called in training mode.
        emit_log_probability: Whether the info holds log-probabilities.
        name: Name of the module.

    Raises:
        ValueError: If ``actor_network`` is not a Network.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        info_spec: Any = (),
        observation_normalizer: Any = None,
        clip: bool = True,
        training: bool = False,
        emit_log_probability: bool = False,
        name: str | None = None,
    ) -> None:
        if not isinstance(actor_network, Network):
            raise ValueError(f"actor_network must be a Network, not {type(actor_network).__name__}")
        actor_network.create_variables()
        super().__init__(
            time_step_spec,
            action_spec,
            policy_state_spec=actor_network.state_spec,
            info_spec=info_spec,
            clip=clip,
            emit_log_probability=emit_log_probability,
            name=name,
        )
        self._actor_network = actor_network
        self._observation_normalizer = observation_normalizer
        self._training = training

    @property
    def observation_normalizer(self) -> Any:
        """What observations are normalised by, or None."""
        return self._observation_normalizer

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        observation = time_step.observation
        if self._observation_normalizer is not None:
            observation = self._observation_normalizer.normalize(observation)
        outputs, state = self._actor_network(
            observation, step_type=time_step.step_type, network_state=policy_state, training=self._training
        )
        return PolicyStep(map_structure(_as_distribution, outputs), state, ())


def _as_distribution(output: Any) -> tfp.distributions.Distribution:
    if isinstance(output, tfp.distributions.Distribution):
        return output
    return tfp.distributions.Deterministic(loc=output)
