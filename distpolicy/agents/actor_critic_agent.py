"""ActorCriticAgent: what on-policy actor-critic agents have in common; one compiled function a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from distpolicy.agents.acting_policy import make_collect_policy, make_normalizer
from distpolicy.agents.action_terms import sum_of_leaves
from distpolicy.agents.actor_critic import ActorCritic, MaskedObservation
from distpolicy.agents.actor_critic_config import ActorCriticConfig
from distpolicy.agents.batch_statistics import (
    AllSum,
    MinibatchStatistics,
    explained_variance,
    minibatch_statistics,
    update_normalizer,
)
from distpolicy.agents.flat_adam import FlatAdam, flat
from distpolicy.agents.minibatches import draw_minibatches
from distpolicy.agents.replicas import Replicas
from distpolicy.agents.rollout_batch import (
    RolloutBatch,
    cut_into_sequences,
    cut_steps,
    make_batch,
    steps_before,
    with_last,
)
from distpolicy.agents.sequences import SequenceStates, Unrolled, burned_in, unroll_sequences, unroll_steps
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.ops.returns import discounted_returns
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.masks import Splitter, network_input_spec, split_mask
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.variables.module_variables import NamedVariable, named_variables

Config = TypeVar("Config", bound=ActorCriticConfig)


class ActingPolicies(NamedTuple):
    """An agent's policies, which share their variables.

    Attributes:
        policy: The policy that is evaluated and deployed.
        collect_policy: The policy that acts in rollouts.
    """

    policy: TFPolicy
    collect_policy: ActorPolicy


class Estimates(NamedTuple):
    """What a pass over the minibatches begins with.

    Attributes:
        value: float32 ``[B, T + 1]``.
        target: float32 ``[B, T]``: what the critic learns.
        samples: ``advantage`` and ``target``, cut into samples.
        states: The states that sequences begin with; ``()`` without recurrent networks.
        statistics: Of every minibatch.
    """

    value: tf.Tensor
    target: tf.Tensor
    samples: dict[str, tf.Tensor]
    states: SequenceStates | tuple[()]
    statistics: MinibatchStatistics


class ActorCriticAgent(TFAgent, Generic[Config]):
    """An actor and a critic that learn from each batch by some passes over its minibatches.

    A subclass defines how advantages are estimated and what a minibatch's loss is. The whole update of a batch
    (advantages, all passes, all minibatches) is one function, traced and compiled once.

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
        policies: The policies, whose ``collect_policy`` acts by ``actor_network``; None to make them.
        optimizer: What takes the steps, if not a :class:`FlatAdam` by the config.
        has_value_state: Whether the value network may have a state, which begins at zero with each batch.
        observation_and_action_constraint_splitter: Function from an observation to the networks' input and a mask of
            actions, not 0 where an action is allowed; None for no masks. The mask is for the actor alone: critic and
            normaliser do not see it.
        arguments: Further arguments of :class:`TFAgent`.

    Attributes:
        step_metrics: What :meth:`_minibatch_loss` returns beside the loss, by name and in order.
        estimates_each_pass: Whether advantages are estimated anew before each pass, by the weights of then.
        reads_log_probability: Whether they are estimated from log-probabilities by these weights, too.

    Raises:
        ConfigError: If a state would not be carried; see :class:`ActorCritic`.
    """

    step_metrics: ClassVar[tuple[str, ...]]
    estimates_each_pass: ClassVar[bool] = False
    reads_log_probability: ClassVar[bool] = False

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        value_network: Network,
        config: Config,
        seed: int = 0,
        jit_compile: bool = True,
        encoding_network: Network | None = None,
        replicas: Replicas | None = None,
        mixed_precision: bool = False,
        *,
        policies: ActingPolicies | None = None,
        optimizer: Any = None,
        has_value_state: bool = False,
        observation_and_action_constraint_splitter: Splitter = None,
        **arguments: Any,
    ) -> None:
        time_step_spec = tensor_spec.from_spec(time_step_spec)
        splitter = observation_and_action_constraint_splitter
        (first_action, *_) = tf.nest.flatten(tensor_spec.from_spec(action_spec))
        input_spec = network_input_spec(time_step_spec.observation, splitter, first_action)
        actor_critic = ActorCritic(
            input_spec, actor_network, value_network, encoding_network, mixed_precision, has_value_state
        )
        if policies is None:
            made = make_collect_policy(
                time_step_spec, action_spec, actor_critic.policy_network, config.normalize_observations, splitter
            )
            policies = ActingPolicies(GreedyPolicy(made), made)
        collect_policy = policies.collect_policy
        super().__init__(
            time_step_spec,
            action_spec,
            policy=policies.policy,
            collect_policy=collect_policy,
            jit_compile=jit_compile and replicas is None,
            **{"name": f"{config.kind}_agent", **arguments},
        )
        self._config, self._seed = config, seed
        self._splitter, self._masked_action = splitter, first_action
        self._actor_critic, self._acting_policy = actor_critic, collect_policy
        self._value_network = value_network
        self._reward_normalizer = make_normalizer(tensor_spec.TensorSpec((), tf.float32))
        trained = [*collect_policy.trainable_variables, *value_network.trainable_variables]
        self._trained = list({id(variable): variable for variable in trained}.values())
        if optimizer is None:
            optimizer = FlatAdam(self._trained, config.adam_epsilon, config.max_gradient_norm)
        self._optimizer = optimizer
        self._replicas = replicas
        self._all_sum: AllSum = (lambda tensor: tensor) if replicas is None else replicas.all_sum
        # Compiles what lies between two sums over replicas.
        self._between = _inlined if replicas is None else functools.partial(_compiled, jit_compile=jit_compile)
        self._unroll = self._between(self._unroll_rollout)
        self._estimate = self._between(self._advantages_and_targets)
        self._gradient = self._between(self._gradient_of)
        self._step = self._between(self._apply)
        self._observation_scratch = self._reward_scratch = None
        if replicas is not None:
            self._observation_scratch = make_normalizer(input_spec)
            self._reward_scratch = make_normalizer(self._reward_normalizer.tensor_spec)

    @property
    def train_arguments(self) -> tuple[str, ...]:
        """Names of the keyword arguments that :meth:`train` asks for."""
        return ("final_observation", "policy_state", "discounted_return", "progress")

    def named_variables(self) -> list[NamedVariable]:
        """Returns everything that a checkpoint has to hold: networks, optimizer, normalisers, counter."""
        found = [
            NamedVariable(f"{name}/{item.path}", item.variable)
            for name, module in self._checkpointed().items()
            for item in named_variables(module, with_seeds=True)
        ]
        return [*found, NamedVariable("train_step", self.train_step_counter)]

    def _checkpointed(self) -> dict[str, tf.Module]:
        """Returns the modules whose variables a checkpoint holds, by name."""
        return {
            "policy": self._acting_policy,
            "value_network": self._value_network,
            "reward_normalizer": self._reward_normalizer,
            "optimizer": self._optimizer,
        }

    def _estimated(self, value: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what losses read of the values ``[B, T + 1]`` beside: float32 ``[B, T]`` by name."""
        return {}

    def _further_samples(self, batch: RolloutBatch) -> dict[str, tf.Tensor]:
        """Returns what the subclass computes once a batch, before the first pass: nests of ``[B, T, ...]`` by name."""
        return {}

    def _advantages_and_targets(
        self, batch: RolloutBatch, further: dict[str, tf.Tensor], value: tf.Tensor, log_probability: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns advantages and the critic's targets. Override it.

        Args:
            batch: The rollouts.
            further: From :meth:`_further_samples`.
            value: float32 ``[B, T + 1]``.
            log_probability: float32 ``[B, T]``: of the actions, by the policy as it is now; ``()`` unless
                ``reads_log_probability``.

        Returns:
            Two float32 ``[B, T]``.
        """
        raise NotImplementedError

    def _minibatch_loss(
        self,
        distribution: Any,
        value: tf.Tensor,
        samples: dict[str, Any],
        statistics: MinibatchStatistics,
        schedules: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a minibatch's loss, as the sum over some of its samples, and the ``step_metrics``. Override it.

        Args:
            distribution: Nest of distributions over the actions.
            value: float32 ``[n, ...]``.
            samples: The samples by name, nests of ``[n, ...]``: those of :meth:`RolloutBatch.samples`, ``advantage``,
                ``target`` and the further ones.
            statistics: Of the whole minibatch, scalars.
            schedules: From :meth:`_schedules`.

        Returns:
            A scalar, and one float32 for each of the metrics; over all samples of the minibatch they add up to means.
            Among them are ``policy_loss``, ``value_loss`` and ``entropy``.
        """
        raise NotImplementedError

    def _schedules(self, progress: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the settings that change over a run, by name; they are metrics, too.

        A setting changes if there is a schedule for it: ``clip_range`` by ``clip_range_schedule``.
        """
        config, suffix = self._config, "_schedule"
        names = [field.name.removesuffix(suffix) for field in fields(config) if field.name.endswith(suffix)]
        return {name: _scheduled(getattr(config, name), getattr(config, name + suffix), progress) for name in names}

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
            The loss, and the figures of the config's ``metrics`` by name.

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
        shape = (num_samples, config.num_epochs, config.num_minibatches)
        return draw_minibatches(self._seed, step, *shape, rank, config.kind)

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
        config = self._config
        observation = tf.nest.map_structure(with_last, experience.observation, final_observation)
        observation, allowed = split_mask(self._splitter, observation, self._masked_action)
        # The statistics that the behaviour policy had, without lag: new ones only hold from the next version on, so
        # that the ratio of probabilities is 1 before the first step.
        observation = self._normalized(observation)
        if allowed is not None:
            observation = MaskedObservation(observation, tf.cast(allowed, tf.bool))
        reward = self._normalized_reward(experience.reward, discounted_return, weights)
        policy_state = self._actor_critic.initial_state(policy_state, tf.shape(weights)[0])
        log_probability = self._acting_log_probability(experience)
        batch = make_batch(experience, log_probability, observation, reward, config.discount, weights, policy_state)
        further = self._further_samples(batch)
        first = self._estimates(batch, further, minibatches)
        metrics = self._passes(batch, further, first, minibatches, self._schedules(progress))
        self._finish(experience, batch)
        value = first.value[:, :-1]
        metrics["explained_variance"] = explained_variance(first.target, value, weights, self._all_sum)
        return LossInfo(metrics.pop("loss"), metrics)

    def _finish(self, experience: Trajectory, batch: RolloutBatch) -> None:
        """Ends an update, after all steps."""
        if self._config.normalize_observations:
            normalizer, scratch = self._acting_policy.observation_normalizer, self._observation_scratch
            update_normalizer(normalizer, self._network_input(experience.observation), None, scratch, self._all_sum)
        self.train_step_counter.assign_add(1)

    def _network_input(self, observation: Any) -> Any:
        """Returns observations without their masks."""
        return split_mask(self._splitter, observation, self._masked_action)[0]

    def _acting_log_probability(self, experience: Trajectory) -> tf.Tensor:
        """Returns the log-probability of the actions by the policy that acted, float32 ``[B, T]``."""
        return sum_of_leaves(experience.policy_info.log_probability)

    def _normalized(self, observation: Any) -> Any:
        normalizer = self._acting_policy.observation_normalizer
        return observation if normalizer is None else normalizer.normalize(observation)

    def _normalized_reward(self, reward: tf.Tensor, discounted_return: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if not self._config.normalize_rewards:
            return reward
        is_boundary = tf.equal(mask, 0.0)
        returns = discounted_returns(tf.cast(reward, tf.float64), is_boundary, discounted_return, self._config.discount)
        update_normalizer(self._reward_normalizer, returns, mask, self._reward_scratch, self._all_sum)
        return self._reward_normalizer.normalize(reward, center_mean=False)

    def _unrolled(self, batch: RolloutBatch) -> Unrolled:
        action = batch.action if self.reads_log_probability else ()
        return self._unroll(batch.observation, batch.step_type, batch.policy_state, action)

    def _unroll_rollout(self, observation: Any, step_type: tf.Tensor, policy_state: Any, action: Any) -> Unrolled:
        if not self._actor_critic.is_recurrent:
            return unroll_steps(self._actor_critic, observation, step_type, action)
        length, burn_in = self._length(int(step_type.shape[1]) - 1), self._config.burn_in
        return unroll_sequences(self._actor_critic, observation, step_type, policy_state, length, burn_in, action)

    def _length(self, num_steps: int) -> int:
        """Returns the number of steps of a sequence; 1 without recurrent networks, where steps are independent."""
        if not self._actor_critic.is_recurrent:
            return 1
        length = self._config.sequence_length or num_steps
        if num_steps % length:
            kind = self._config.kind
            raise ConfigError(f"{kind}.sequence_length {length} does not divide the rollouts' {num_steps} steps")
        return length

    def _cut(self, samples: Any) -> Any:
        """Cuts nests ``[B, T, ...]`` into samples: steps ``[N, ...]``, or sequences ``[N, L, ...]``."""
        if not self._actor_critic.is_recurrent:
            return cut_steps(samples)
        return cut_into_sequences(samples, self._length(int(tf.nest.flatten(samples)[0].shape[1])))

    def _estimates(self, batch: RolloutBatch, further: dict[str, tf.Tensor], minibatches: tf.Tensor) -> Estimates:
        unrolled = self._unrolled(batch)
        advantage, target = self._estimate(batch, further, unrolled.value, unrolled.log_probability)
        samples = self._cut({"advantage": advantage, "target": target, **self._estimated(unrolled.value)})
        statistics = minibatch_statistics(
            samples["advantage"],
            self._cut(batch.mask),
            minibatches,
            self._config.normalize_advantages,
            self._all_sum,
        )
        return Estimates(unrolled.value, target, samples, unrolled.states, statistics)

    def _estimates_of_pass(self, batch: RolloutBatch, further: Any, minibatches: Any, before: Estimates) -> Estimates:
        """Returns what a pass after the first begins with."""
        recomputed = self._config.sequence_states == "recomputed"
        if not self.estimates_each_pass:
            return before._replace(states=self._unrolled(batch).states)
        fresh = self._estimates(batch, further, minibatches)
        return fresh if recomputed else fresh._replace(states=before.states)

    def _passes(
        self,
        batch: RolloutBatch,
        further: dict[str, tf.Tensor],
        first: Estimates,
        minibatches: tf.Tensor,
        schedules: dict[str, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """Takes a step on every minibatch; returns the means of the steps' metrics."""
        config, samples = self._config, {**batch.samples(), **further}
        fixed = self._cut(samples)
        if self._actor_critic.is_recurrent and config.burn_in:
            fixed |= steps_before(samples, self._length(int(batch.mask.shape[1])), config.burn_in)
        is_recomputed = config.sequence_states == "recomputed" and self._actor_critic.is_recurrent
        is_renewed = config.num_epochs > 1 and (self.estimates_each_pass or is_recomputed)
        num_steps = int(minibatches.shape[0])

        def one(
            index: tf.Tensor, metrics: tf.Tensor, norms: tf.Tensor, renewed: Estimates | tuple[()]
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Estimates | tuple[()]]:
            now = renewed or first
            if is_renewed:
                begins, before = tf.logical_and(index % config.num_minibatches == 0, index > 0), now
                renewed = now = tf.cond(
                    begins, lambda: self._estimates_of_pass(batch, further, minibatches, before), lambda: before
                )
            own = MinibatchStatistics(*(item[index] for item in now.statistics))
            all_samples = {**fixed, **now.samples, "states": now.states}
            gradient, more = self._gradient(all_samples, minibatches[index], own, schedules)
            norm = self._step(self._all_sum(gradient), schedules["learning_rate"])
            return index + 1, metrics + more, norms + norm, renewed

        initial = (tf.constant(0), tf.zeros([len(self.step_metrics)]), tf.zeros([]), first if is_renewed else ())
        _, metrics, norms, _ = tf.while_loop(lambda index, *_: index < num_steps, one, initial)
        named = dict(zip(self.step_metrics, tf.unstack(self._all_sum(metrics) / num_steps), strict=True))
        loss = named["policy_loss"] + config.value_loss_weight * named["value_loss"]
        loss -= config.entropy_weight * named["entropy"]
        return {"loss": loss, **named, "gradient_norm": norms / num_steps, **schedules}

    def _gradient_of(
        self,
        samples: dict[str, Any],
        chosen: tf.Tensor,
        statistics: MinibatchStatistics,
        schedules: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the contribution of this learner's samples to a minibatch's gradient and metrics."""
        batch = tf.nest.map_structure(lambda tensor: tf.gather(tensor, chosen), samples)
        state = self._state_before(batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            distribution, value, _ = self._actor_critic(batch["observation"], batch["step_type"], state)
            loss, metrics = self._minibatch_loss(distribution, value, batch, statistics, schedules)
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return flat(gradients), metrics

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


def _scheduled(initial: float, schedule: str, progress: tf.Tensor) -> tf.Tensor:
    """Returns a setting by its schedule: float32 scalar."""
    return initial * (1.0 - progress) if schedule == "linear" else initial * tf.ones_like(progress)


def _inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _compiled(function: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
    return tf.function(function, autograph=False, jit_compile=jit_compile)
