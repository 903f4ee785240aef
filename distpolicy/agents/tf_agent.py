"""TFAgent: the base class of agents, with TF-Agents' interface."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.data_converter import DataContext
from distpolicy.agents.experience_config import ExperienceConfig, OnPolicy, Replay
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.summaries import are_recorded, summarize_scalar_dict
from distpolicy.utils.variables.module_variables import NamedVariable, named_variables
from distpolicy.utils.variables.variable_watch import mark_updated


class LossInfo(NamedTuple):
    """The result of a call of ``train``.

    Attributes:
        loss: float32 scalar.
        extra: Nest of scalars, preferably a dict: other metrics by name.
    """

    loss: Any
    extra: Any = ()


class TFAgent(tf.Module):
    """Two policies, and an update that makes them better; the same interface as TF-Agents' class of this name.

    A subclass calls this constructor and overrides :meth:`_train`. It is run as one compiled function, once a batch.

    ``_train`` may ask for more than experience and weights by keyword-only parameters. A learner knows

    - ``final_observation``: nest ``[B, ...]``, the observation after the last step, to bootstrap from;
    - ``policy_state``: nest ``[B, ...]``, the policy's state before the first step;
    - ``discounted_return``: float64 ``[B]``, each environment's discounted sum of rewards before the first step, by
      ``AgentConfig.reward_discount``;
    - ``progress``: float32 scalar in [0, 1), the share of the run that is over;
    - ``noise``: :attr:`noise_spec`'s numbers for each row of the batch, drawn outside the compiled function.

    A learner with a dataset knows the last two of these, and ``return_to_go``, ``final_observation`` and
    ``final_discount`` if the settings ask for returns; see :class:`workers.experience.offline.OfflineExperience`.

    An off-policy learner takes several gradient steps in one compiled call, :meth:`train_steps`. It gives each
    ``train`` one of the batches.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        policy: The policy that is evaluated and deployed.
        collect_policy: The policy that collectors run. Its variables are sent to them as weights.
        train_sequence_length: Steps of the sequences that ``train`` takes; None for any number.
        num_outer_dims: 2 if ``train`` takes sequences, 1 if it takes steps.
        training_data_spec: Nest of specs of one step of ``train``'s experience; None for the collect policy's.
        debug_summaries: Accepted for TF-Agents' callers; metrics are in the loss info.
        summarize_grads_and_vars: The same.
        enable_summaries: Whether :meth:`train` writes summaries of the loss info.
        train_step_counter: int64 variable that counts updates; None to make one.
        jit_compile: Whether XLA compiles the update.
        reduce_retracing: Whether the update is traced for batches of any size once it has seen two sizes.
        name: Name of the module.

    Raises:
        ValueError: If ``num_outer_dims`` is neither 1 nor 2.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        policy: TFPolicy,
        collect_policy: TFPolicy,
        train_sequence_length: int | None = None,
        num_outer_dims: int = 2,
        training_data_spec: Any = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        enable_summaries: bool = True,
        train_step_counter: tf.Variable | None = None,
        *,
        jit_compile: bool = False,
        reduce_retracing: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if num_outer_dims not in (1, 2):
            raise ValueError(f"num_outer_dims must be 1 or 2, but is {num_outer_dims}")
        self._time_step_spec = tensor_spec.from_spec(time_step_spec)
        self._action_spec = tensor_spec.from_spec(action_spec)
        self._policy, self._collect_policy = policy, collect_policy
        self._train_sequence_length, self._enable_summaries = train_sequence_length, enable_summaries
        self._training_data_spec = training_data_spec
        if train_step_counter is None:
            train_step_counter = tf.Variable(tf.zeros((), tf.int64), trainable=False, name="train_step")
        self._train_step_counter = train_step_counter
        # The prefix keeps it out of the search for variables, and object's method out of tf.Module's tracking.
        object.__setattr__(self, "_self_acting_variables", None)
        self._train_function = tf.function(
            self._train, autograph=False, jit_compile=jit_compile, reduce_retracing=reduce_retracing
        )
        self._train_steps_function = tf.function(self._train_steps, autograph=False, jit_compile=jit_compile)
        self._jit_compile, self._num_outer_dims = jit_compile, num_outer_dims

    @property
    def jit_compile(self) -> bool:
        """Whether XLA compiles the update."""
        return self._jit_compile

    @property
    def time_step_spec(self) -> TimeStep:
        """A TimeStep of tensor specs."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """Nest of bounded tensor specs."""
        return self._action_spec

    @property
    def policy(self) -> TFPolicy:
        """The policy for evaluation and deployment."""
        return self._policy

    @property
    def collect_policy(self) -> TFPolicy:
        """The policy that collects experience."""
        return self._collect_policy

    @property
    def collect_data_spec(self) -> Trajectory:
        """Specs of one step of what the collect policy experiences."""
        return self._collect_policy.collect_data_spec

    @property
    def training_data_spec(self) -> Any:
        """Specs of one step of what ``train`` takes."""
        return self.collect_data_spec if self._training_data_spec is None else self._training_data_spec

    @property
    def collect_data_context(self) -> DataContext:
        """The specs by which a data converter checks what the collect policy experiences."""
        return DataContext(self.time_step_spec, self.action_spec, self._collect_policy.info_spec)

    @property
    def data_context(self) -> DataContext:
        """The same for what :meth:`train` takes."""
        spec = self.training_data_spec
        if not isinstance(spec, Trajectory):
            return self.collect_data_context
        step = TimeStep(spec.step_type, spec.reward, spec.discount, spec.observation)
        return DataContext(step, spec.action, spec.policy_info)

    @property
    def train_sequence_length(self) -> int | None:
        """Steps of the sequences that ``train`` takes; None for any number."""
        return self._train_sequence_length

    @property
    def train_step_counter(self) -> tf.Variable:
        """int64 scalar: the number of updates so far."""
        return self._train_step_counter

    @property
    def train_arguments(self) -> tuple[str, ...]:
        """Names of the keyword arguments that :meth:`train` asks for."""
        parameters = inspect.signature(self._train).parameters.values()
        return tuple(item.name for item in parameters if item.kind is item.KEYWORD_ONLY)

    @property
    def noise_spec(self) -> Any:
        """Nest of float32 specs of the standard normal numbers that :meth:`train` takes for a row; ``()`` if none."""
        return ()

    @property
    def tracing_count(self) -> int:
        """Number of times that the update was traced; stays at 1 over a run."""
        functions = (self._train_function, self._train_steps_function)
        return sum(int(function.experimental_get_tracing_count()) for function in functions)

    def explore(self, progress: float, has_begun: bool) -> None:
        """Sets how much the collect policy explores. A learner calls it before it publishes weights.

        What it sets are variables of the collect policy, so that collectors get them with the weights. Override
        :meth:`_explore`, which does nothing by default.

        Args:
            progress: The share of the run that is over, in [0, 1].
            has_begun: Whether the agent has begun to learn. Off-policy agents act at random before.
        """
        self._explore(progress, has_begun)
        self._mark_acting()

    def experience(self, replay: Mapping[str, Any], rollout_steps: int) -> ExperienceConfig:
        """Returns the settings by which a learner makes :meth:`train`'s batches of rollouts.

        Args:
            replay: Settings of a :class:`Replay` by name that take the place of the agent's own. An agent without a
                replay buffer learns from rollouts if there are none, and from transitions otherwise.
            rollout_steps: The steps of a rollout.
        """
        return Replay(**replay) if replay else OnPolicy()

    def initialize(self) -> None:
        """Prepares the agent once, before the first :meth:`train`: every variable exists afterwards.

        Keras optimizers that the agent holds, and that are not built yet, are built for its trainable variables.
        """
        self._initialize()
        optimizers = [item for item in vars(self).values() if isinstance(item, keras.optimizers.Optimizer)]
        for optimizer in optimizers:
            if not optimizer.built:
                optimizer.build([item.variable for item in named_variables(self) if item.variable.trainable])
        self._mark_acting()

    def train(self, experience: Trajectory, weights: Any = None, **kwargs: Any) -> LossInfo:
        """Learns from a batch.

        If there is a default summary writer, the loss and the scalars of ``extra`` are written below ``Losses/``.

        Args:
            experience: A Trajectory of arrays or tensors ``[B, T, ...]``.
            weights: float32 ``[B, T]``: what each step counts in the loss; 0 for what is not a transition of the task
                (:meth:`Trajectory.is_boundary`) or was cut by a fault. None for :func:`step_weights`.
            kwargs: The arguments that :attr:`train_arguments` names.

        Returns:
            The loss, and other figures by name.
        """
        if weights is None:
            weights = self._default_weights(experience)
        inputs = tf.nest.map_structure(tf.convert_to_tensor, (experience, weights, kwargs))
        is_recorded = self._enable_summaries and are_recorded()
        # Read before it counts the update.
        step = tf.identity(self.train_step_counter) if is_recorded else None
        info = self._train_function(inputs[0], inputs[1], **inputs[2])
        if is_recorded:
            _summarize(info, step)
        # Policies in this process that act by a copy of the weights take the new ones.
        mark_updated(self._acting_variables())
        return info

    def loss(self, experience: Any, weights: Any = None, training: bool = False, **kwargs: Any) -> LossInfo:
        """Returns the loss of a batch, without learning from it.

        Within a ``tf.GradientTape`` it can be differentiated.

        Args:
            experience: As for :meth:`train`.
            weights: The same.
            training: Whether networks are called in training mode.
            kwargs: As for :meth:`train`.

        Raises:
            NotImplementedError: If the agent takes more than one gradient step on a batch.
        """
        if weights is None:
            weights = self._default_weights(experience)
        inputs = tf.nest.map_structure(tf.convert_to_tensor, (experience, weights, kwargs))
        return self._loss(inputs[0], inputs[1], training=training, **inputs[2])

    def preprocess_sequence(self, experience: Any) -> Any:
        """Returns what :meth:`train` takes, made of what was collected; by default the experience itself.

        A replay buffer's ``as_dataset(sequence_preprocess_fn=...)`` takes it.

        Args:
            experience: A Trajectory ``[B, T, ...]`` or ``[T, ...]`` like :attr:`collect_data_spec`.

        Returns:
            A Trajectory of the same shape, like :attr:`training_data_spec`.
        """
        return self._preprocess_sequence(experience)

    def post_process_policy(self) -> TFPolicy:
        """Returns the policy to deploy after training."""
        return self._policy

    def train_steps(self, experience: Any, weights: Any, **kwargs: Any) -> LossInfo:
        """Takes K gradient steps, each from its own batch, in one compiled call.

        Args:
            experience: As for :meth:`train`, with a further first dimension K. Arrays whose other dimensions have
                another order in memory are taken as they are: the compiled call transposes them.
            weights: float32 ``[K, ...]``.
            kwargs: The arguments that :attr:`train_arguments` names, each ``[K, ...]``.

        Returns:
            The mean loss. Of the other figures, scalars are averaged, and others are ``[K, ...]``.
        """
        stacked = (experience, weights, kwargs)
        leaves, orders = zip(*(_in_memory_order(leaf) for leaf in tf.nest.flatten(stacked)), strict=True)
        inputs = tf.nest.pack_sequence_as(stacked, [tf.convert_to_tensor(leaf) for leaf in leaves])
        info = self._train_steps_function(*inputs, orders)
        mark_updated(self._acting_variables())
        return info

    def _train_steps(
        self, experience: Any, weights: tf.Tensor, arguments: dict[str, Any], orders: Sequence[tuple[int, ...] | None]
    ) -> LossInfo:
        stacked = (experience, weights, arguments)
        num_updates = int(weights.shape[0])

        def step(*leaves: tf.Tensor) -> LossInfo:
            # Here, and not for all batches at once: XLA makes it a part of what reads the batch.
            ordered = [
                leaf if order is None else tf.transpose(leaf, order) for leaf, order in zip(leaves, orders, strict=True)
            ]
            batch, batch_weights, batch_arguments = tf.nest.pack_sequence_as(stacked, ordered)
            return self._train(batch, batch_weights, **batch_arguments)

        # Traced once: it says what a step returns, and is then the loop's body.
        leaves = tf.nest.flatten(stacked)
        one = tf.function(step, autograph=False).get_concrete_function(
            *[tf.TensorSpec(leaf.shape[1:], leaf.dtype) for leaf in leaves]
        )
        results = [
            tf.TensorArray(spec.dtype, num_updates, element_shape=spec.shape)
            for spec in tf.nest.flatten(one.structured_outputs)
        ]

        def body(index: tf.Tensor, arrays: list[tf.TensorArray]) -> tuple[tf.Tensor, list[tf.TensorArray]]:
            values = tf.nest.flatten(one(*[leaf[index] for leaf in leaves]))
            return index + 1, [array.write(index, value) for array, value in zip(arrays, values, strict=True)]

        _, results = tf.while_loop(lambda index, _: index < num_updates, body, (0, results), parallel_iterations=1)
        found = [array.stack() for array in results]
        means = [
            tf.reduce_mean(value) if value.shape.rank == 1 and value.dtype.is_floating else value for value in found
        ]
        return tf.nest.pack_sequence_as(one.structured_outputs, means)

    def named_variables(self) -> list[NamedVariable]:
        """Returns everything that a checkpoint has to hold, each variable once and by its path."""
        optimizers = {name: item for name, item in vars(self).items() if isinstance(item, keras.optimizers.Optimizer)}
        found = named_variables(self, with_seeds=True)
        seen = {id(item.variable) for item in found}
        for name, optimizer in sorted(optimizers.items()):
            for index, variable in enumerate(optimizer.variables):
                if id(variable.value) not in seen:
                    found.append(NamedVariable(f"{name.lstrip('_')}/{index}", variable.value))
        return found

    def _mark_acting(self) -> None:
        # Before the first training, some variables of a user's own policy may be missing.
        known = self._self_acting_variables
        mark_updated(self._collect_policy.variables() if known is None else known)

    def _acting_variables(self) -> Sequence[tf.Variable]:
        # Looked up once: a search through the policy's layers takes half a millisecond.
        if self._self_acting_variables is None:
            object.__setattr__(self, "_self_acting_variables", list(self._collect_policy.variables()))
        return self._self_acting_variables

    def _default_weights(self, experience: Any) -> Any:
        """Returns what each step counts if the caller does not say it."""
        return step_weights(experience)

    def _initialize(self) -> None:
        """Prepares the subclass; does nothing by default."""

    def _explore(self, progress: float, has_begun: bool) -> None:
        """Sets how much the collect policy explores; see :meth:`explore`. Does nothing by default."""

    def _train(self, experience: Trajectory, weights: tf.Tensor) -> LossInfo:
        """Learns from a batch of tensors; see :meth:`train`. Override it."""
        raise NotImplementedError(f"{type(self).__name__} must define _train(experience, weights)")

    def _loss(self, experience: Any, weights: tf.Tensor, training: bool = False) -> LossInfo:
        """Returns the loss of a batch of tensors; see :meth:`loss`. Override it."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own; its train returns the losses")

    def _preprocess_sequence(self, experience: Any) -> Any:
        """See :meth:`preprocess_sequence`."""
        return experience


