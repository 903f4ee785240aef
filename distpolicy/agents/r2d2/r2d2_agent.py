"""R2d2Agent: Q-learning by a recurrent network from replayed sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from distpolicy.agents.dqn.dqn_agent import DqnAgent, TDLoss
from distpolicy.agents.experience_config import ExperienceConfig
from distpolicy.agents.mixed_precision import in_bfloat16
from distpolicy.agents.off_policy_losses import row_mean
from distpolicy.agents.tf_agent import LossInfo, step_weights
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.networks.network import Network
from distpolicy.ops.n_step import n_step_returns
from distpolicy.ops.q_learning import greedy_actions, values_of
from distpolicy.ops.value_rescaling import invert_rescaling, rescale
from distpolicy.policies.masks import split_mask
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.common import element_wise_squared_loss
from distpolicy.utils.nests.array_nest import map_structure


class R2d2Agent(DqnAgent):
    """Learns from sequences by double Q-learning (R2D2; Kapturowski et al., 2019).

    A sequence has ``burn_in + sequence_length + n_step_update`` steps. The network starts from the state that the
    policy had at its first step. The burn-in makes this state anew, and is not learned from. The last steps are only
    bootstrapped from. A sequence may go on over an episode's end; the network resets its state there.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: See :class:`DqnAgent`, for all that is not described here, too.
        q_network: From observations ``[B, T, ...]`` to values ``[B, T, num_actions]``, with a state.
        optimizer: See there.
        observation_and_action_constraint_splitter: See there.
        epsilon_greedy: See there.
        n_step_update: Steps of the returns.
        boltzmann_temperature: See there.
        emit_log_probability: See there.
        target_q_network: See there.
        target_update_tau: See there.
        target_update_period: See there.
        td_errors_loss_fn: See there; None for the squared error.
        gamma: See there.
        reward_scale_factor: See there.
        gradient_clipping: See there.
        train_step_counter: See there.
        name: Name of the module.
        sequence_length: Steps that are learned from.
        burn_in: Steps before these.
        value_rescaling: Epsilon of the function by which values are rescaled, see :func:`rescale`; 0 for none.
        epsilon_schedule: See there.
        epsilon_spread: See there.
        jit_compile: See there.
        mixed_precision: See there.

    Raises:
        ValueError: If the network has no state, or as for :class:`DqnAgent`.
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
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        sequence_length: int,
        burn_in: int = 0,
        value_rescaling: float = 1e-3,
        epsilon_schedule: Callable[[float, bool], float] | None = None,
        epsilon_spread: float = 0.0,
        jit_compile: bool = True,
        mixed_precision: bool = False,
    ) -> None:
        if not tf.nest.flatten(q_network.state_spec):
            raise ConfigError(f"q_network {q_network.name} has no state: use a QRnnNetwork, or a DqnAgent")
        super().__init__(
            time_step_spec,
            action_spec,
            q_network,
            optimizer,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
            epsilon_greedy=epsilon_greedy,
            boltzmann_temperature=boltzmann_temperature,
            emit_log_probability=emit_log_probability,
            target_q_network=target_q_network,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            td_errors_loss_fn=element_wise_squared_loss if td_errors_loss_fn is None else td_errors_loss_fn,
            gamma=gamma,
            reward_scale_factor=reward_scale_factor,
            gradient_clipping=gradient_clipping,
            train_step_counter=train_step_counter,
            name=name,
            epsilon_schedule=epsilon_schedule,
            epsilon_spread=epsilon_spread,
            jit_compile=jit_compile,
            mixed_precision=mixed_precision,
        )
        self._sequence_length, self._burn_in, self._n_step = sequence_length, burn_in, n_step_update
        self._train_sequence_length = burn_in + sequence_length + n_step_update
        self._value_rescaling, self._has_spread = value_rescaling, epsilon_spread > 0

    def experience(self, replay: Mapping[str, Any], rollout_steps: int) -> ExperienceConfig:
        """Returns the settings of a replay buffer of sequences, each of which begins with a rollout."""
        own = {"n_step": self._n_step, "sequence_length": self._sequence_length, "burn_in": self._burn_in}
        return super().experience({**own, **replay}, rollout_steps)

    def _default_weights(self, experience: Trajectory) -> Any:
        return step_weights(experience)

    def _mean_loss(self, losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return row_mean(losses, weights)

    def _train(  # type: ignore[override]  # What it asks for beside is given by keyword.
        self, experience: Trajectory, weights: tf.Tensor, *, policy_state: Any
    ) -> LossInfo:
        with in_bfloat16(self._self_layers_in_bfloat16):
            td_loss = self._loss_after_burn_in(experience, weights, policy_state)
        return self._improve(lambda: td_loss(True), self._learned_weights(weights))

    def _loss(  # type: ignore[override]  # As for _train.
        self, experience: Trajectory, weights: tf.Tensor, training: bool = False, *, policy_state: Any
    ) -> LossInfo:
        td = self._loss_after_burn_in(experience, weights, policy_state)(training)
        loss = self._mean_loss(td.loss, self._learned_weights(weights))
        if penalties := self._q_network.losses:
            loss += tf.add_n(penalties)
        return LossInfo(loss, {"td_loss": td.loss, "td_error": td.error})

    def _learned_weights(self, weights: tf.Tensor) -> tf.Tensor:
        """Returns the weights of the steps that are learned from, ``[B, L]``."""
        return weights[:, self._burn_in : self._burn_in + self._sequence_length]

    def _loss_after_burn_in(
        self, experience: Trajectory, weights: tf.Tensor, policy_state: Any
    ) -> Callable[[bool], TDLoss]:
        """Returns the function of training mode to the loss of each step that is learned from.

        The burn-in and the target network's values are computed at once, and are constants for the function's gradient.
        """
        if experience.reward.shape[1] != self.train_sequence_length:
            raise SpecMismatchError(
                f"sequences must have {self.train_sequence_length} steps, but have {experience.reward.shape[1]}"
            )
        state = policy_state[0] if self._has_spread else policy_state
        learned = map_structure(lambda leaf: leaf[:, self._burn_in :], experience)
        own_state, target_state = (
            self._state_after_burn_in(network, experience, state)
            for network in (self._q_network, self._target_q_network)
        )
        target_values, _ = self._unrolled(self._target_q_network, learned, target_state)
        own_state, target_values = tf.nest.map_structure(tf.stop_gradient, (own_state, target_values))
        counts = weights[:, self._burn_in :]
        return lambda training: self._sequence_loss(learned, counts, own_state, target_values, training)

    def _state_after_burn_in(self, network: Network, experience: Trajectory, state: Any) -> Any:
        if not self._burn_in:
            return state
        return self._unrolled(network, map_structure(lambda leaf: leaf[:, : self._burn_in], experience), state)[1]

    def _unrolled(self, network: Network, steps: Trajectory, state: Any, training: bool = False) -> tuple[Any, Any]:
        """Returns a network's values of all steps, float32 ``[B, T, num_actions]``, and the state after them."""
        network_input, _ = split_mask(self._splitter, steps.observation, self._spec)
        values, state = network(network_input, step_type=steps.step_type, network_state=state, training=training)
        return tf.cast(values, tf.float32), state

    def _sequence_loss(
        self, steps: Trajectory, weights: tf.Tensor, state: Any, target_values: tf.Tensor, training: bool
    ) -> TDLoss:
        """Returns the loss of each step that is learned from, ``[B, L]``.

        Args:
            steps: A Trajectory ``[B, L + n, ...]``.
            weights: float32 ``[B, L + n]``.
            state: The network's state before them.
            target_values: The target network's values, float32 ``[B, L + n, num_actions]``.
            training: Whether the network is called in training mode.
        """
        length, is_transition = self._sequence_length, weights > 0.0
        q_values, _ = self._unrolled(self._q_network, steps, state, training)
        mask = split_mask(self._splitter, steps.observation, self._spec)[1]
        bootstrap = values_of(target_values, greedy_actions(q_values, mask))
        goal = n_step_returns(
            tf.cast(steps.reward, tf.float32) * self._reward_scale_factor,
            self._gamma * tf.cast(steps.discount, tf.float32),
            invert_rescaling(bootstrap, self._value_rescaling) if self._value_rescaling else bootstrap,
            is_transition,
            self._n_step,
        )
        if self._value_rescaling:
            goal = rescale(goal, self._value_rescaling)
        (action,) = tf.nest.flatten(steps.action)
        value = values_of(q_values[:, :length], tf.cast(action[:, :length], tf.int32) - self._lowest_action)
        error = goal - value
        return TDLoss(self._td_errors_loss_fn(goal, value), error, value, tf.abs(error))
