"""ReinforceAgent: the policy gradient of whole episodes (Williams, 1992), with TF-Agents' arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import tensorflow as tf

from distpolicy.agents.action_terms import action_log_probability
from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.off_policy_losses import clip_each
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.networks.network import Network
from distpolicy.ops.returns import returns_to_go
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.masks import Splitter, network_input_spec, split_mask
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.sampling.action_distributions import entropy


class ReinforceAgentLossInfo(NamedTuple):
    """The parts of the loss, and what else a batch tells; float32 scalars.

    Attributes:
        policy_gradient_loss: Loss of the policy.
        policy_network_regularization_loss: The actor's regularisation.
        entropy_regularization_loss: The entropy times its weight, negative.
        value_estimation_loss: Loss of the baseline times its weight; 0 without one.
        value_network_regularization_loss: The baseline's regularisation; 0 without one.
        entropy: Mean entropy of the policy.
        whole_steps: Share of the steps that count.
    """

    policy_gradient_loss: tf.Tensor
    policy_network_regularization_loss: tf.Tensor
    entropy_regularization_loss: tf.Tensor
    value_estimation_loss: tf.Tensor
    value_network_regularization_loss: tf.Tensor
    entropy: tf.Tensor
    whole_steps: tf.Tensor


class ReinforceAgent(TFAgent):
    """Makes actions likelier by the return that followed them.

    A step counts if its episode ends within the sequence, and not by a fault, since its return is not known otherwise:
    sequences should be longer than episodes.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        actor_network: From observations to distributions; may have a state.
        optimizer: A Keras optimizer, or an Adam.
        value_network: From observations to values, a baseline for the returns; None for none.
        value_estimation_loss_coef: Weight of the baseline's squared errors.
        advantage_fn: Function of returns and values, float32 ``[B, T]``, to advantages; None for their difference.
            Without a baseline the values are None.
        use_advantage_loss: Whether the baseline is subtracted, unless ``advantage_fn`` is given.
        gamma: The discount factor.
        normalize_returns: Whether advantages get mean 0 and deviation 1 over the steps that count.
        gradient_clipping: Bound of the norm of each variable's gradient; None for no bound.
        debug_summaries: Accepted for TF-Agents' callers; metrics are in the loss info.
        summarize_grads_and_vars: The same.
        entropy_regularization: Weight of the entropy bonus; None for 0.
        train_step_counter: int64 variable that counts updates; None to make one.
        name: Name of the module.
        mean_over: Whether the loss is the mean of the episodes' sums, or the mean of all steps.
        clip: Whether the collect policy clips actions to their bounds. Clipped actions bias the gradient.
        observation_and_action_constraint_splitter: Function from an observation to the networks' input and a mask of
            actions, not 0 where an action is allowed; None for no masks. The baseline does not see the mask.
        jit_compile: Whether XLA compiles the update.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        optimizer: Any,
        value_network: Network | None = None,
        value_estimation_loss_coef: float = 0.2,
        advantage_fn: Callable[[tf.Tensor, Any], tf.Tensor] | None = None,
        use_advantage_loss: bool = True,
        gamma: float = 1.0,
        normalize_returns: bool = True,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        entropy_regularization: float | None = None,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        mean_over: Literal["episodes", "steps"] = "episodes",
        clip: bool = True,
        observation_and_action_constraint_splitter: Splitter = None,
        jit_compile: bool = False,
    ) -> None:
        splitter = observation_and_action_constraint_splitter
        (first_action, *_) = tf.nest.flatten(tensor_spec.from_spec(action_spec))
        observation_spec = tensor_spec.from_spec(time_step_spec).observation
        observation_spec = network_input_spec(observation_spec, splitter, first_action)
        for network in (actor_network, value_network):
            if network is not None:
                network.create_variables(observation_spec)
        collect_policy = ActorPolicy(
            time_step_spec,
            action_spec,
            actor_network,
            clip=clip,
            observation_and_action_constraint_splitter=splitter,
            name="collect_policy",
        )
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(collect_policy),
            collect_policy=collect_policy,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            reduce_retracing=not jit_compile,
            name=name or "reinforce_agent",
        )
        self._actor_network, self._value_network, self._optimizer = actor_network, value_network, optimizer
        self._value_loss_weight, self._entropy_weight = value_estimation_loss_coef, entropy_regularization or 0.0
        if advantage_fn is None and value_network is not None and use_advantage_loss:
            advantage_fn = tf.subtract
        self._advantage_fn = advantage_fn
        self._gamma, self._normalize_returns, self._gradient_clipping = gamma, normalize_returns, gradient_clipping
        self._splitter, self._masked_action = splitter, first_action
        self._is_per_step = mean_over == "steps"
        networks = [item for item in (actor_network, value_network) if item is not None]
        self._trained = list({id(item): item for net in networks for item in net.trainable_variables}.values())

    def _train(self, experience: Trajectory, weights: tf.Tensor, *, policy_state: Any = ()) -> LossInfo:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            info = self._loss(experience, weights, training=True, policy_state=policy_state)
        gradients = tape.gradient(info.loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        apply_gradients(self._optimizer, clip_each(gradients, self._gradient_clipping), self._trained)
        self.train_step_counter.assign_add(1)
        return info

    def _loss(
        self, experience: Trajectory, weights: tf.Tensor, training: bool = False, *, policy_state: Any = ()
    ) -> LossInfo:
        counted = tf.cast(weights != 0.0, tf.float32) * tf.cast(~experience.is_boundary(), tf.float32)
        ends = tf.equal(experience.next_step_type, StepType.LAST)
        own_ends = counted * tf.cast(ends, tf.float32)
        # 1 where the next end is in the sequence, and is the episode's own and not a fault's.
        whole = counted * returns_to_go(own_ends, ends, tf.ones_like(counted))
        num_steps = tf.maximum(tf.reduce_sum(whole), 1.0)
        num_parts = num_steps if self._is_per_step else tf.maximum(tf.reduce_sum(own_ends), 1.0)
        network_input, mask = split_mask(self._splitter, experience.observation, self._masked_action)
        steps = (network_input, experience.step_type)
        reward, discount = (
            tf.where(counted > 0.0, item, 0.0) for item in (experience.reward, self._gamma * experience.discount)
        )
        returns = returns_to_go(reward, ends, discount)
        values, value_loss, value_penalty = self._baseline(steps, returns, weights * whole / num_parts, training)
        advantage = tf.stop_gradient(returns if self._advantage_fn is None else self._advantage_fn(returns, values))
        if self._normalize_returns:
            centred = advantage - tf.reduce_sum(advantage * whole) / num_steps
            advantage = centred * tf.math.rsqrt(tf.reduce_sum(tf.square(centred) * whole) / num_steps + 1e-8)
        distribution, _ = self._actor_network(
            steps[0], step_type=steps[1], network_state=policy_state, training=training, mask=mask
        )
        likelihood = action_log_probability(distribution, experience.action)
        # An action at a boundary is any number, and may have no likelihood.
        terms = tf.where(whole > 0.0, likelihood * advantage * weights, 0.0)
        policy_loss = -tf.reduce_sum(terms) / num_parts
        policy_entropy = tf.reduce_sum(entropy(distribution, self.action_spec, outer_rank=2) * whole) / num_steps
        penalty = _penalty(self._actor_network)
        entropy_loss = -self._entropy_weight * policy_entropy
        share = tf.reduce_sum(whole) / tf.maximum(tf.reduce_sum(counted), 1.0)
        parts = ReinforceAgentLossInfo(
            policy_loss, penalty, entropy_loss, value_loss, value_penalty, policy_entropy, share
        )
        return LossInfo(tf.add_n(list(parts[:5])), parts)

    def _baseline(
        self, steps: tuple[Any, tf.Tensor], returns: tf.Tensor, weights: tf.Tensor, training: bool
    ) -> tuple[Any, tf.Tensor, tf.Tensor]:
        """Returns the values ``[B, T]``, or None, and the baseline's loss and regularisation."""
        if self._value_network is None:
            return None, tf.zeros(()), tf.zeros(())
        values, _ = self._value_network(steps[0], step_type=steps[1], training=training)
        loss = self._value_loss_weight * tf.reduce_sum(tf.math.squared_difference(returns, values) * weights)
        return values, loss, _penalty(self._value_network)


def _penalty(network: Network) -> tf.Tensor:
    return tf.add_n(network.losses) if network.losses else tf.zeros(())
