"""DqnAgent and DdqnAgent: deep Q-learning, with TF-Agents' arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.off_policy_losses import clip_each, row_mean
from distpolicy.agents.target_updates import update_targets
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.networks.noisy_q_network import NoisyQNetwork
from distpolicy.ops.q_learning import greedy_actions, td_target, values_of
from distpolicy.policies.boltzmann_policy import BoltzmannPolicy
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.epsilon_spread_policy import EpsilonSpreadPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.masks import network_input_spec, split_mask
from distpolicy.policies.noisy_q_policy import NoisyQPolicy
from distpolicy.policies.q_policy import QPolicy, check_scalar_action
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.common import element_wise_huber_loss, soft_variables_update


class TDLoss(NamedTuple):
    """What a batch says about a Q-network.

    Attributes:
        loss: float32 ``[B]``, the loss of each transition; ``[B, T]`` for sequences.
        error: The same shape: by how much the value is wrong.
        value: The same shape: the value of the action taken.
        priority: The same shape: what the new priority of a row is made of.
        figures: Further figures of the same shape by name, whose means are told.
    """

    loss: tf.Tensor
    error: tf.Tensor
    value: tf.Tensor
    priority: tf.Tensor
    figures: Mapping[str, tf.Tensor] = MappingProxyType({})


class DqnAgent(OffPolicyAgent):
    """Learns the values of discrete actions by Q-learning with a target network (Mnih et al., 2015).

    The loss is the mean of each transition's loss times its weight, over those with a weight that is not 0. A
    QRnnNetwork learns from sequences; see :class:`OffPolicyAgent`.
    ``LossInfo.extra`` holds scalars, and ``priorities``, the absolute errors, float32 ``[B]``.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: One bounded scalar integer spec, or a nest that holds one.
        q_network: From observations to values ``[..., num_actions]``.
        optimizer: A Keras optimizer, or an Adam.
        observation_and_action_constraint_splitter: Function from an observation to the network's input and a mask of
            actions, not 0 where an action is allowed; None for no masks.
        epsilon_greedy: Probability of a random action of the collect policy: a number, a variable, or a callable.
        n_step_update: Number of steps of a transition.
        boltzmann_temperature: Temperature by which the collect policy draws actions, instead of ``epsilon_greedy``,
            which must be None then.
        emit_log_probability: Whether the collect policy's info holds log-probabilities.
        target_q_network: Like ``q_network``, with weights of its own; None for a copy.
        target_update_tau: Share of the weights that an update of the target network takes.
        target_update_period: Number of gradient steps between two updates of the target network.
        td_errors_loss_fn: Function of targets and values to losses, element by element; None for Huber's loss.
        gamma: The discount factor.
        reward_scale_factor: Multiplies rewards.
        gradient_clipping: Bound of the norm of each variable's gradient; None for no bound.
        debug_summaries: Accepted for TF-Agents' callers; metrics are in the loss info.
        summarize_grads_and_vars: The same.
        train_step_counter: int64 variable that counts updates; None to make one.
        training_data_spec: Nest of specs of what ``train`` takes; None for the collect policy's.
        name: Name of the module.
        epsilon_schedule: Function of the run's progress and of whether the agent has begun to learn, which gives the
            probability of a random action, instead of ``epsilon_greedy``; see :meth:`explore`.
        epsilon_spread: If above 0, episodes explore by different powers of epsilon; see :class:`EpsilonSpreadPolicy`.
        noise_seed: Seed of the noise that a NoisyQNetwork has when it learns.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: If the action is not one bounded scalar integer, a network does not match the specs, both networks
            share variables, or there is more than one way to explore.
        NotImplementedError: If the network has a state, and ``n_step_update`` is not 1.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        q_network: Network,
        optimizer: Any,
        observation_and_action_constraint_splitter: Any = None,
        epsilon_greedy: float | tf.Variable | Callable[[], Any] | None = 0.1,
        n_step_update: int = 1,
        boltzmann_temperature: Any = None,
        emit_log_probability: bool = False,
        target_q_network: Network | None = None,
        target_update_tau: float = 1.0,
        target_update_period: int = 1,
        td_errors_loss_fn: Callable[[Any, Any], Any] | None = None,
        gamma: float = 1.0,
        reward_scale_factor: float = 1.0,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        training_data_spec: Any = None,
        name: str | None = None,
        *,
        epsilon_schedule: Callable[[float, bool], float] | None = None,
        epsilon_spread: float = 0.0,
        noise_seed: int = 0,
        jit_compile: bool = True,
        mixed_precision: bool = False,
    ) -> None:
        time_step_spec, action_spec = tensor_spec.from_spec(time_step_spec), tensor_spec.from_spec(action_spec)
        check_scalar_action(action_spec, type(self).__name__)
        splitter = observation_and_action_constraint_splitter
        base = self._base_policy(time_step_spec, action_spec, q_network, splitter, emit_log_probability)
        if epsilon_schedule is not None:
            epsilon_greedy = tf.Variable(1.0, trainable=False, name="epsilon")
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(base),
            collect_policy=_exploring(base, q_network, epsilon_greedy, boltzmann_temperature, epsilon_spread),
            gamma=gamma,
            n_step_update=n_step_update,
            train_step_counter=train_step_counter,
            training_data_spec=training_data_spec,
            jit_compile=jit_compile,
            name=name,
            is_recurrent=bool(tf.nest.flatten(q_network.state_spec)),
        )
        (spec,) = tf.nest.flatten(self.action_spec)
        self._spec, self._lowest_action = spec, int(np.asarray(spec.minimum).item())
        self._splitter = splitter
        self._epsilon: Any = epsilon_greedy
        self._epsilon_schedule = epsilon_schedule
        self._q_network, self._noise_seed = q_network, noise_seed
        self._target_q_network = q_network.copy() if target_q_network is None else target_q_network
        self._target_q_network.create_variables(network_input_spec(time_step_spec.observation, splitter, spec))
        self._check_networks()
        self._trained = list(q_network.trainable_variables)
        self._optimizer = optimizer
        self._target_update_tau, self._target_update_period = target_update_tau, target_update_period
        self._td_errors_loss_fn = element_wise_huber_loss if td_errors_loss_fn is None else td_errors_loss_fn
        self._reward_scale_factor, self._gradient_clipping = reward_scale_factor, gradient_clipping
        networks = [self._q_network, self._target_q_network]
        # Hidden from tf.Module's tracking: the networks track these layers already.
        object.__setattr__(self, "_self_layers_in_bfloat16", layers_in_bfloat16(networks, mixed_precision))

    def _explore(self, progress: float, has_begun: bool) -> None:
        """Sets the probability of a random action by ``epsilon_schedule``, if there is one; see the base class."""
        if self._epsilon_schedule is not None:
            self._epsilon.assign(self._epsilon_schedule(progress, has_begun))

    def _base_policy(
        self, time_step_spec: TimeStep, action_spec: Any, q_network: Network, splitter: Any, emit_log_probability: bool
    ) -> TFPolicy:
        """Returns the policy with the Q-values as logits."""
        return QPolicy(time_step_spec, action_spec, q_network, emit_log_probability, splitter)

    def _check_networks(self) -> None:
        own, target = self._q_network.variables, self._target_q_network.variables
        if {id(variable) for variable in own} & {id(variable) for variable in target}:
            raise ConfigError("target_q_network shares variables with q_network: build it with layers of its own")
        if [variable.shape for variable in own] != [variable.shape for variable in target]:
            raise ConfigError("target_q_network must have the same variables as q_network")

    def _initialize(self) -> None:
        soft_variables_update(self._q_network.variables, self._target_q_network.variables, tau=1.0)
        # Not for the target network's variables, too, which would take the base class' place for them.
        if isinstance(self._optimizer, keras.optimizers.Optimizer) and not self._optimizer.built:
            self._optimizer.build(self._trained)

    def _train(self, experience: Transition | Trajectory, weights: tf.Tensor) -> LossInfo:
        transition = self._transition(experience)
        return self._improve(lambda: self._td_loss(transition), self._valid(transition, weights))

    def _loss(self, experience: Transition | Trajectory, weights: tf.Tensor, training: bool = False) -> LossInfo:
        transition = self._transition(experience)
        td = self._td_loss(transition, training)
        loss = self._mean_loss(td.loss, self._valid(transition, weights))
        if penalties := self._q_network.losses:
            loss += tf.add_n(penalties)
        return LossInfo(loss, {"td_loss": td.loss, "td_error": td.error})

    def _improve(self, td_loss: Callable[[], TDLoss], weights: tf.Tensor) -> LossInfo:
        """Takes a gradient step.

        Args:
            td_loss: Computes the loss by the networks.
            weights: float32 of the loss' shape: what each part of it counts.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            with in_bfloat16(self._self_layers_in_bfloat16):
                td = td_loss()
            loss = self._mean_loss(td.loss, weights)
            if penalties := self._q_network.losses:
                loss += tf.add_n(penalties)
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return self._apply(loss, td, gradients, weights)

    def _apply(self, loss: tf.Tensor, td: TDLoss, gradients: list[tf.Tensor], weights: tf.Tensor) -> LossInfo:
        """Takes the step; returns what it tells."""
        gradients = clip_each(gradients, self._gradient_clipping)
        norm = apply_gradients(self._optimizer, gradients, self._trained)
        step = self.train_step_counter.assign_add(1)
        update_targets(
            self._q_network.variables,
            self._target_q_network.variables,
            step,
            self._target_update_tau,
            self._target_update_period,
        )
        counted = tf.cast(weights > 0.0, tf.float32)
        extra = {
            "q_mean": row_mean(td.value, counted),
            "td_error": row_mean(tf.abs(td.error), counted),
            "gradient_norm": norm,
            "priorities": self._priorities(td.priority, weights),
            **{name: row_mean(values, counted) for name, values in td.figures.items()},
        }
        if isinstance(self._epsilon, tf.Variable):
            extra["epsilon"] = tf.identity(self._epsilon)
        return LossInfo(loss, extra)

    def _td_loss(self, transition: Transition, training: bool = True) -> TDLoss:
        """Returns the loss of each transition, ``[B]`` or ``[B, T - 1]``."""
        value = values_of(
            self._outputs(self._q_network, transition.time_step, training), self._action_index(transition)
        )
        next_step = transition.next_time_step
        target = td_target(
            tf.cast(next_step.reward, value.dtype) * self._reward_scale_factor,
            self._gamma * tf.cast(next_step.discount, value.dtype),
            self._next_value(next_step),
        )
        error = target - value
        return TDLoss(self._td_errors_loss_fn(target, value), error, value, tf.abs(error))

    def _next_value(self, time_step: TimeStep) -> tf.Tensor:
        """Returns the value of the best action by the target network, float32 of the outer dimensions."""
        q_values = self._outputs(self._target_q_network, time_step)
        return values_of(q_values, greedy_actions(q_values, self._mask(time_step)))

    def _outputs(self, network: Network, time_step: TimeStep, training: bool = False) -> tf.Tensor:
        """Returns a network's outputs in float32."""
        network_input, _ = split_mask(self._splitter, time_step.observation, self._spec)
        noise = {"noise": self._noise_of_network(network, training)} if isinstance(network, NoisyQNetwork) else {}
        outputs, _ = network(network_input, step_type=time_step.step_type, training=training, **noise)
        return tf.cast(outputs, tf.float32)

    def _noise_of_network(self, network: NoisyQNetwork, training: bool) -> tf.Tensor:
        """Returns noise that all rows of a batch share, float32 ``[1, num_noise]``; each use of a network has its own.

        It follows from the number of the gradient step, so that a run that goes on draws the same.
        """
        use = 2 if network is self._target_q_network else int(not training)
        step = tf.cast(self.train_step_counter, tf.int32)
        return tf.random.stateless_normal([1, network.num_noise], tf.stack([self._noise_seed + use, step]))

    def _mask(self, time_step: TimeStep) -> tf.Tensor | None:
        return split_mask(self._splitter, time_step.observation, self._spec)[1]

    def _action_index(self, transition: Transition) -> tf.Tensor:
        """Returns the places of the actions among the network's outputs, int32 of the outer dimensions."""
        (action,) = tf.nest.flatten(transition.action_step.action)
        return tf.cast(action, tf.int32) - self._lowest_action


class DdqnAgent(DqnAgent):
    """DqnAgent whose network picks the next action, and whose target network values it (van Hasselt et al., 2016)."""

    def _next_value(self, time_step: TimeStep) -> tf.Tensor:
        chosen = greedy_actions(self._outputs(self._q_network, time_step), self._mask(time_step))
        return values_of(self._outputs(self._target_q_network, time_step), chosen)


def _exploring(base: Any, q_network: Network, epsilon: Any, temperature: Any, spread: float) -> TFPolicy:
    """Returns the collect policy."""
    name = "collect_policy"
    if temperature is not None:
        if epsilon is not None:
            raise ConfigError("give either epsilon_greedy or boltzmann_temperature, not both: set one of them to None")
        return BoltzmannPolicy(base, temperature, name=name)
    if isinstance(q_network, NoisyQNetwork):
        return NoisyQPolicy(base, q_network, 0.0 if epsilon is None else epsilon, name=name)
    if epsilon is None:
        return GreedyPolicy(base, name=name)
    if spread:
        return EpsilonSpreadPolicy(base, epsilon, spread, name=name)
    return EpsilonGreedyPolicy(base, epsilon, name=name)
