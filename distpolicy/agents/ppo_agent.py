"""PPOAgent: proximal policy optimisation (Schulman et al., 2017) as one compiled function a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.advantages import discounted_returns, generalized_advantage_estimation
from distpolicy.agents.flat_adam import FlatAdam
from distpolicy.agents.ppo_config import PPOConfig
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.module_variables import NamedVariable, named_variables
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer


class PPOAgent(tf.Module):
    """Clipped-surrogate PPO.

    The whole update of a batch (advantages, all epochs, all minibatches) is one function, traced and compiled once.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Bounded spec of one action.
        actor_network: From observations to distributions.
        value_network: From observations to values.
        config: The settings.
        seed: Seed of the order of minibatches.
        jit_compile: Whether XLA compiles the update.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        value_network: Network,
        config: PPOConfig,
        seed: int = 0,
        jit_compile: bool = True,
    ) -> None:
        super().__init__(name="ppo_agent")
        self._config = config
        self._seed = seed
        self._collect_policy = make_collect_policy(
            time_step_spec, action_spec, actor_network, config.normalize_observations
        )
        self._value_network = value_network
        value_network.create_variables()
        self._reward_normalizer = _normalizer(tensor_spec.TensorSpec((), tf.float32))
        self.train_step = tf.Variable(tf.zeros((), tf.int64), trainable=False, name="train_step")
        self._trained = [*self._collect_policy.trainable_variables, *value_network.trainable_variables]
        self._optimizer = FlatAdam(self._trained, config.adam_epsilon, config.max_gradient_norm)
        self._train = tf.function(self._train_batch, autograph=False, jit_compile=jit_compile)

    @property
    def collect_policy(self) -> TFPolicy:
        """Draws actions, and emits their log-probabilities."""
        return self._collect_policy

    @property
    def policy(self) -> TFPolicy:
        """Takes the most likely actions; for evaluation and deployment."""
        return GreedyPolicy(self._collect_policy)

    @property
    def tracing_count(self) -> int:
        """How often the update was traced; stays at 1 over a run."""
        return int(self._train.experimental_get_tracing_count())

    def named_variables(self) -> list[NamedVariable]:
        """Everything that a checkpoint has to hold: networks, optimizer, normalisers, counter."""
        modules = {
            "policy": self._collect_policy,
            "value_network": self._value_network,
            "reward_normalizer": self._reward_normalizer,
            "optimizer": self._optimizer,
        }
        found = [
            NamedVariable(f"{name}/{item.path}", item.variable)
            for name, module in modules.items()
            for item in named_variables(module)
        ]
        return [*found, NamedVariable("train_step", self.train_step)]

    def train(self, rollout: Rollout, progress: float) -> dict[str, float]:
        """Learns from one batch of rollouts.

        Args:
            rollout: Arrays ``[B, T, …]``; the rows of all collectors.
            progress: The share of the run that is over, in [0, 1]; for schedules.

        Returns:
            Losses and other figures by name.
        """
        tensors = tf.nest.map_structure(tf.constant, rollout)
        minibatches = tf.constant(self._minibatches(rollout.num_slots * rollout.num_steps))
        metrics = self._train(tensors, minibatches, tf.constant(min(max(progress, 0.0), 1.0), tf.float32))
        return {name: float(value) for name, value in metrics.items()}

    def _train_batch(self, rollout: Rollout, minibatches: tf.Tensor, progress: tf.Tensor) -> dict[str, tf.Tensor]:
        config = self._config
        is_boundary = rollout.step_type[:, :-1] == StepType.LAST
        mask = tf.cast(tf.logical_not(is_boundary), tf.float32)
        # The statistics that the behaviour policy had: new ones only hold from the next version on, so that
        # the ratio of probabilities is 1 before the first step.
        observation = self._normalized(rollout.observation)
        reward = self._normalized_reward(rollout, is_boundary, mask)
        value = self._value_network(observation)[0]
        advantage = generalized_advantage_estimation(
            reward, config.discount * rollout.discount, value, is_boundary, config.gae_lambda
        )
        target = advantage + value[:, :-1]
        samples = {
            "observation": observation[:, :-1],
            "action": rollout.action,
            "log_probability": rollout.policy_info.log_probability,
            "advantage": advantage,
            "target": target,
            "mask": mask,
        }
        samples = {name: _flatten_time(tensor) for name, tensor in samples.items()}
        metrics = self._epochs(samples, minibatches, progress)
        if config.normalize_observations:
            self._collect_policy.observation_normalizer.update(rollout.observation[:, :-1])
        self.train_step.assign_add(1)
        residual = _masked_variance(target - value[:, :-1], mask)
        metrics["explained_variance"] = 1.0 - residual / (_masked_variance(target, mask) + 1e-8)
        return metrics

    def _normalized(self, observation: tf.Tensor) -> tf.Tensor:
        normalizer = self._collect_policy.observation_normalizer
        return observation if normalizer is None else normalizer.normalize(observation)

    def _normalized_reward(self, rollout: Rollout, is_boundary: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if not self._config.normalize_rewards:
            return rollout.reward
        reward = tf.cast(rollout.reward, tf.float64)
        returns = discounted_returns(reward, is_boundary, rollout.discounted_return, self._config.discount)
        self._reward_normalizer.update(returns, weights=mask)
        return self._reward_normalizer.normalize(rollout.reward, center_mean=False)

    def _minibatches(self, num_samples: int) -> np.ndarray:
        """The samples of every epoch's minibatches, int32 ``[E * M, size]``, drawn from the seed and the train step.

        Drawn out here, since XLA sorts slowly, and a function that holds no seed is compiled once for all seeds.
        """
        config = self._config
        size = num_samples // config.num_minibatches
        draw = np.random.default_rng([self._seed, int(self.train_step.numpy())])
        orders = [draw.permutation(num_samples)[: size * config.num_minibatches] for _ in range(config.num_epochs)]
        return np.concatenate(orders).reshape(-1, size).astype(np.int32)

    def _epochs(
        self, samples: dict[str, tf.Tensor], minibatches: tf.Tensor, progress: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """A step on every minibatch; the means of the steps' figures."""
        config = self._config
        learning_rate = _scheduled(config.learning_rate, config.learning_rate_schedule, progress)
        clip_range = _scheduled(config.clip_range, config.clip_range_schedule, progress)
        names = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "gradient_norm")
        num_steps = int(minibatches.shape[0])

        def one(index: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = {name: tf.gather(tensor, minibatches[index]) for name, tensor in samples.items()}
            figures = self._step(batch, learning_rate, clip_range)
            return index + 1, sums + tf.stack([figures[name] for name in names])

        _, sums = tf.while_loop(lambda index, _: index < num_steps, one, (tf.constant(0), tf.zeros([len(names)])))
        metrics = {name: sums[place] / num_steps for place, name in enumerate(names)}
        return {**metrics, "learning_rate": learning_rate, "clip_range": clip_range}

    def _step(
        self, batch: dict[str, tf.Tensor], learning_rate: tf.Tensor, clip_range: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """One gradient step on one minibatch (equations 7 and 9)."""
        config = self._config
        mask = batch["mask"]
        count = tf.maximum(tf.reduce_sum(mask), 1.0)

        def mean(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(values * mask) / count

        advantage = batch["advantage"]
        if config.normalize_advantages:
            center = mean(advantage)
            advantage = (advantage - center) * tf.math.rsqrt(mean(tf.square(advantage - center)) + 1e-8)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            distribution = self._collect_policy.distribution_of(batch["observation"])
            log_ratio = tf.where(mask > 0.0, distribution.log_prob(batch["action"]) - batch["log_probability"], 0.0)
            ratio = tf.exp(log_ratio)
            clipped = tf.clip_by_value(ratio, 1.0 - clip_range, 1.0 + clip_range)
            policy_loss = -mean(tf.minimum(ratio * advantage, clipped * advantage))
            value_loss = mean(tf.square(self._value_network(batch["observation"])[0] - batch["target"]))
            entropy = mean(distribution.entropy())
            loss = policy_loss + config.value_loss_weight * value_loss - config.entropy_weight * entropy
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        norm = self._optimizer.apply(gradients, self._trained, learning_rate)
        return {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            # Schulman's estimator of the KL divergence that is never negative.
            "approx_kl": mean(ratio - 1.0 - log_ratio),
            "clip_fraction": mean(tf.cast(tf.abs(ratio - 1.0) > clip_range, tf.float32)),
            "gradient_norm": norm,
        }


class PPOCollectPolicy(ActorPolicy):
    """Does not clip, since PPO learns from actions as they were drawn, and emits their log-probabilities."""

    def distribution_of(self, normalized_observation: tf.Tensor) -> Any:
        """The distribution for observations that are normalised already."""
        return self._actor_network(normalized_observation)[0]


def make_collect_policy(
    time_step_spec: TimeStep, action_spec: Any, actor_network: Network, normalize_observations: bool
) -> PPOCollectPolicy:
    """The policy that collectors run; the learner's is built by the same function."""
    normalizer = None
    if normalize_observations:
        normalizer = _normalizer(time_step_spec.observation)
    return PPOCollectPolicy(
        time_step_spec,
        action_spec,
        actor_network,
        observation_normalizer=normalizer,
        clip=False,
        emit_log_probability=True,
        name="collect_policy",
    )


def _normalizer(spec: Any) -> StreamingTensorNormalizer:
    """With the bound and the epsilon that PPO's common settings were found with."""
    return StreamingTensorNormalizer(spec, clip_value=10.0, variance_epsilon=1e-8)


def _flatten_time(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [int(np.prod(tensor.shape[:2])), *tensor.shape[2:]])


def _scheduled(initial: float, schedule: str, progress: tf.Tensor) -> tf.Tensor:
    return initial * (1.0 - progress) if schedule == "linear" else initial * tf.ones_like(progress)


def _masked_variance(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    count = tf.maximum(tf.reduce_sum(mask), 1.0)
    mean = tf.reduce_sum(values * mask) / count
    return tf.reduce_sum(tf.square(values - mean) * mask) / count
