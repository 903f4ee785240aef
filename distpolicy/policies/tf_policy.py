"""TFPolicy: the base of policies over tensors, with TF-Agents' interface."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.distributions.draws import log_prob, sample
from distpolicy.policies.policy_updates import PolicyUpdates
from distpolicy.specs import tensor_spec
from distpolicy.trajectories import policy_step as ps
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nest_utils import assert_matches_spec, prune_extra_keys
from distpolicy.utils.nests.array_nest import flatten, paths
from distpolicy.utils.sampling.tensor_draws import row_seeds, stateless_seed
from distpolicy.utils.variables.module_variables import NamedVariable, named_variables

# These check, reset and clip around the hooks that subclasses define.
_PUBLIC = frozenset({"action", "distribution", "get_initial_state", "update", "variables"})


class TFPolicy(tf.Module):
    """Maps time steps to actions, or to distributions over them.

    A policy is pure: it holds variables but no recurrent state. The caller keeps the state and passes the one that the
    last call returned. The policy resets the state where a time step is FIRST, before it acts.

    Args:
        time_step_spec: A TimeStep of specs, without batch dimensions.
        action_spec: Nest of bounded specs.
        policy_state_spec: Nest of specs; ``()`` for none.
        info_spec: Nest of specs; ``()`` for none.
        clip: Whether actions are clipped to their bounds before they are returned.
        emit_log_probability: Whether the info holds the log-probability of the action as drawn, before clipping.
        automatic_state_reset: Whether the state is reset where the time step is FIRST.
        observation_and_action_constraint_splitter: Function from an observation to the network's input and a mask of
            actions; None for no masks.
        validate_args: Whether inputs and outputs are checked against the specs.
        name: Name of the module; the class's by default.

    Raises:
        ValueError: If ``time_step_spec`` is not a TimeStep, or the class overrides a public method.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        clip: bool = True,
        emit_log_probability: bool = False,
        automatic_state_reset: bool = True,
        observation_and_action_constraint_splitter: Any = None,
        validate_args: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        overridden = sorted(_PUBLIC & vars(type(self)).keys())
        if overridden and type(self) is not TFPolicy:
            raise ValueError(
                f"{type(self).__name__} overrides {', '.join(overridden)}; "
                "define _action, _distribution or _get_initial_state instead"
            )
        if not isinstance(time_step_spec, TimeStep):
            raise ValueError(f"time_step_spec must be a TimeStep of specs, not {type(time_step_spec).__name__}")
        action_spec = tensor_spec.from_spec(action_spec)
        info_spec = tensor_spec.from_spec(info_spec)
        if emit_log_probability:
            log_probability_spec = tf.nest.map_structure(
                lambda _: tensor_spec.TensorSpec((), tf.float32, ps.CommonFields.LOG_PROBABILITY), action_spec
            )
            info_spec = ps.set_log_probability(info_spec, log_probability_spec)
        step_spec = PolicyStep(action_spec, tensor_spec.from_spec(policy_state_spec), info_spec)
        # Avoids tf.Module's tracking, which would wrap the user's lists and dicts.
        object.__setattr__(self, "_time_step_spec", tensor_spec.from_spec(time_step_spec))
        object.__setattr__(self, "_policy_step_spec", step_spec)
        object.__setattr__(self, "_splitter", observation_and_action_constraint_splitter)
        self._clip = clip
        self._emit_log_probability = emit_log_probability
        self._automatic_state_reset = automatic_state_reset
        self._validate_args = validate_args

    @property
    def time_step_spec(self) -> TimeStep:
        """Specs of one time step."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """Specs of one action."""
        return self._policy_step_spec.action

    @property
    def policy_state_spec(self) -> Any:
        """Specs of the recurrent state."""
        return self._policy_step_spec.state

    @property
    def info_spec(self) -> Any:
        """Specs of the info."""
        return self._policy_step_spec.info

    @property
    def policy_step_spec(self) -> PolicyStep:
        """Specs of what :meth:`action` returns."""
        return self._policy_step_spec

    @property
    def trajectory_spec(self) -> Trajectory:
        """Specs of the transitions that this policy and an environment make."""
        step = self._time_step_spec
        return Trajectory(
            step.step_type,
            step.observation,
            self.action_spec,
            self.info_spec,
            step.step_type,
            step.reward,
            step.discount,
        )

    @property
    def collect_data_spec(self) -> Trajectory:
        """The same as :attr:`trajectory_spec`."""
        return self.trajectory_spec

    @property
    def emit_log_probability(self) -> bool:
        """Whether the info holds log-probabilities."""
        return self._emit_log_probability

    @property
    def validate_args(self) -> bool:
        """Whether inputs and outputs are checked."""
        return self._validate_args

    @property
    def observation_and_action_constraint_splitter(self) -> Any:
        """Function from an observation to the network's input and a mask of actions, or None."""
        return self._splitter

    def named_variables(self) -> list[NamedVariable]:
        """Returns every variable with its path, trainable or not, each once, in a stable order."""
        return named_variables(self)

    def variables(self) -> tuple[tf.Variable, ...]:  # a method, as in TF-Agents
        """Returns every tf.Variable of the policy, trainable or not, each once, in a stable order."""
        return tuple(item.variable for item in self.named_variables())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that are trained."""
        return tuple(variable for variable in self.variables() if variable.trainable)

    def get_initial_state(self, batch_size: Any) -> Any:
        """Returns the state before an episode: ``[batch_size, ...]``, or ``[...]`` if ``batch_size`` is None."""
        return self._get_initial_state(batch_size)

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """Returns the action for a time step.

        Args:
            time_step: Nest of ``[B, ...]`` tensors like ``time_step_spec``.
            policy_state: The state that the last call returned, or the initial one.
            seed: None, an int, a stateless seed int32 ``[2]``, or one for each row, int32 ``[B, 2]``.

        Returns:
            The action, the next state and the info.

        Raises:
            RuntimeError: If a subclass did not call ``super().__init__``.
            ValueError: If a stateful policy gets no state. With ``validate_args``, also if the structure or shape of an
                input or output does not match its spec.
            TypeError: With ``validate_args``, if a dtype or container type does not match.
        """
        time_step, policy_state, num_outer_dims = self._checked(time_step, policy_state)
        step = self._action(time_step, policy_state, _seed_tensor(seed, time_step))
        if self._validate_args:
            # Before clipping, which casts: an action of another dtype is an error of the policy.
            self._check_output(step, num_outer_dims)
        if self._clip:
            clipped = tf.nest.map_structure(_clip_to_spec, step.action, self.action_spec)
            step = step._replace(action=clipped)
        return step

    def _check_output(self, step: PolicyStep, num_outer_dims: int) -> None:
        name = self.name
        assert_matches_spec(step.action, self.action_spec, f"{name}: action", num_outer_dims)
        # The state has no time dimension.
        assert_matches_spec(step.state, self.policy_state_spec, f"{name}: policy_state", min(num_outer_dims, 1))
        assert_matches_spec(step.info, self.info_spec, f"{name}: info", num_outer_dims)

    def distribution(self, time_step: TimeStep, policy_state: Any = ()) -> PolicyStep:
        """Returns the distribution over actions for a time step.

        Args:
            time_step: Nest of ``[B, ...]`` tensors like ``time_step_spec``.
            policy_state: The state that the last call returned, or the initial one.

        Returns:
            A PolicyStep: a nest of TFP distributions as the action, the next state and the info.

        Raises:
            RuntimeError: If a subclass did not call ``super().__init__``.
            ValueError: If a stateful policy gets no state. With ``validate_args``, also if the structure or shape of an
                input does not match its spec.
            TypeError: With ``validate_args``, if a dtype or container type does not match.
        """
        time_step, policy_state, _ = self._checked(time_step, policy_state)
        step = self._distribution(time_step, policy_state)
        if self._validate_args:
            _assert_same_leaves(step.action, self.action_spec, f"{self.name}: distribution")
        if self._emit_log_probability:
            # No action has been drawn. Zeros take the log-probability's place, so that the info matches its spec.
            zeros = tf.zeros(tf.shape(time_step.step_type))
            nest = tf.nest.map_structure(lambda _: zeros, self.action_spec)
            step = step._replace(info=ps.set_log_probability(step.info, nest))
        return step

    def update(
        self,
        policy: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """Moves this policy's variables towards another policy's: ``(1 - tau) * own + tau * other``.

        Both policies' variables must exist already. A policy creates its network's variables in its constructor.

        Args:
            policy: A policy, or ``Weights``.
            tau: Share for trainable variables, in [0, 1]; 1 copies.
            tau_non_trainable: Share for the other variables; None for ``tau``. Integer variables are copied unless it
                is 0.
            sort_variables_by_name: Pairs variables by the natural order of their paths instead of by position.

        Raises:
            ValueError: If a tau is NaN or outside [0, 1], or the variables do not match. Nothing has changed then.
        """
        updates = self.__dict__.get("_updates")
        if updates is None:
            updates = PolicyUpdates(self)
            object.__setattr__(self, "_updates", updates)
        updates(policy, tau, tau_non_trainable, sort_variables_by_name)

    def _checked(self, time_step: TimeStep, policy_state: Any) -> tuple[TimeStep, Any, int]:
        """Checks the inputs, and resets the state where the time step is FIRST.

        Returns:
            The time step without keys that its spec lacks, the state, and the number of outer dimensions.
        """
        if "_policy_step_spec" not in self.__dict__:
            raise RuntimeError(f"{type(self).__name__}.__init__ did not call super().__init__")
        has_state = bool(tf.nest.flatten(self.policy_state_spec))
        if has_state and (policy_state is None or not tf.nest.flatten(policy_state)):
            raise ValueError(
                f"{self.name} is stateful; pass the state that the last call returned, or get_initial_state(batch_size)"
            )
        if not has_state:
            policy_state = self.policy_state_spec
        num_outer_dims = len(time_step.step_type.shape) if isinstance(time_step, TimeStep) else 0
        if self._validate_args:
            time_step = prune_extra_keys(self._time_step_spec, time_step)
            policy_state = prune_extra_keys(self.policy_state_spec, policy_state)
            num_outer_dims = assert_matches_spec(time_step, self._time_step_spec, f"{self.name}: time_step")
            where = f"{self.name}: policy_state"
            assert_matches_spec(policy_state, self.policy_state_spec, where, min(num_outer_dims, 1))
        if has_state and self._automatic_state_reset:
            policy_state = self._reset_where_first(time_step, policy_state)
        return time_step, policy_state, num_outer_dims

    def _reset_where_first(self, time_step: TimeStep, policy_state: Any) -> Any:
        is_first = tf.convert_to_tensor(time_step.is_first())
        if is_first.shape.rank > 1:
            # The state belongs to the first of T steps. The network resets it at later ones, inside its unroll.
            is_first = is_first[:, 0]
        initial = self.get_initial_state(None if is_first.shape.rank == 0 else tf.shape(is_first)[0])

        def reset(fresh: tf.Tensor, carried: tf.Tensor) -> tf.Tensor:
            mask = is_first
            while mask.shape.rank < fresh.shape.rank:
                mask = mask[..., tf.newaxis]
            return tf.where(mask, fresh, carried)

        return tf.nest.map_structure(reset, initial, policy_state)

    def _get_initial_state(self, batch_size: Any) -> Any:
        return tensor_spec.zero_spec_nest(self.policy_state_spec, None if batch_size is None else [batch_size])

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        """Draws from :meth:`_distribution`. A subclass without a distribution overrides this."""
        step = self._distribution(time_step, policy_state)
        distributions = flatten(step.action)
        actions = [sample(item, leaf_seed(seed, index)) for index, item in enumerate(distributions)]
        action = tf.nest.pack_sequence_as(self.action_spec, actions)
        info = step.info
        if self._emit_log_probability:
            # The action is clipped only later, so that this is the density of the policy's own distribution.
            log_probabilities = [
                tf.cast(log_prob(item, drawn), tf.float32) for item, drawn in zip(distributions, actions, strict=True)
            ]
            info = ps.set_log_probability(info, tf.nest.pack_sequence_as(self.action_spec, log_probabilities))
        return PolicyStep(action, step.state, info)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        """Returns the distribution over actions. A subclass without one overrides :meth:`_action` instead."""
        raise NotImplementedError(f"{type(self).__name__} does not have a distribution; call action()")


def _seed_tensor(seed: Any, time_step: TimeStep) -> tf.Tensor | None:
    """Returns the seed as int32 ``[B, 2]`` for a batch of B, so that a row draws the same in every engine."""
    if seed is None:
        return None
    seed = tf.convert_to_tensor(stateless_seed(seed))
    if seed.shape.rank == 1 and len(time_step.step_type.shape) == 1:
        return row_seeds(seed, tf.shape(time_step.step_type)[0])
    return seed


def _assert_same_leaves(value: Any, spec: Any, what: str) -> None:
    # tf.nest would look into distributions that are composite tensors.
    if paths(value) != paths(spec):
        raise ValueError(f"{what}: expected the leaves {paths(spec)}, got {paths(value)}")


def leaf_seed(seed: tf.Tensor | None, index: int) -> tf.Tensor | None:
    """Returns the seed for the action at ``index`` of a nest; action 0 takes the seed unchanged."""
    if seed is None or index == 0:
        return seed
    # Steps are counted in the first word, so the index goes into the second.
    return seed + tf.constant([0, index], seed.dtype)


def _clip_to_spec(action: tf.Tensor, spec: Any) -> tf.Tensor:
    if not tensor_spec.is_bounded(spec):
        return action
    # Some engines cannot compare small integers.
    dtype = tf.int32 if spec.dtype.is_integer and spec.dtype.size < 4 else spec.dtype
    action, low, high = tf.cast(action, dtype), tf.cast(spec.minimum, dtype), tf.cast(spec.maximum, dtype)
    if dtype.is_integer:
        # The converter to LiteRT takes clip_by_value(action, 0, 6) for ReLU6, which LiteRT has for floats only.
        clipped = tf.where(action < low, low, tf.where(action > high, high, action))
    else:
        clipped = tf.clip_by_value(action, low, high)
    return tf.cast(clipped, spec.dtype)
