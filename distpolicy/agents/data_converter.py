"""Converters of experience to what agents learn from, with TF-Agents' names."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition, to_n_step_transition, to_transition
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from distpolicy.utils.nests.checks import is_batched_nested_tensors
from distpolicy.utils.nests.pruning import prune_extra_keys


class DataContext(tf.Module):
    """The specs that converters check data by.

    Args:
        time_step_spec: A TimeStep of tensor specs.
        action_spec: Nest of tensor specs.
        info_spec: Nest of tensor specs of the collect policy's info.
        policy_state_spec: Nest of tensor specs of the policy's state, if transitions hold it.
        use_half_transition: Whether next time steps have a scalar in place of the observation.

    Raises:
        TypeError: If a spec is not a tensor spec.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        info_spec: Any,
        policy_state_spec: Any = (),
        use_half_transition: bool = False,
    ) -> None:
        super().__init__()
        given = {"time_step_spec": time_step_spec, "action_spec": action_spec, "info_spec": info_spec}
        for name, spec in given.items():
            for path, leaf in zip(paths(spec), flatten(spec), strict=True):
                if not isinstance(leaf, tf.TypeSpec):
                    raise TypeError(f"{name}{path} must be a tensor spec, but is {leaf!r}")
        trajectory_spec = Trajectory(
            time_step_spec.step_type,
            time_step_spec.observation,
            action_spec,
            info_spec,
            time_step_spec.step_type,
            time_step_spec.reward,
            time_step_spec.discount,
        )
        next_spec = time_step_spec
        if use_half_transition:
            next_spec = next_spec._replace(observation=tensor_spec.TensorSpec((), tf.float32, "observation"))
        step_spec = PolicyStep(action_spec, policy_state_spec, info_spec)
        # Avoids tf.Module's tracking, which would wrap lists and dicts.
        object.__setattr__(self, "_trajectory_spec", trajectory_spec)
        object.__setattr__(self, "_transition_spec", Transition(time_step_spec, step_spec, next_spec))

    @property
    def time_step_spec(self) -> TimeStep:
        """A TimeStep of specs."""
        return self._transition_spec.time_step

    @property
    def action_spec(self) -> Any:
        """Nest of specs of one action."""
        return self._transition_spec.action_step.action

    @property
    def info_spec(self) -> Any:
        """Nest of specs of the policy's info."""
        return self._transition_spec.action_step.info

    @property
    def policy_state_spec(self) -> Any:
        """Nest of specs of the policy's state."""
        return self._transition_spec.action_step.state

    @property
    def trajectory_spec(self) -> Trajectory:
        """A Trajectory of specs."""
        return self._trajectory_spec

    @property
    def transition_spec(self) -> Transition:
        """A Transition of specs."""
        return self._transition_spec


class _Converter(tf.Module, abc.ABC):
    """Checks data, converts it, and drops entries of dicts that the specs do not have."""

    def __init__(self, data_context: DataContext) -> None:
        super().__init__()
        self._data_context = data_context

    @abc.abstractmethod
    def __call__(self, value: Any) -> Any:
        """Returns the converted data.

        Args:
            value: A Trajectory or a Transition of tensors.

        Raises:
            TypeError: If it is neither.
            ValueError: If its structure or its outer dimensions do not match.
        """

    def _checked_trajectory(self, value: Trajectory, num_steps: int | None, num_outer_dims: int = 2) -> None:
        _check(value, self._data_context.trajectory_spec, num_outer_dims)
        if num_steps is not None and value.discount.shape[1] != num_steps:
            raise ValueError(f"sequences must have {num_steps} steps, but have {value.discount.shape[1]}")

    def _checked_transition(self, value: Transition, num_outer_dims: int) -> Transition:
        spec, state = self._data_context.transition_spec, value.action_step.state
        if flatten(state):
            # The state has no time dimension.
            _check(state, spec.action_step.state, 1)
        else:
            spec = spec._replace(action_step=spec.action_step._replace(state=()))
        bare_value, bare_spec = (
            item._replace(action_step=item.action_step._replace(state=())) for item in (value, spec)
        )
        _check(bare_value, bare_spec, num_outer_dims)
        return prune_extra_keys(spec, value)


class AsTrajectory(_Converter):
    """Makes Trajectories.

    Args:
        data_context: The specs, usually ``agent.data_context``.
        sequence_length: T; None for any.
        num_outer_dims: 2 for ``[B, T, ...]``, 1 for ``[B, ...]``.
    """

    def __init__(self, data_context: DataContext, sequence_length: int | None = None, num_outer_dims: int = 2) -> None:
        super().__init__(data_context)
        self._sequence_length, self._num_outer_dims = sequence_length, num_outer_dims

    def __call__(self, value: Any) -> Trajectory:
        """See the base class."""
        if isinstance(value, Transition):
            now, step, after = value
            value = Trajectory(
                now.step_type,
                now.observation,
                step.action,
                step.info,
                after.step_type,
                after.reward,
                after.discount,
            )
        elif not isinstance(value, Trajectory):
            raise _unknown(value)
        self._checked_trajectory(value, self._sequence_length, self._num_outer_dims)
        return prune_extra_keys(self._data_context.trajectory_spec, value)


