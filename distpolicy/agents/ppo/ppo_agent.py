"""PPOAgent: proximal policy optimisation (Schulman et al., 2017) as one compiled function a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.actor_critic import ActorCritic
from distpolicy.agents.batch_statistics import (
    AllSum,
    MinibatchStatistics,
    explained_variance,
    minibatch_statistics,
    update_normalizer,
)
from distpolicy.agents.flat_adam import FlatAdam, flat
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.loss import METRICS, sum_of_leaves, surrogate_loss
from distpolicy.agents.ppo.minibatches import draw_minibatches
from distpolicy.agents.ppo.policy import make_collect_policy, make_normalizer
from distpolicy.agents.replicas import Replicas
from distpolicy.agents.sequences import SequenceStates, burned_in, cut_burn_in, cut_sequences, unroll_sequences
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.ops.gae import generalized_advantage_estimation
from distpolicy.ops.returns import discounted_returns
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.variables.module_variables import NamedVariable, named_variables


class PPOAgent(TFAgent):
    """Clipped-surrogate PPO.

    The whole update of a batch (advantages, all epochs, all minibatches) is one function, traced and compiled once.

    Recurrent networks are unrolled from the state that their policy had before each rollout, and reset where the
    policy's state was. Their minibatches are of sequences; see ``sequence_length``, ``sequence_states`` and ``burn_in``
    of the config.

    With several replicas, each learns from its part of the batch. All take the steps that a single learner with the
    whole batch would take: gradients and all statistics are summed over the replicas. Each replica draws the same
    number of samples for a minibatch from its part. XLA on CPUs lacks collectives, so it compiles the parts in between.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        actor_network: From observations, or from encodings, to distributions.
        value_network: From observations, or from encodings, to values; without a state of its own.
        config: The settings.
        seed: Seed of the order of minibatches.
        jit_compile: Whether XLA compiles the update.
        encoding_network: The network that actor and critic share, such as an :class:`LSTMEncodingNetwork`; None if they
            read observations themselves.
        replicas: The replicas that learn together; None for a single learner.
        mixed_precision: Whether the update computes in bfloat16; see :class:`ActorCritic`.

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
        replicas: Replicas | None = None,
        mixed_precision: bool = False,
    ) -> None:
        time_step_spec = tensor_spec.from_spec(time_step_spec)
        actor_critic = ActorCritic(
            time_step_spec.observation, actor_network, value_network, encoding_network, mixed_precision
        )
        collect_policy = make_collect_policy(
            time_step_spec, action_spec, actor_critic.policy_network, config.normalize_observations
        )
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(collect_policy),
            collect_policy=collect_policy,
            jit_compile=jit_compile and replicas is None,
            name="ppo_agent",
        )
        self._config, self._seed = config, seed
        self._actor_critic, self._acting_policy = actor_critic, collect_policy
        self._value_network = value_network
        self._reward_normalizer = make_normalizer(tensor_spec.TensorSpec((), tf.float32))
        self._trained = [*collect_policy.trainable_variables, *value_network.trainable_variables]
        self._optimizer = FlatAdam(self._trained, config.adam_epsilon, config.max_gradient_norm)
        self._replicas = replicas
        self._all_sum: AllSum = (lambda tensor: tensor) if replicas is None else replicas.all_sum
        between = _inlined if replicas is None else functools.partial(_compiled, jit_compile=jit_compile)
        self._unroll = between(self._unroll_rollout)
        self._advantages = between(functools.partial(generalized_advantage_estimation, lambda_=config.gae_lambda))
        self._gradient = between(self._gradient_of)
        self._step = between(self._apply)
        self._observation_scratch = self._reward_scratch = None
        if replicas is not None:
            self._observation_scratch = make_normalizer(time_step_spec.observation)
            self._reward_scratch = make_normalizer(self._reward_normalizer.tensor_spec)

    @property
    def train_arguments(self) -> tuple[str, ...]:
        """Names of the keyword arguments that :meth:`train` asks for."""
        return ("final_observation", "policy_state", "discounted_return", "progress")

    def named_variables(self) -> list[NamedVariable]:
        """Returns everything that a checkpoint has to hold: networks, optimizer, normalisers, counter."""
        modules = {
            "policy": self._acting_policy,
            "value_network": self._value_network,
            "reward_normalizer": self._reward_normalizer,
            "optimizer": self._optimizer,
        }
        found = [
            NamedVariable(f"{name}/{item.path}", item.variable)
            for name, module in modules.items()
            for item in named_variables(module)
        ]
        return [*found, NamedVariable("train_step", self.train_step_counter)]

    def train(  # type: ignore[override]  # What it asks for beside is given by keyword.
        self,
        experience: Trajectory,
        weights: Any = None,
        *,
        final_observation: Any,
        policy_state: Any = (),
        discounted_return: Any = None,
        progress: Any = 0.0,
    ) -> LossInfo:
        """Learns from one batch of rollouts.

        Args:
            experience: A Trajectory of arrays or tensors ``[B, T, ...]``; the rows of all collectors.
            weights: float32 ``[B, T]``: 1 for each transition of the task, else 0; see :class:`TFAgent`.
            final_observation: Nest of ``[B, ...]``: the observation after the last step.
            policy_state: Nest of ``[B, ...]``: the policy's state before the first step.
            discounted_return: float64 ``[B]``: the running discounted sum of rewards before the first step, for reward
                normalisation; None for 0.
            progress: The share of the run that is over, in [0, 1]; for schedules.

        Returns:
            The loss, and the figures of :attr:`PPOConfig.metrics` by name.

        Raises:
            ConfigError: If ``sequence_length`` does not divide T.
        """
        num_slots, num_steps = (int(size) for size in experience.reward.shape)
        if discounted_return is None:
            discounted_return = np.zeros(num_slots)
        return super().train(
            experience,
            weights,
            final_observation=final_observation,
            policy_state=policy_state,
            discounted_return=discounted_return,
            progress=np.float32(min(max(float(progress), 0.0), 1.0)),
            minibatches=self._minibatches(num_slots, num_steps),
        )

    def _minibatches(self, num_slots: int, num_steps: int) -> np.ndarray:
        config, rank = self._config, 0 if self._replicas is None else self._replicas.rank
        step, num_samples = int(self.train_step_counter.numpy()), num_slots * num_steps // self._length(num_steps)
        return draw_minibatches(self._seed, step, num_samples, config.num_epochs, config.num_minibatches, rank)

    def _train(  # type: ignore[override]  # What it asks for beside is given by keyword.
        self,
        experience: Trajectory,
        weights: tf.Tensor,
        *,
        final_observation: Any,
        policy_state: Any,
        discounted_return: tf.Tensor,
        progress: tf.Tensor,
        minibatches: tf.Tensor,
    ) -> LossInfo:
        config, mask = self._config, weights
        # Advantages do not flow across a row that is not a transition, such as a boundary or a cut.
        is_boundary = tf.equal(mask, 0.0)
        observations = tf.nest.map_structure(_with_last, experience.observation, final_observation)
        step_types = _with_last(experience.step_type, experience.next_step_type[:, -1])
        # The statistics that the behaviour policy had: new ones only hold from the next version on, so that
        # the ratio of probabilities is 1 before the first step.
        normalized = self._normalized(observations)
        reward = self._normalized_reward(experience.reward, discounted_return, is_boundary, mask)
        unroll = functools.partial(self._unroll, normalized, step_types, policy_state)
        value, states = unroll()
        advantage = self._advantages(reward, config.discount * experience.discount, value, is_boundary)
        target = advantage + value[:, :-1]
        samples = {
            "observation": _without_last(normalized),
            "step_type": experience.step_type,
            "action": experience.action,
            "log_probability": sum_of_leaves(experience.policy_info.log_probability),
            "advantage": advantage,
            "target": target,
            "mask": mask,
        }
        metrics = self._epochs(self._cut(samples), states, unroll, minibatches, progress)
        if config.normalize_observations:
            normalizer, scratch = self._acting_policy.observation_normalizer, self._observation_scratch
            update_normalizer(normalizer, experience.observation, None, scratch, self._all_sum)
        self.train_step_counter.assign_add(1)
        metrics["explained_variance"] = explained_variance(target, value[:, :-1], mask, self._all_sum)
        return LossInfo(metrics.pop("loss"), metrics)

    def _normalized(self, observation: Any) -> Any:
        normalizer = self._acting_policy.observation_normalizer
        return observation if normalizer is None else normalizer.normalize(observation)

    def _normalized_reward(
        self, reward: tf.Tensor, discounted_return: tf.Tensor, is_boundary: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        if not self._config.normalize_rewards:
            return reward
        returns = discounted_returns(tf.cast(reward, tf.float64), is_boundary, discounted_return, self._config.discount)
        update_normalizer(self._reward_normalizer, returns, mask, self._reward_scratch, self._all_sum)
        return self._reward_normalizer.normalize(reward, center_mean=False)

    def _unroll_rollout(
        self, observation: Any, step_type: tf.Tensor, policy_state: Any
    ) -> tuple[tf.Tensor, SequenceStates | tuple[()]]:
        """Returns the values of all steps, and the states that sequences begin with."""
        if not self._actor_critic.is_recurrent:
            return self._actor_critic(observation, step_type, ())[1], ()
        length = self._length(int(step_type.shape[1]) - 1)
        return unroll_sequences(self._actor_critic, observation, step_type, policy_state, length, self._config.burn_in)

    def _length(self, num_steps: int) -> int:
        """Returns the number of steps of a sequence; 1 without recurrent networks, where steps are independent."""
        if not self._actor_critic.is_recurrent:
            return 1
        length = self._config.sequence_length or num_steps
        if num_steps % length:
            raise ConfigError(f"ppo.sequence_length {length} does not divide the rollouts' {num_steps} steps")
        return length

    def _cut(self, samples: dict[str, Any]) -> dict[str, Any]:
        """Cuts nests ``[B, T, ...]`` into samples: steps ``[N, ...]``, or sequences ``[N, L, ...]``."""
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

    def _epochs(
        self,
        samples: dict[str, Any],
        states: SequenceStates | tuple[()],
        unroll: Callable[[], tuple[tf.Tensor, Any]],
        minibatches: tf.Tensor,
        progress: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Takes a step on every minibatch; returns the means of the steps' metrics."""
        config = self._config
        learning_rate = _scheduled(config.learning_rate, config.learning_rate_schedule, progress)
        clip_range = _scheduled(config.clip_range, config.clip_range_schedule, progress)
        num_steps = int(minibatches.shape[0])
        statistics = minibatch_statistics(
            samples["advantage"], samples["mask"], minibatches, config.normalize_advantages, self._all_sum
        )

        def one(
            index: tf.Tensor, figures: tf.Tensor, norms: tf.Tensor, states: Any
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Any]:
            if config.sequence_states == "recomputed" and states:
                begins = tf.logical_and(index % config.num_minibatches == 0, index > 0)
                states = tf.cond(begins, lambda: unroll()[1], lambda: states)
            own = MinibatchStatistics(*(item[index] for item in statistics))
            gradient, more = self._gradient({**samples, "states": states}, minibatches[index], own, clip_range)
            norm = self._step(self._all_sum(gradient), learning_rate)
            return index + 1, figures + more, norms + norm, states

        _, figures, norms, _ = tf.while_loop(
            lambda index, *_: index < num_steps,
            one,
            (tf.constant(0), tf.zeros([len(METRICS)]), tf.zeros([]), states),
        )
        named = dict(zip(METRICS, tf.unstack(self._all_sum(figures) / num_steps), strict=True))
        loss = named["policy_loss"] + config.value_loss_weight * named["value_loss"]
        return {
            "loss": loss - config.entropy_weight * named["entropy"],
            **named,
            "gradient_norm": norms / num_steps,
            "learning_rate": learning_rate,
            "clip_range": clip_range,
        }

    def _gradient_of(
        self, samples: dict[str, Any], chosen: tf.Tensor, statistics: MinibatchStatistics, clip_range: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the contribution of this learner's samples to a minibatch's gradient and metrics."""
        batch = tf.nest.map_structure(lambda tensor: tf.gather(tensor, chosen), samples)
        state = self._state_before(batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            distribution, value, _ = self._actor_critic(batch["observation"], batch["step_type"], state)
            loss, figures = surrogate_loss(self._config, distribution, value, batch, statistics, clip_range)
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return flat(gradients), figures

    def _apply(self, gradient: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        return self._optimizer.apply(gradient, self._trained, learning_rate)

    def _state_before(self, batch: dict[str, Any]) -> Any:
        """Returns the state before each sample; no gradient flows into it."""
        states = batch["states"]
        if not states:
            return ()
        if not self._config.burn_in:
            return states.start
        observation, step_type = batch["before"]
        return burned_in(self._actor_critic, observation, step_type, states, batch["is_first"])


def _inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _compiled(function: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
    return tf.function(function, autograph=False, jit_compile=jit_compile)


def _with_last(steps: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Returns ``[B, T + 1, ...]`` from ``[B, T, ...]`` and ``[B, ...]``."""
    return tf.concat([steps, last[:, tf.newaxis]], axis=1)


def _without_last(nest: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor[:, :-1], nest)


def _flatten_time(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [int(np.prod(tensor.shape[:2])), *tensor.shape[2:]])


def _scheduled(initial: float, schedule: str, progress: tf.Tensor) -> tf.Tensor:
    return initial * (1.0 - progress) if schedule == "linear" else initial * tf.ones_like(progress)
