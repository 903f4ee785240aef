"""RandomPyPolicy: actions drawn uniformly within their bounds, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.seeded_draws import row_choice, seeded_draws
from distpolicy.policies.splitting import split_observation
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec, is_discrete
from distpolicy.specs.uniform_draw import sampling_bounds
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure
from distpolicy.utils.sampling.array_draws import array_seed, row_seeds

_Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
# Numbers that are drawn at a time by prepare_seeds: their arrays stay in the CPU's second cache.
_BLOCK = 8192


class PreparedStep(NamedTuple):
    """The seeds of a call with what is drawn from them.

    Attributes:
        seed: int32 ``[B, 2]``.
        action: Nest of arrays ``[B, ...]``.
        info: Nest of arrays ``[B, ...]``.
    """

    seed: np.ndarray
    action: Any
    info: Any


class RandomPyPolicy(PyPolicy):
    """Draws actions uniformly between their bounds, both included, or from the actions that a mask allows.

    The policy draws actions, then the info, from one random stream. A call of :meth:`action` with a ``seed`` draws from
    that seed alone and does not advance the stream. With seeds int32 ``[B, 2]`` each row of a batch draws from its own.
    The state passes through unchanged.

    Args:
        time_step_spec: A TimeStep of specs, or None for observations of any shape.
        action_spec: Nest of specs. Floats without bounds are drawn from an eighth of their dtype's range, as in
            RandomTFPolicy.
        policy_state_spec: Nest of specs.
        info_spec: Nest of specs.
        seed: Seed of the stream, anything that ``np.random.default_rng`` takes; None for one from the system.
        outer_dims: Dimensions before each action's shape. None takes the outer dimensions of the observation's first
            leaf, or ``()`` without a ``time_step_spec``.
        observation_and_action_constraint_splitter: Function from an observation to a pair; its second item is a mask
            ``[..., num_actions]``, not 0 where an action is allowed. For one discrete action of shape () or (1,).

    Raises:
        NotImplementedError: If there is a splitter, but not one discrete action of shape () or (1,).
        ValueError: If a spec has an open dimension; when the policy acts, if the width of a mask is not the number of
            actions, or a mask allows no action in a row. The message names the row.
    """

    def __init__(
        self,
        time_step_spec: TimeStep | None,
        action_spec: Any,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        seed: Any = None,
        outer_dims: Sequence[int] | None = None,
        observation_and_action_constraint_splitter: Any = None,
    ) -> None:
        super().__init__(
            time_step_spec, action_spec, policy_state_spec, info_spec, observation_and_action_constraint_splitter
        )
        self._rng = np.random.default_rng(seed)
        self._outer_dims = None if outer_dims is None else tuple(int(size) for size in outer_dims)
        observation_specs = flatten(self._time_step_spec.observation)
        self._observation_rank = len(observation_specs[0].shape) if observation_specs else None
        # The draws are set up once, since the policy acts at every step of an environment.
        self._action_draws = map_structure(_draw_of, self._action_spec)
        self._info_draws = map_structure(_draw_of, self._info_spec)
        self._seeded_draws = seeded_draws((self._action_spec, self._info_spec))
        self._has_one_action = isinstance(self._action_spec, ArraySpec)
        if observation_and_action_constraint_splitter is not None:
            self._masked_spec = _maskable(self._action_spec)

    def prepare_seeds(self, seeds: np.ndarray) -> Any:
        """Draws the actions of the next T calls at once, which takes a tenth of the time.

        Args:
            seeds: int32 ``[T, B, 2]``.

        Returns:
            T seeds for :meth:`action`. They are unchanged if a mask has a say.
        """
        if self._splitter is not None or self._outer_dims is not None or self._observation_rank is None:
            return seeds
        sizes = [int(np.prod(spec.shape)) for spec in flatten((self._action_spec, self._info_spec))]
        num_steps = max(1, _BLOCK // max(1, seeds.shape[1] * max(sizes, default=1)))
        prepared: list[PreparedStep] = []
        for first in range(0, len(seeds), num_steps):
            part = seeds[first : first + num_steps]
            rows, outer = part.reshape(-1, 2), part.shape[:2]
            drawn = map_structure(lambda draw, rows=rows, outer=outer: draw(rows, outer), self._seeded_draws)
            for t, seed in enumerate(part):
                prepared.append(PreparedStep(seed, *map_structure(lambda leaf, t=t: leaf[t], drawn)))
        return prepared

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        if isinstance(seed, PreparedStep):
            if time_step.step_type.shape == seed.seed.shape[:1]:
                return PolicyStep(seed.action, policy_state, seed.info)
            seed = seed.seed
        outer = self._outer_shape(time_step)
        if seed is not None:
            return self._seeded(time_step, policy_state, array_seed(seed), outer)
        rng = self._rng
        action: Any
        if self._splitter is not None:
            mask = self._mask(time_step, outer)
            action = self._choose(mask, rng.random(mask.shape[:-1]))
        elif self._has_one_action:
            action = self._action_draws(rng, outer)
        else:
            action = map_structure(lambda draw: draw(rng, outer), self._action_draws)
        info = map_structure(lambda draw: draw(rng, outer), self._info_draws) if self._info_spec != () else ()
        return PolicyStep(action, policy_state, info)

    def _seeded(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray, outer: tuple[int, ...]) -> PolicyStep:
        """Returns a step drawn from a stateless seed ``[2]``, or from one for each row."""
        mask = None if self._splitter is None else self._mask(time_step, outer)
        if mask is not None:
            outer = mask.shape[:-1]
        num_rows = int(np.prod(outer))
        if seed.ndim == 2 and outer[:1] != seed.shape[:1]:
            raise ConfigError(f"seed has shape {seed.shape}, but the batch has {outer}; pass a seed for each row")
        if seed.ndim == 1:
            rows = row_seeds(seed, num_rows) if outer else seed[np.newaxis]
        else:
            # The seeds of a row's steps follow from the row's seed.
            steps = (
                row_seeds(np.zeros(2, np.int32), num_rows // len(seed))
                if len(outer) > 1
                else np.zeros((1, 2), np.int32)
            )
            rows = (seed[:, np.newaxis] + steps).reshape(-1, 2)
        action, info = map_structure(lambda draw: draw(rows, outer), self._seeded_draws)
        if mask is not None:
            action = self._choose(mask, row_choice(rows).reshape(outer))
        return PolicyStep(action, policy_state, info)

    def _outer_shape(self, time_step: TimeStep) -> tuple[int, ...]:
        if self._outer_dims is not None:
            return self._outer_dims
        if self._observation_rank is None:
            # Without a leaf in the observation; without specs there is no batch.
            return () if self._time_step_spec.step_type == () else np.shape(time_step.step_type)
        leaf = time_step.observation
        while isinstance(leaf, dict | tuple | list):
            leaf = flatten(leaf)[0]
        shape = np.shape(leaf)
        return shape[: len(shape) - self._observation_rank]

    def _mask(self, time_step: TimeStep, outer: tuple[int, ...]) -> np.ndarray:
        """Returns a mask that is True where an action is allowed: bool ``[*outer, num_actions]``."""
        spec = self._masked_spec
        num_actions = int(spec.maximum.item()) - int(spec.minimum.item()) + 1
        mask = np.asarray(split_observation(self._splitter, time_step.observation)[1]) != 0
        if mask.shape[-1:] != (num_actions,):
            raise SpecMismatchError(
                f"action_spec has {num_actions} actions, but the mask has shape {mask.shape}; make its last dimension "
                f"{num_actions}"
            )
        return mask if self._outer_dims is None else np.broadcast_to(mask, (*outer, num_actions))

    def _choose(self, mask: np.ndarray, uniform: np.ndarray) -> Any:
        """Chooses one of the allowed actions for each row by a number in [0, 1)."""
        rank = mask.cumsum(axis=-1)
        count = rank[..., -1]
        if not count.all():
            row = np.argwhere(count == 0)[0].tolist()
            raise ConfigError(f"the mask of row {row} allows no action; allow at least one in every row")
        wanted = np.minimum((uniform * count).astype(np.int64), count - 1)
        index = np.argmax(rank > wanted[..., np.newaxis], axis=-1)
        spec = self._masked_spec
        action = (index + spec.minimum.item()).astype(spec.dtype).reshape(mask.shape[:-1] + spec.shape)
        return map_structure(lambda _: np.asarray(action), self._action_spec)


def _draw_of(spec: ArraySpec) -> _Draw:
    """Returns a function that draws a spec's values, given a generator and outer dimensions."""
    shape = tuple(size for size in spec.shape if size is not None)
    if len(shape) != len(spec.shape):
        raise SpecMismatchError(f"cannot draw from spec {spec.name!r} of shape {spec.shape}; give all its dimensions")
    if spec.dtype == np.bool_:
        return lambda rng, outer: rng.random(outer + shape) < 0.5
    bounded = spec if isinstance(spec, BoundedArraySpec) else BoundedArraySpec(shape, spec.dtype)
    if np.issubdtype(spec.dtype, np.floating):
        low, high = sampling_bounds(bounded.minimum, bounded.maximum, float(np.finfo(spec.dtype).max))
        bounded = BoundedArraySpec(shape, spec.dtype, low, high)
    draw = bounded.uniform_draw
    return lambda rng, outer: np.asarray(draw(rng, outer + shape))


def _maskable(action_spec: Any) -> BoundedArraySpec:
    leaves = flatten(action_spec)
    if not (
        len(leaves) == 1
        and isinstance(leaves[0], BoundedArraySpec)
        and is_discrete(leaves[0])
        and leaves[0].shape in ((), (1,))
    ):
        raise NotImplementedError(
            f"RandomPyPolicy masks one bounded discrete action of shape () or (1,), but action_spec is {action_spec}"
        )
    return leaves[0]