class AsTransition(_Converter):
    """Makes Transitions between the steps of a Trajectory.

    Args:
        data_context: The specs, usually ``agent.data_context``.
        squeeze_time_dim: Whether Trajectories have 2 steps, and Transitions are ``[B, ...]`` instead of
            ``[B, T - 1, ...]``.
        prepend_t0_to_next_time_step: Whether the next observations begin with the first one: ``[B, T, ...]``.
    """

    def __init__(
        self, data_context: DataContext, squeeze_time_dim: bool = False, prepend_t0_to_next_time_step: bool = False
    ) -> None:
        super().__init__(data_context)
        self._squeeze_time_dim, self._prepend_t0 = squeeze_time_dim, prepend_t0_to_next_time_step

    def __call__(self, value: Any) -> Transition:
        """See the base class."""
        if isinstance(value, Trajectory):
            self._checked_trajectory(value, 2 if self._squeeze_time_dim else None)
            value = to_transition(value)
            if self._squeeze_time_dim:
                value = _squeezed(value)
        value = self._checked_transition(_transition(value), 1 if self._squeeze_time_dim else 2)
        if not self._prepend_t0:
            return value
        observation = map_structure(
            lambda now, after: tf.concat([now[:, :1], after], axis=1),
            value.time_step.observation,
            value.next_time_step.observation,
        )
        return value._replace(next_time_step=value.next_time_step._replace(observation=observation))


class AsHalfTransition(_Converter):
    """Makes Transitions of single steps, whose next observations are zeros.

    Args:
        data_context: The specs, with ``use_half_transition``.
        squeeze_time_dim: Whether Trajectories have 1 step, and Transitions are ``[B, ...]`` instead of ``[B, T, ...]``.
    """

    def __init__(self, data_context: DataContext, squeeze_time_dim: bool = False) -> None:
        super().__init__(data_context)
        self._squeeze_time_dim = squeeze_time_dim

    def __call__(self, value: Any) -> Transition:
        """See the base class."""
        if isinstance(value, Trajectory):
            self._checked_trajectory(value, 1 if self._squeeze_time_dim else None)
            if self._squeeze_time_dim:
                value = _squeezed(value)
            reward, discount = map_structure(tf.zeros_like, (value.reward, value.discount))
            value = Transition(
                TimeStep(value.step_type, reward, discount, value.observation),
                PolicyStep(value.action, (), value.policy_info),
                TimeStep(value.next_step_type, value.reward, value.discount, tf.zeros_like(value.discount)),
            )
        return self._checked_transition(_transition(value), 1 if self._squeeze_time_dim else 2)


class AsNStepTransition(_Converter):
    """Makes Transitions ``[B, ...]`` over several steps; see :func:`to_n_step_transition`.

    Args:
        data_context: The specs, usually ``agent.data_context``.
        gamma: The discount factor.
        n: Steps of a Transition: Trajectories must have ``n + 1``. None for any number.
    """

    def __init__(self, data_context: DataContext, gamma: Any, n: int | None = None) -> None:
        super().__init__(data_context)
        self._gamma, self._n = gamma, n

    def __call__(self, value: Any) -> Transition:
        """See the base class."""
        if isinstance(value, Trajectory):
            self._checked_trajectory(value, None if self._n is None else self._n + 1)
            value = to_n_step_transition(value, self._gamma)
        return self._checked_transition(_transition(value), 1)


def _transition(value: Any) -> Transition:
    """Returns a Transition of this package's types from any namedtuples with its fields."""
    if getattr(value, "_fields", None) != Transition._fields:
        raise _unknown(value)
    return Transition(TimeStep(*value.time_step), PolicyStep(*value.action_step), TimeStep(*value.next_time_step))


def _squeezed(value: Any) -> Any:
    return map_structure(lambda leaf: leaf[:, 0], value)


def _check(value: Any, spec: Any, num_outer_dims: int) -> None:
    if not is_batched_nested_tensors(value, spec, num_outer_dims=num_outer_dims, allow_extra_fields=True):
        found = map_structure(lambda leaf: leaf.shape, value)
        outer = "[B, T]" if num_outer_dims == 2 else "[B]"
        raise ValueError(f"every tensor must have the outer dimensions {outer}, but the shapes are {found}")


def _unknown(value: Any) -> TypeError:
    return TypeError(f"a data converter takes a Trajectory or a Transition, not {type(value).__name__}")
