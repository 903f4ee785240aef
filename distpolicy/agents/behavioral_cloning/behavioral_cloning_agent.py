"""BehavioralCloningAgent: imitates the actions in a dataset, with TF-Agents' arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.off_policy_losses import clip_each
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.q_policy import QPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.sampling.action_distributions import log_probability


class BehavioralCloningAgent(TFAgent):
    """Learns by supervision which action a dataset has for an observation (Pomerleau, 1991).

    The loss is the mean over the batch of each row's loss times its weight. A row's loss is

    - the negative log-likelihood of its action, if the network returns distributions, for any nest of actions;
    - the same for one discrete scalar action, if the network returns logits;
    - the squared difference, the mean over the action's elements, if the network returns actions;
    - what ``loss_fn`` returns, if it is given.

    ``train`` takes Transitions ``[B, ...]``, or a Trajectory ``[B, ...]`` or ``[B, T, ...]``.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        cloning_network: From observations to distributions, logits or actions.
        optimizer: A Keras optimizer, or an Adam.
        num_outer_dims: Accepted for TF-Agents' callers; the experience tells its outer dimensions.
        epsilon_greedy: Probability of a random action of the collect policy, if the network returns logits. Otherwise
            the collect policy draws from the network's distributions.
        loss_fn: Function of the experience and of ``training=True`` to the loss of each row, by the network that it
            calls itself; None for the loss above.
        gradient_clipping: Bound of the norm of each variable's gradient; None for no bound.
        debug_summaries: Accepted for TF-Agents' callers; metrics are in the loss info.
        summarize_grads_and_vars: The same.
        train_step_counter: int64 variable that counts updates; None to make one.
        name: Name of the module.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: If the network's outputs do not match the action spec.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        cloning_network: Network,
        optimizer: Any,
        num_outer_dims: int = 1,
        epsilon_greedy: float = 0.1,
        loss_fn: Callable[..., tf.Tensor] | None = None,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        if num_outer_dims not in (1, 2):
            raise ConfigError(f"num_outer_dims must be 1 or 2, but is {num_outer_dims}")
        time_step_spec, action_spec = tensor_spec.from_spec(time_step_spec), tensor_spec.from_spec(action_spec)
        outputs = flatten(cloning_network.create_variables(time_step_spec.observation))
        self._returns_distributions = not any(isinstance(spec, tf.TensorSpec) for spec in outputs)
        self._returns_logits = _is_scalar_discrete(action_spec) and not self._returns_distributions
        policy, collect_policy = self._policies(time_step_spec, action_spec, cloning_network, epsilon_greedy)
        super().__init__(
            time_step_spec,
            action_spec,
            policy=policy,
            collect_policy=collect_policy,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
        )
        self._cloning_network, self._optimizer = cloning_network, optimizer
        self._loss_fn, self._gradient_clipping = loss_fn, gradient_clipping
        self._trained = list(cloning_network.trainable_variables)
        # Hidden from tf.Module's tracking: the network tracks these layers already.
        layers = layers_in_bfloat16([cloning_network], mixed_precision)
        object.__setattr__(self, "_self_layers_in_bfloat16", layers)

    @property
    def cloning_network(self) -> Network:
        """The network that imitates."""
        return self._cloning_network

    def _default_weights(self, experience: Any) -> Any:
        if isinstance(experience, Transition):
            return tf.cast(tf.logical_not(experience.time_step.is_last()), tf.float32)
        return super()._default_weights(experience)

    def _policies(
        self, time_step_spec: TimeStep, action_spec: Any, network: Network, epsilon: float
    ) -> tuple[TFPolicy, TFPolicy]:
        if self._returns_logits:
            drawing: TFPolicy = QPolicy(time_step_spec, action_spec, network)
            return GreedyPolicy(drawing), EpsilonGreedyPolicy(drawing, epsilon, name="collect_policy")
        drawing = ActorPolicy(time_step_spec, action_spec, network, name="collect_policy")
        return GreedyPolicy(drawing), drawing

    def _train(self, experience: Transition | Trajectory, weights: tf.Tensor) -> LossInfo:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            loss = self._loss(experience, weights, training=True).loss
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        norm = apply_gradients(self._optimizer, clip_each(gradients, self._gradient_clipping), self._trained)
        self.train_step_counter.assign_add(1)
        return LossInfo(loss, {"gradient_norm": norm})

    def _loss(self, experience: Transition | Trajectory, weights: tf.Tensor, training: bool = False) -> LossInfo:
        with in_bfloat16(self._self_layers_in_bfloat16):
            losses = self._losses(experience, training)
        loss = tf.reduce_mean(weights * losses)
        if penalties := self._cloning_network.losses:
            loss += tf.add_n(penalties)
        return LossInfo(loss, {"loss_of_rows": losses})

    def _losses(self, experience: Transition | Trajectory, training: bool) -> tf.Tensor:
        """Returns the loss of each row."""
        if self._loss_fn is not None:
            return self._loss_fn(experience, training=training)
        time_step, action = _observed(experience)
        output, _ = self._cloning_network(time_step.observation, step_type=time_step.step_type, training=training)
        if self._returns_logits:
            (spec,), (action,) = tf.nest.flatten(self.action_spec), tf.nest.flatten(action)
            labels = tf.cast(action, tf.int32) - int(np.asarray(spec.minimum).item())
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=output)
        if self._returns_distributions:
            return -tf.cast(log_probability(output, action, self.action_spec), tf.float32)
        return _squared_difference(output, action, self.action_spec)


def _is_scalar_discrete(action_spec: Any) -> bool:
    leaves = tf.nest.flatten(action_spec)
    return len(leaves) == 1 and leaves[0].shape.rank == 0 and tensor_spec.is_discrete(leaves[0])


def _observed(experience: Transition | Trajectory) -> tuple[TimeStep, Any]:
    """Returns the time steps in which the policy acted, and its actions."""
    if isinstance(experience, Transition):
        return experience.time_step, experience.action_step.action
    steps = TimeStep(experience.step_type, experience.reward, experience.discount, experience.observation)
    return steps, experience.action


def _squared_difference(output: Any, action: Any, action_spec: Any) -> tf.Tensor:
    parts = zip(*(tf.nest.flatten(nest) for nest in (output, action, action_spec)), strict=True)
    terms = []
    for predicted, given, spec in parts:
        error = tf.cast(tf.math.squared_difference(predicted, tf.cast(given, predicted.dtype)), tf.float32)
        terms.append(tf.reduce_mean(error, axis=list(range(error.shape.rank - len(spec.shape), error.shape.rank))))
    return tf.add_n(terms)
