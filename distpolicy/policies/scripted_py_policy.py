"""ScriptedPyPolicy: a policy that plays a fixed list of actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.specs.array_spec import ArraySpec, is_continuous
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure, paths


class ScriptedPyPolicy(PyPolicy):
    """Plays a script of actions in one environment or a batch. Each row has its own place in the script.

    The state is ``[place, repeats]``, int32 ``[]`` or ``[B]`` each: the place in the script, and how often the action
    at that place has been taken.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs.
        action_script: Pairs ``(n, action)``. Each action, a nest like ``action_spec``, is taken n times. Pairs with
            ``n <= 0`` are skipped.

    Raises:
        ValueError: If an action does not match its spec; the message names the place and the leaf. When the policy
            acts, if the state is missing or the script has ended.
    """

    def __init__(self, time_step_spec: TimeStep, action_spec: Any, action_script: Sequence[tuple[int, Any]]) -> None:
        counter = ArraySpec((), np.int32)
        super().__init__(time_step_spec, action_spec, policy_state_spec=[counter, counter])
        # How often the action at each place is taken. The extra entry at the end saves a bounds check.
        self._repeats = np.array([max(n, 0) for n, _ in action_script] + [1])
        places = np.flatnonzero(self._repeats)
        self._next_place = places[np.searchsorted(places, np.arange(len(self._repeats) + 1)).clip(max=len(places) - 1)]
        self._actions = [
            _checked_action(action, self._action_spec, place) if n > 0 else None
            for place, (n, action) in enumerate(action_script)
        ]

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        if not isinstance(policy_state, list | tuple) or len(policy_state) != 2:
            raise ConfigError(
                "ScriptedPyPolicy needs its state; pass the one that the last call returned, or get_initial_state()"
            )
        place, taken = np.asarray(policy_state[0], np.int32), np.asarray(policy_state[1], np.int32)
        done = taken >= self._repeats[place]
        place = np.where(done, self._next_place[place + 1], place).astype(np.int32)
        if np.any(place >= len(self._actions)):
            raise ConfigError(
                f"the script ended after {int(self._repeats[:-1].sum())} steps, but the episode goes on; make the "
                f"script longer, or the environment's episodes shorter"
            )
        state = [place, np.where(done, 1, taken + 1).astype(np.int32)]
        if place.ndim == 0:
            return PolicyStep(map_structure(np.copy, self._actions[int(place)]), state, ())
        rows = [self._actions[row] for row in place.ravel()]
        action = map_structure(lambda *leaves: np.stack(leaves).reshape(place.shape + leaves[0].shape), *rows)
        return PolicyStep(action, state, ())


def _checked_action(action: Any, spec: Any, place: int, path: str = "") -> Any:
    """Returns the action as arrays of the spec's dtypes. Whatever is at a leaf of the spec is taken as an array."""
    where = f"action_script[{place}]{path}"
    if isinstance(spec, ArraySpec):
        try:
            cast = np.asarray(action).astype(spec.dtype)
            # Floats may be rounded to the spec's dtype; integers must fit exactly.
            fits = spec.check_array(cast) and (is_continuous(spec) or np.array_equal(cast, action))
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise SpecMismatchError(f"{where}: {action} does not match {spec}")
        return cast
    if isinstance(spec, dict):
        if not isinstance(action, dict) or set(action) != set(spec):
            raise SpecMismatchError(f"{where}: expected a dict with the leaves {paths(spec)}, got {action}")
        return type(spec)({key: _checked_action(action[key], spec[key], place, f"{path}/{key}") for key in spec})
    if not isinstance(action, list | tuple) or len(action) != len(spec):
        raise SpecMismatchError(f"{where}: expected {len(spec)} entries, got {action}")
    names = getattr(spec, "_fields", range(len(spec)))
    children = [
        _checked_action(child, child_spec, place, f"{path}/{name}")
        for name, child, child_spec in zip(names, action, spec, strict=True)
    ]
    return type(spec)(*children) if hasattr(spec, "_fields") else type(spec)(children)
