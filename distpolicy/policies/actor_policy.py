"""ActorPolicy: a policy that acts by an actor network."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.networks.network import Network
from distpolicy.policies.masks import network_input_spec, split_mask
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths


class ActorPolicy(TFPolicy):
    """Acts by a network that maps observations to actions or to distributions over them.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs.
        actor_network: Called with ``(observation, step_type, network_state)``; returns actions or
            distributions, and the next state.
        policy_state_spec: Nest of specs; ``()`` for the network's own state spec.
        info_spec: Nest of specs.
        observation_normalizer: An object with ``normalize(observation)``, part of the policy's variables.
        clip: Whether actions are clipped to their bounds. PPO learns from unclipped ones.
        training: Whether the network is called in training mode.
        observation_and_action_constraint_splitter: Function from an observation to the network's input and a mask of
            actions, which the network gets as ``mask``. For one discrete action only.
        name: Name of the module.
        emit_log_probability: Whether the info holds log-probabilities.

    Raises:
        ValueError: If ``actor_network`` is not a Network, or its outputs do not match ``action_spec``.
        NotImplementedError: If there is a splitter and ``action_spec`` is not one discrete action.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        observation_normalizer: Any = None,
        clip: bool = True,
        training: bool = False,
        observation_and_action_constraint_splitter: Any = None,
        name: str | None = None,
        *,
        emit_log_probability: bool = False,
    ) -> None:
        if not isinstance(actor_network, Network):
            raise ValueError(f"actor_network must be a Network, not {type(actor_network).__name__}")
        time_step_spec, action_spec = tensor_spec.from_spec(time_step_spec), tensor_spec.from_spec(action_spec)
        if observation_and_action_constraint_splitter is not None:
            _check_maskable(action_spec)
        output_spec = actor_network.create_variables(
            network_input_spec(
                time_step_spec.observation, observation_and_action_constraint_splitter, flatten(action_spec)[0]
            )
        )
        if output_spec is not None:  # None for a network without specs, whose variables another call has made
            _check_output(output_spec, action_spec)
        super().__init__(
            time_step_spec,
            action_spec,
            policy_state_spec=policy_state_spec or actor_network.state_spec,
            info_spec=info_spec,
            clip=clip,
            emit_log_probability=emit_log_probability,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
            name=name,
        )
        self._actor_network = actor_network
        self._observation_normalizer = observation_normalizer
        self._training = training

    @property
    def observation_normalizer(self) -> Any:
        """The object that normalises observations, or None."""
        return self._observation_normalizer

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        observation, options = time_step.observation, {}
        if self.observation_and_action_constraint_splitter is not None:
            observation, options["mask"] = split_mask(self._splitter, observation, flatten(self.action_spec)[0])
        if self._observation_normalizer is not None:
            observation = self._observation_normalizer.normalize(observation)
        outputs, state = self._actor_network(
            observation,
            step_type=time_step.step_type,
            network_state=policy_state,
            training=self._training,
            **options,
        )
        return PolicyStep(map_structure(_as_distribution, outputs), state, ())


def _as_distribution(output: Any) -> tfp.distributions.Distribution:
    if isinstance(output, tfp.distributions.Distribution):
        return output
    return tfp.distributions.Deterministic(loc=output)


def _check_maskable(action_spec: Any) -> None:
    leaves = flatten(action_spec)
    if len(leaves) != 1 or not tensor_spec.is_discrete(leaves[0]):
        raise NotImplementedError(
            "observation_and_action_constraint_splitter masks one discrete action, but action_spec holds "
            + ", ".join(f"{leaf.dtype.name}{list(leaf.shape)}" for leaf in leaves)
        )


def _check_output(output_spec: Any, action_spec: Any) -> None:
    """Raises ValueError if outputs cannot be actions of this spec. Bounds do not count: actions are clipped to them."""
    if paths(output_spec) != paths(action_spec):
        raise ValueError(
            f"actor_network's outputs do not match action_spec: expected the leaves {paths(action_spec)}, "
            f"got {paths(output_spec)}"
        )
    for path, output, action in zip(paths(action_spec), flatten(output_spec), flatten(action_spec), strict=True):
        shape = output.event_shape if hasattr(output, "event_shape") else output.shape
        if not action.shape.is_compatible_with(shape) or action.dtype != output.dtype:
            raise ValueError(
                f"actor_network's outputs do not match action_spec{path}: expected {action.dtype.name} of shape "
                f"{action.shape}, got {tf.as_dtype(output.dtype).name} of shape {shape}"
            )
