"""PPOAgent: proximal policy optimisation (Schulman et al., 2017) as one compiled function a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.actor_critic import ActorCritic
from distpolicy.agents.advantages import discounted_returns, generalized_advantage_estimation
from distpolicy.agents.flat_adam import FlatAdam
from distpolicy.agents.ppo_config import PPOConfig
from distpolicy.agents.ppo_policy import make_collect_policy, make_normalizer
from distpolicy.agents.sequences import SequenceStates, burned_in, cut_burn_in, cut_sequences, unroll_sequences
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.array_nest import flatten
from distpolicy.utils.module_variables import NamedVariable, named_variables
from distpolicy.utils.sampling import log_prob


class PPOAgent(tf.Module):
    """Clipped-surrogate PPO.

    The whole update of a batch (advantages, all epochs, all minibatches) is one function, traced and compiled once.

    Recurrent networks are unrolled from the state that their policy had before each rollout, and reset where the
    policy's state was. Their minibatches are of sequences; see ``sequence_length``, ``sequence_states`` and ``burn_in``
    of the config.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        actor_network: From observations, or from encodings, to distributions.
        value_network: From observations, or from encodings, to values; without a state of its own.
        config: The settings.
        seed: Seed of the order of minibatches.
        jit_compile: Whether XLA compiles the update.
        encoding_network: What actor and critic share, such as an :class:`LSTMEncodingNetwork`; None if they read
            observations themselves.

    Raises:
        ConfigError: If a state would not be carried; see :class:`ActorCritic`.
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
        encoding_network: Network | None = None,
    ) -> None:
        super().__init__(name="ppo_agent")
        self._config = config
        self._seed = seed
        time_step_spec = tensor_spec.from_spec(time_step_spec)
        self._actor_critic = ActorCritic(time_step_spec.observation, actor_network, value_network, encoding_network)
        self._collect_policy = make_collect_policy(
            time_step_spec, action_spec, self._actor_critic.policy_network, config.normalize_observations
        )
        self._value_network = value_network
        self._reward_normalizer = make_normalizer(tensor_spec.TensorSpec((), tf.float32))
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

        Raises:
            ConfigError: If ``sequence_length`` does not divide T.
        """
        tensors = tf.nest.map_structure(tf.constant, rollout)
        minibatches = tf.constant(self._minibatches(rollout.num_slots, rollout.num_steps))
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
        unroll = functools.partial(self._unroll, observation, rollout)
        value, states = unroll()
        advantage = generalized_advantage_estimation(
            reward, config.discount * rollout.discount, value, is_boundary, config.gae_lambda
        )
        target = advantage + value[:, :-1]
        samples = {
            "observation": _without_last(observation),
            "step_type": rollout.step_type[:, :-1],
            "action": rollout.action,
            "log_probability": _sum(flatten(rollout.policy_info.log_probability)),
            "advantage": advantage,
            "target": target,
            "mask": mask,
        }
        metrics = self._epochs(self._cut(samples), states, unroll, minibatches, progress)
        if config.normalize_observations:
            self._collect_policy.observation_normalizer.update(_without_last(rollout.observation))
        self.train_step.assign_add(1)
        residual = _masked_variance(target - value[:, :-1], mask)
        metrics["explained_variance"] = 1.0 - residual / (_masked_variance(target, mask) + 1e-8)
        return metrics

    def _normalized(self, observation: Any) -> Any:
        normalizer = self._collect_policy.observation_normalizer
        return observation if normalizer is None else normalizer.normalize(observation)

    def _normalized_reward(self, rollout: Rollout, is_boundary: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if not self._config.normalize_rewards:
            return rollout.reward
        reward = tf.cast(rollout.reward, tf.float64)
        returns = discounted_returns(reward, is_boundary, rollout.discounted_return, self._config.discount)
        self._reward_normalizer.update(returns, weights=mask)
        return self._reward_normalizer.normalize(rollout.reward, center_mean=False)

    def _unroll(self, observation: Any, rollout: Rollout) -> tuple[tf.Tensor, SequenceStates | tuple[()]]:
        """Values of all steps, and the states that sequences begin with."""
        if not self._actor_critic.is_recurrent:
            return self._actor_critic(observation, rollout.step_type, ())[1], ()
        length = self._length(rollout.num_steps)
        return unroll_sequences(
            self._actor_critic, observation, rollout.step_type, rollout.policy_state, length, self._config.burn_in
        )

    def _length(self, num_steps: int) -> int:
        """Steps of a sequence; 1 without recurrent networks, whose steps can be put together at will."""
        if not self._actor_critic.is_recurrent:
            return 1
        length = self._config.sequence_length or num_steps
        if num_steps % length:
            raise ConfigError(f"ppo.sequence_length {length} does not divide the rollouts' {num_steps} steps")
        return length

    def _cut(self, samples: dict[str, Any]) -> dict[str, Any]:
        """Nests ``[B, T, ...]`` as those of samples: steps ``[N, ...]``, or sequences ``[N, L, ...]``."""
        if not self._actor_critic.is_recurrent:
            return tf.nest.map_structure(_flatten_time, samples)
        num_slots, num_steps = samples["mask"].shape
        length, burn_in = self._length(num_steps), self._config.burn_in
        cut = tf.nest.map_structure(lambda tensor: cut_sequences(tensor, length), samples)
        if burn_in:
            names = ("observation", "step_type")
            before = tuple(samples[name] for name in names)
            cut["before"] = tf.nest.map_structure(lambda tensor: cut_burn_in(tensor, length, burn_in), before)
            cut["is_first"] = tf.tile(tf.range(num_steps // length) == 0, [num_slots])
        return cut

    def _minibatches(self, num_slots: int, num_steps: int) -> np.ndarray:
        """The samples of every epoch's minibatches, int32 ``[E * M, size]``, drawn from the seed and the train step.

        Drawn out here, since XLA sorts slowly, and a function that holds no seed is compiled once for all seeds.
        """
        config = self._config
        num_samples = num_slots * num_steps // self._length(num_steps)
        size = num_samples // config.num_minibatches
        if not size:
            raise ConfigError(
                f"ppo.num_minibatches {config.num_minibatches} is more than the {num_samples} sequences of a batch; "
                "lower it, or ppo.sequence_length"
            )
        draw = np.random.default_rng([self._seed, int(self.train_step.numpy())])
        orders = [draw.permutation(num_samples)[: size * config.num_minibatches] for _ in range(config.num_epochs)]
        return np.concatenate(orders).reshape(-1, size).astype(np.int32)

    def _epochs(
        self,
        samples: dict[str, Any],
        states: SequenceStates | tuple[()],
        unroll: Callable[[], tuple[tf.Tensor, Any]],
        minibatches: tf.Tensor,
        progress: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """A step on every minibatch; the means of the steps' figures."""
        config = self._config
        learning_rate = _scheduled(config.learning_rate, config.learning_rate_schedule, progress)
        clip_range = _scheduled(config.clip_range, config.clip_range_schedule, progress)
        names = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "gradient_norm")
        num_steps = int(minibatches.shape[0])

        def one(index: tf.Tensor, sums: tf.Tensor, states: Any) -> tuple[tf.Tensor, tf.Tensor, Any]:
            if config.sequence_states == "recomputed" and states:
                begins = tf.logical_and(index % config.num_minibatches == 0, index > 0)
                states = tf.cond(begins, lambda: unroll()[1], lambda: states)
            chosen = minibatches[index]
            batch = tf.nest.map_structure(lambda tensor: tf.gather(tensor, chosen), {**samples, "states": states})
            figures = self._step(batch, learning_rate, clip_range)
            return index + 1, sums + tf.stack([figures[name] for name in names]), states

        _, sums, _ = tf.while_loop(
            lambda index, *_: index < num_steps, one, (tf.constant(0), tf.zeros([len(names)]), states)
        )
        metrics = {name: sums[place] / num_steps for place, name in enumerate(names)}
        return {**metrics, "learning_rate": learning_rate, "clip_range": clip_range}

    def _step(self, batch: dict[str, Any], learning_rate: tf.Tensor, clip_range: tf.Tensor) -> dict[str, tf.Tensor]:
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
        state = self._state_before(batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            distribution, value, _ = self._actor_critic(batch["observation"], batch["step_type"], state)
            log_ratio = tf.where(
                mask > 0.0, _log_probability(distribution, batch["action"]) - batch["log_probability"], 0.0
            )
            ratio = tf.exp(log_ratio)
            clipped = tf.clip_by_value(ratio, 1.0 - clip_range, 1.0 + clip_range)
            policy_loss = -mean(tf.minimum(ratio * advantage, clipped * advantage))
            value_loss = mean(tf.square(value - batch["target"]))
            entropy = mean(_sum([item.entropy() for item in flatten(distribution)]))
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

    def _state_before(self, batch: dict[str, Any]) -> Any:
        """The state that each sample begins with; no gradient flows into it."""
        states = batch["states"]
        if not states:
            return ()
        if not self._config.burn_in:
            return states.start
        observation, step_type = batch["before"]
        return burned_in(self._actor_critic, observation, step_type, states, batch["is_first"])


def _log_probability(distribution: Any, action: Any) -> tf.Tensor:
    """Of a whole action: the sum over the leaves of its nest."""
    parts = zip(flatten(distribution), flatten(action), strict=True)
    return _sum([log_prob(item, drawn) for item, drawn in parts])


def _sum(parts: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.cast(part, tf.float32) for part in parts])


def _without_last(nest: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor[:, :-1], nest)


def _flatten_time(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [int(np.prod(tensor.shape[:2])), *tensor.shape[2:]])


def _scheduled(initial: float, schedule: str, progress: tf.Tensor) -> tf.Tensor:
    return initial * (1.0 - progress) if schedule == "linear" else initial * tf.ones_like(progress)


def _masked_variance(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    count = tf.maximum(tf.reduce_sum(mask), 1.0)
    mean = tf.reduce_sum(values * mask) / count
    return tf.reduce_sum(tf.square(values - mean) * mask) / count