def _summarize(info: LossInfo, step: Any) -> None:
    """Writes summaries of the loss, and of what are scalars among the other figures."""
    extra = info.extra._asdict() if hasattr(info.extra, "_asdict") else info.extra
    figures = extra if isinstance(extra, Mapping) else {}
    scalars = {name: value for name, value in figures.items() if not tf.nest.is_nested(value) and value.shape.rank == 0}
    summarize_scalar_dict({"loss": info.loss, **scalars}, step)


def _in_memory_order(stacked: Any) -> tuple[Any, tuple[int, ...] | None]:
    """Returns an array ``[K, ...]`` with its dimensions in the order of the memory.

    Args:
        stacked: An array or a tensor.

    Returns:
        The array, and the dimensions by which its K parts are transposed back. The array itself and None if there is
        nothing to transpose, or if the array would have to be copied anyway.
    """
    if not isinstance(stacked, np.ndarray) or stacked.flags.c_contiguous:
        return stacked, None
    order = sorted(range(stacked.ndim), key=lambda axis: -stacked.strides[axis])
    moved = stacked.transpose(order)
    if order[0] != 0 or not moved.flags.c_contiguous:
        return stacked, None
    return moved, tuple(order.index(axis) - 1 for axis in range(1, stacked.ndim))


def step_weights(experience: Trajectory) -> Any:
    """Returns 1 for each transition of the task and 0 where one leads from LAST to FIRST: float32 ``[B, T]``."""
    return tf.cast(tf.logical_not(experience.is_boundary()), tf.float32)
