"""PPOAgent: proximal policy optimisation (Schulman et al., 2017), with TF-Agents' arguments."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from distpolicy.agents.action_terms import action_log_probability
from distpolicy.agents.actor_critic_agent import ActingPolicies
from distpolicy.agents.batch_statistics import MinibatchStatistics
from distpolicy.agents.data_converter import AsTrajectory
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.kl_penalty import KLPenalty, divergence
from distpolicy.agents.ppo.ppo_policy import PPOPolicy
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from distpolicy.agents.ppo.weight_decay import WeightDecay
from distpolicy.agents.rollout_batch import RolloutBatch
from distpolicy.agents.sequences import SequenceStates, Unrolled
from distpolicy.agents.surrogate_loss import METRICS, surrogate_loss
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.networks.network import Network
from distpolicy.ops.gae import generalized_advantage_estimation
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.masks import Splitter, network_input_spec
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.float_leaves_normalizer import FloatLeavesNormalizer
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer
from distpolicy.utils.variables.module_variables import NamedVariable


class PPOLossInfo(NamedTuple):
    """The parts of the loss, and what else a batch tells; float32 scalars, means over the epochs.

    Attributes:
        policy_gradient_loss: Loss of the policy.
        value_estimation_loss: Loss of the critic times its weight.
        l2_regularization_loss: Squares of the kernels times their weights.
        entropy_regularization_loss: The entropy times its weight, negative.
        kl_penalty_loss: Penalty of the divergence from the policy that acted.
        clip_fraction: Share of steps whose ratio is clipped.
        entropy: Mean entropy of the policy.
        approx_kl: Estimate of the divergence from the policy that acted.
        gradient_norm: Norm of the gradient.
        explained_variance: Variance of the returns that the critic explains.
    """

    policy_gradient_loss: tf.Tensor
    value_estimation_loss: tf.Tensor
    l2_regularization_loss: tf.Tensor
    entropy_regularization_loss: tf.Tensor
    kl_penalty_loss: tf.Tensor
    clip_fraction: tf.Tensor
    entropy: tf.Tensor
    approx_kl: tf.Tensor
    gradient_norm: tf.Tensor
    explained_variance: tf.Tensor


class PPOAgent(SurrogateAgent):
    """PPO as TF-Agents' programs make it: every epoch is one step on the whole batch.

    ``train`` takes Trajectories ``[B, T + 1, ...]`` that ``collect_policy`` collected. The last step only tells the
    observation to bootstrap from. With ``final_observation`` all steps are learned from, as in a run on Ray. Each epoch
    counts as a step of ``train_step_counter``.

    With ``compute_value_and_advantage_in_train=False``, ``train`` takes what :meth:`preprocess_sequence` returns, or
    any of its steps.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        optimizer: A Keras optimizer; None for Adam.
        actor_net: From observations to distributions; may have a state.
        value_net: From observations to values; may have a state, which begins at zero with each batch.
        greedy_eval: Whether ``policy`` takes the likeliest action, instead of drawing one.
        importance_ratio_clipping: Maximum distance of the probability ratio from 1; 0 for no bound.
        lambda_value: Lambda of generalised advantage estimation.
        discount_factor: Gamma.
        entropy_regularization: Weight of the entropy bonus.
        policy_l2_reg: Weight of the squares of the actor's kernels.
        value_function_l2_reg: Weight of the squares of the critic's kernels.
        shared_vars_l2_reg: Weight of the squares of kernels that both have.
        value_pred_loss_coef: Weight of the critic's loss.
        num_epochs: Number of steps on each batch.
        use_gae: Whether advantages are generalised estimates, instead of returns less values.
        use_td_lambda_return: Whether the critic learns these estimates, instead of returns. It takes ``use_gae``.
        normalize_rewards: Whether rewards are divided by their running deviation.
        reward_norm_clipping: Bound of normalised rewards; 0 for none.
        normalize_observations: Whether observations of floats are normalised by running statistics.
        log_prob_clipping: Bound of the magnitude of log-probabilities; 0 for none.
        kl_cutoff_factor: The divergence above ``kl_cutoff_factor * adaptive_kl_target`` is penalised; 0 for none.
        kl_cutoff_coef: Weight of its square.
        initial_adaptive_kl_beta: Weight of the divergence at first; 0 for none.
        adaptive_kl_target: The divergence that the weight is adapted to.
        adaptive_kl_tolerance: Share of the target by which the divergence may differ before the weight changes.
        gradient_clipping: Bound of the gradient's global norm; None or 0 for no bound.
        value_clipping: Bound of the change of values that lowers the critic's loss; None or 0 for no bound.
        check_numerics: Whether a loss that is not finite is an error.
        compute_value_and_advantage_in_train: Whether ``train`` computes values and advantages.
        update_normalizers_in_train: Whether ``train`` updates the normalisers.
        aggregate_losses_across_replicas: Accepted for TF-Agents' callers; there is one replica.
        debug_summaries: Accepted for TF-Agents' callers; metrics are in the loss info.
        summarize_grads_and_vars: The same.
        train_step_counter: int64 variable that counts epochs; None to make one.
        name: Name of the module.
        jit_compile: Whether XLA compiles the update.
        observation_and_action_constraint_splitter: Function from an observation to the networks' input and a mask of
            actions, not 0 where an action is allowed; None for no masks. The critic does not see the mask.

    Raises:
        TypeError: If a network is not a Network.
    """

    step_metrics: ClassVar[tuple[str, ...]] = (*METRICS, "l2_regularization_loss", "kl_penalty_loss")

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        optimizer: Any = None,
        actor_net: Network | None = None,
        value_net: Network | None = None,
        greedy_eval: bool = True,
        importance_ratio_clipping: float = 0.0,
        lambda_value: float = 0.95,
        discount_factor: float = 0.99,
        entropy_regularization: float = 0.0,
        policy_l2_reg: float = 0.0,
        value_function_l2_reg: float = 0.0,
        shared_vars_l2_reg: float = 0.0,
        value_pred_loss_coef: float = 0.5,
        num_epochs: int = 25,
        use_gae: bool = False,
        use_td_lambda_return: bool = False,
        normalize_rewards: bool = True,
        reward_norm_clipping: float = 10.0,
        normalize_observations: bool = True,
        log_prob_clipping: float = 0.0,
        kl_cutoff_factor: float = 2.0,
        kl_cutoff_coef: float = 1000.0,
        initial_adaptive_kl_beta: float = 1.0,
        adaptive_kl_target: float = 0.01,
        adaptive_kl_tolerance: float = 0.3,
        gradient_clipping: float | None = None,
        value_clipping: float | None = None,
        check_numerics: bool = False,
        compute_value_and_advantage_in_train: bool = True,
        update_normalizers_in_train: bool = True,
        aggregate_losses_across_replicas: bool = True,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        jit_compile: bool = False,
        observation_and_action_constraint_splitter: Splitter = None,
    ) -> None:
        for role, network in (("actor_net", actor_net), ("value_net", value_net)):
            if not isinstance(network, Network):
                raise TypeError(f"{role} must be a Network, not {type(network).__name__}")
        assert actor_net is not None
        assert value_net is not None
        time_step_spec, action_spec = tensor_spec.from_spec(time_step_spec), tensor_spec.from_spec(action_spec)
        splitter = observation_and_action_constraint_splitter
        input_spec = network_input_spec(time_step_spec.observation, splitter, flatten(action_spec)[0])
        normalizer = FloatLeavesNormalizer(input_spec, "normalize_observations") if normalize_observations else None
        common = (time_step_spec, action_spec, actor_net, value_net, normalizer, False)
        policy = PPOPolicy(*common, collect=False, observation_and_action_constraint_splitter=splitter)
        collect_policy = PPOPolicy(
            *common,
            compute_value_and_advantage_in_train=compute_value_and_advantage_in_train,
            name="collect_policy",
            observation_and_action_constraint_splitter=splitter,
        )
        super().__init__(
            time_step_spec,
            action_spec,
            actor_net,
            value_net,
            PPOConfig(
                learning_rate_schedule="constant",
                discount=discount_factor,
                num_epochs=num_epochs,
                num_minibatches=1,
                value_loss_weight=value_pred_loss_coef,
                entropy_weight=entropy_regularization,
                normalize_observations=normalize_observations,
                normalize_rewards=normalize_rewards,
                clip_range=importance_ratio_clipping or float("inf"),
                gae_lambda=lambda_value if use_gae else 1.0,
            ),
            jit_compile=jit_compile,
            policies=ActingPolicies(GreedyPolicy(policy) if greedy_eval else policy, collect_policy),
            optimizer=keras.optimizers.Adam() if optimizer is None else optimizer,
            has_value_state=True,
            observation_and_action_constraint_splitter=splitter,
            training_data_spec=None if compute_value_and_advantage_in_train else _with_advantages(collect_policy),
            train_step_counter=train_step_counter,
            reduce_retracing=not jit_compile,
            name=name or "PPOAgent",
        )
        self._actor_net = actor_net
        self._target_lambda = lambda_value if use_gae and use_td_lambda_return else 1.0
        self._gradient_clipping, self._value_clipping = gradient_clipping or 0.0, value_clipping or 0.0
        self._log_prob_clipping, self._reward_norm_clipping = log_prob_clipping, reward_norm_clipping
        self._check_numerics = check_numerics
        self._computes_advantages = compute_value_and_advantage_in_train
        self._tells_values = not compute_value_and_advantage_in_train
        self.update_normalizers_in_train = update_normalizers_in_train
        self._reward_normalizer = StreamingTensorNormalizer(tensor_spec.TensorSpec((), tf.float32), "normalize_reward")
        self._kl_penalty = KLPenalty(
            initial_adaptive_kl_beta, adaptive_kl_target, adaptive_kl_tolerance, kl_cutoff_factor, kl_cutoff_coef
        )
        self._weight_decay = WeightDecay(actor_net, value_net, policy_l2_reg, value_function_l2_reg, shared_vars_l2_reg)
        self._as_trajectory = AsTrajectory(self.data_context)

    @property
    def actor_net(self) -> Network:
        """The network from observations to distributions."""
        return self._actor_net

    @property
    def collect_policy(self) -> PPOPolicy:
        """The policy that collects experience."""
        return self._acting_policy

    def named_variables(self) -> list[NamedVariable]:
        """Returns everything that a checkpoint has to hold, each variable once and by its path."""
        return TFAgent.named_variables(self)

    def train(  # type: ignore[override]  # What it asks for beside is given by keyword.
        self,
        experience: Any,
        weights: Any = None,
        *,
        final_observation: Any = None,
        policy_state: Any = None,
        discounted_return: Any = None,
        progress: Any = 0.0,
    ) -> LossInfo:
        """Learns from a batch.

        Args:
            experience: A Trajectory of arrays or tensors ``[B, T + 1, ...]``; ``[B, T, ...]`` with
                ``final_observation`` or with advantages.
            weights: float32 of its outer dimensions: what each step counts; None for 1, and for 0 at boundaries.
            final_observation: Nest of ``[B, ...]``: the observation after the last step.
            policy_state: Nest of ``[B, ...]``: the policy's state before the first step; None for the initial one.
            discounted_return: Not used.
            progress: Not used.

        Returns:
            The loss, and a :class:`PPOLossInfo`.
        """
        experience = tf.nest.map_structure(tf.convert_to_tensor, self._as_trajectory(experience))
        if weights is None:
            weights = self._default_weights(experience)
        if self._tells_values:
            weights = weights * _is_known(experience.policy_info)
            final_observation = tf.nest.map_structure(lambda leaf: leaf[:, -1], experience.observation)
        elif final_observation is None:
            final_observation = tf.nest.map_structure(lambda leaf: leaf[:, -1], experience.observation)
            experience, weights = tf.nest.map_structure(lambda leaf: leaf[:, :-1], (experience, weights))
        batch_size = tf.shape(experience.reward)[0]
        if policy_state is None:
            policy_state = self._acting_policy.get_initial_state(batch_size)
        return TFAgent.train(
            self,
            experience,
            weights,
            final_observation=final_observation,
            policy_state=policy_state["actor_network_state"] if self._actor_net.state_spec else (),
            discounted_return=tf.zeros([batch_size], tf.float64),
            progress=tf.zeros(()),
            minibatches=self._whole_batches(experience),
        )

    def update_observation_normalizer(self, batched_observations: Any) -> None:
        """Adds observations, nest of ``[B, T, ...]``, to the statistics by which they are normalised."""
        if self._config.normalize_observations:
            observations = self._network_input(batched_observations)
            self._acting_policy.observation_normalizer.update(observations, outer_dims=(0, 1))

    def update_reward_normalizer(self, batched_rewards: Any) -> None:
        """Adds rewards ``[B, T]`` to the statistics by which they are normalised."""
        if self._config.normalize_rewards:
            self._reward_normalizer.update(batched_rewards, outer_dims=(0, 1))

    def compute_return_and_advantage(
        self, next_time_steps: TimeStep, value_preds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what the critic learns, and advantages, float32 ``[B, T]`` each.

        Args:
            next_time_steps: The time steps after the actions, ``[B, T, ...]``.
            value_preds: Values of the steps before them and of the last one, float32 ``[B, T + 1]``.
        """
        reward = self._normalized_reward(next_time_steps.reward, None, None)
        discount = self._config.discount * next_time_steps.discount
        return self._returns_and_advantages(reward, discount, value_preds, next_time_steps.is_first())

    def _whole_batches(self, experience: Trajectory) -> tf.Tensor:
        """Returns the samples of each epoch: all of them, in order."""
        by_step = not self._actor_critic.is_recurrent
        num_samples = tf.size(experience.reward) if by_step else tf.shape(experience.reward)[0]
        return tf.tile(tf.range(num_samples)[tf.newaxis], [self._config.num_epochs, 1])

    def _initialize(self) -> None:
        if isinstance(self._optimizer, keras.optimizers.Optimizer) and not self._optimizer.built:
            self._optimizer.build(self._trained)

    def _preprocess_sequence(self, experience: Trajectory) -> Trajectory:
        if self._computes_advantages:
            return experience
        has_batch = len(experience.discount.shape) == 2
        batched = experience if has_batch else tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], experience)
        now = tf.nest.map_structure(lambda leaf: leaf[:, :-1], batched)
        after = TimeStep(now.next_step_type, now.reward, now.discount, ())
        returns, advantages = self.compute_return_and_advantage(after, batched.policy_info["value_prediction"])
        info = dict(experience.policy_info)
        for key, values in (("return", returns), ("advantage", advantages)):
            padded = tf.pad(values, [[0, 0], [0, 1]])
            info[key] = padded if has_batch else padded[0]
        return experience.replace(policy_info=info)

    def _train(self, experience: Trajectory, weights: tf.Tensor, **arguments: Any) -> LossInfo:
        found = dict(super()._train(experience, weights, **arguments).extra)
        config = self._config
        info = PPOLossInfo(
            policy_gradient_loss=found["policy_loss"],
            value_estimation_loss=config.value_loss_weight * found["value_loss"],
            l2_regularization_loss=found["l2_regularization_loss"],
            entropy_regularization_loss=-config.entropy_weight * found["entropy"],
            kl_penalty_loss=found["kl_penalty_loss"],
            clip_fraction=found["clip_fraction"],
            entropy=found["entropy"],
            approx_kl=found["approx_kl"],
            gradient_norm=found["gradient_norm"],
            explained_variance=found["explained_variance"],
        )
        loss = tf.add_n(list(info[:5]))
        if self._check_numerics:
            loss = tf.debugging.check_numerics(loss, "the loss of PPO is not finite")
        return LossInfo(loss, info)

    def _unroll_rollout(self, observation: Any, step_type: tf.Tensor, policy_state: Any, action: Any) -> Unrolled:
        if not self._actor_critic.is_recurrent:
            return super()._unroll_rollout(observation, step_type, policy_state, action)
        _, value, _ = self._actor_critic(observation, step_type, policy_state)
        return Unrolled(value, (), SequenceStates(policy_state, ()))

    def _cut(self, samples: Any) -> Any:
        # Whole sequences, of whatever length.
        return samples if self._actor_critic.is_recurrent else super()._cut(samples)

    def _acting_log_probability(self, experience: Trajectory) -> tf.Tensor:
        form = self._acting_policy.distribution_form
        acting = form.distributions(experience.policy_info["dist_params"])
        return action_log_probability(acting, experience.action)

    def _normalized_reward(self, reward: tf.Tensor, discounted_return: Any, mask: Any) -> tf.Tensor:
        if not self._config.normalize_rewards:
            return reward
        clip = self._reward_norm_clipping
        return self._reward_normalizer.normalize(reward, center_mean=False, clip_value=clip)

    def _returns_and_advantages(
        self, reward: tf.Tensor, discount: tf.Tensor, value: tf.Tensor, is_boundary: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def estimated(lambda_: float) -> tf.Tensor:
            return generalized_advantage_estimation(reward, discount, value, is_boundary, lambda_)

        return estimated(self._target_lambda) + value[:, :-1], estimated(self._config.gae_lambda)

    def _advantages_and_targets(
        self, batch: RolloutBatch, further: dict[str, Any], value: tf.Tensor, log_probability: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self._tells_values:
            return batch.policy_info["advantage"], batch.policy_info["return"]
        target, advantage = self._returns_and_advantages(batch.reward, batch.discount, value, batch.is_boundary)
        return advantage, target

    def _further_samples(self, batch: RolloutBatch) -> dict[str, Any]:
        found = {"dist_params": batch.policy_info["dist_params"]} if self._kl_penalty.is_used else {}
        return {**found, "old_value": batch.policy_info["value_prediction"]} if self._tells_values else found

    def _estimated(self, value: tf.Tensor) -> dict[str, tf.Tensor]:
        return {} if self._tells_values else {"old_value": value[:, :-1]}

    def _minibatch_loss(
        self,
        distribution: Any,
        value: tf.Tensor,
        samples: dict[str, Any],
        statistics: MinibatchStatistics,
        schedules: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss, metrics = surrogate_loss(
            self._config,
            distribution,
            value,
            samples,
            statistics,
            schedules["clip_range"],
            value_error=self._value_error(value, samples),
            log_probability_bound=self._log_prob_clipping or None,
        )
        decay, penalty = self._weight_decay(), tf.zeros(())
        if self._kl_penalty.is_used:
            kl = self._divergence(distribution, samples["dist_params"], samples["mask"])
            penalty = self._kl_penalty(tf.reduce_sum(kl * samples["mask"]) / statistics.count)
        return loss + decay + penalty, tf.concat([metrics, [decay, penalty]], axis=0)

    def _value_error(self, value: tf.Tensor, samples: dict[str, Any]) -> tf.Tensor | None:
        if not self._value_clipping:
            return None
        old, bound = samples["old_value"], self._value_clipping
        near = old + tf.clip_by_value(value - old, -bound, bound)
        return tf.maximum(tf.square(value - samples["target"]), tf.square(near - samples["target"]))

    def _divergence(self, distribution: Any, parameters: Any, mask: tf.Tensor) -> tf.Tensor:
        """Returns the divergence from the policy that acted, 0 where nothing counts, float32 like ``mask``."""
        acting = self._acting_policy.distribution_form.distributions(parameters)
        return tf.where(mask > 0.0, divergence(acting, distribution, mask.shape.rank), 0.0)

    def _apply(self, gradient: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        sizes = [int(variable.shape.num_elements()) for variable in self._trained]
        parts = zip(tf.split(gradient, sizes), self._trained, strict=True)
        gradients = [tf.reshape(part, variable.shape) for part, variable in parts]
        norm = tf.linalg.global_norm(gradients)
        if self._gradient_clipping:
            gradients, _ = tf.clip_by_global_norm(gradients, self._gradient_clipping, use_norm=norm)
        self._optimizer.apply(gradients, self._trained)
        return norm

    def _finish(self, experience: Trajectory, batch: RolloutBatch) -> None:
        if self._kl_penalty.is_adaptive:
            distribution, _, _ = self._actor_critic(
                batch.samples()["observation"], batch.step_type[:, :-1], batch.policy_state
            )
            kl = self._divergence(distribution, batch.policy_info["dist_params"], batch.mask)
            counted = tf.math.count_nonzero(batch.mask, dtype=tf.float32)
            self._kl_penalty.adapt(tf.math.divide_no_nan(tf.reduce_sum(kl), counted))
        if self.update_normalizers_in_train:
            self.update_observation_normalizer(experience.observation)
            if self._config.normalize_rewards:
                self._reward_normalizer.update(experience.reward, weights=tf.cast(batch.mask > 0.0, tf.float32))
        self.train_step_counter.assign_add(self._config.num_epochs)


def _with_advantages(policy: PPOPolicy) -> Trajectory:
    """Returns the specs of experience with what :meth:`PPOAgent.preprocess_sequence` adds."""
    spec = policy.collect_data_spec
    added = {key: tensor_spec.TensorSpec((), tf.float32, key) for key in ("return", "advantage")}
    return spec.replace(policy_info={**spec.policy_info, **added})


def _is_known(policy_info: dict[str, tf.Tensor]) -> tf.Tensor:
    """Returns 0 for a sequence's last step, whose return is not known, and 1 for others."""
    is_padding = tf.equal(policy_info["return"], 0.0) & tf.equal(policy_info["advantage"], 0.0)
    return tf.cast(~is_padding, tf.float32)
