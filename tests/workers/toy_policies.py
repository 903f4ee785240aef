"""A scripted NumPy policy, and helpers to run collectors with it and with real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.specs.array_spec import ArraySpec, is_discrete
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure
from distpolicy.weights import Weights
from workers.collection.collector import Collector, CollectorConfig, PolicyPair
from workers.environments.factory import EnvironmentFactory


class CountState(NamedTuple):
    """Recurrent state: calls in all, and calls in the episode, both int64 ``[B]``."""

    total: Any
    in_episode: Any


class ScriptedPolicy(PyPolicy):
    """The action is 10 * (row + 1) + calls in the episode, modulo the number of discrete actions.

    The info holds seed, step type and total calls.

    Args:
        time_step_spec: As for any policy.
        action_spec: Likewise.
        scale: What the action is multiplied by.
    """

    def __init__(self, time_step_spec: TimeStep, action_spec: Any, scale: float = 1.0) -> None:
        count = ArraySpec((), np.int64)
        info_spec = {"calls": count, "seed": ArraySpec((2,), np.int32), "step_type": ArraySpec((), np.int32)}
        super().__init__(time_step_spec, action_spec, CountState(count, count), info_spec)
        self._scale = scale
        self.num_updates = 0

    def named_variables(self) -> list[Any]:
        return []

    def update(self, *_: Any) -> None:
        self.num_updates += 1

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        in_episode = np.where(time_step.step_type == StepType.FIRST, 0, policy_state.in_episode)
        rows = np.arange(len(in_episode))
        action = (10 * (rows + 1) + in_episode) * self._scale
        if is_discrete(self.action_spec):
            action = action % (self.action_spec.maximum + 1)
        action = action.reshape((-1,) + (1,) * len(self.action_spec.shape)).astype(self.action_spec.dtype)
        info = {"calls": policy_state.total.copy(), "seed": seed, "step_type": time_step.step_type}
        return PolicyStep(action, CountState(policy_state.total + 1, in_episode + 1), info)


def scripted_pair(time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
    """A policy factory."""
    policy = ScriptedPolicy(time_step_spec, action_spec)
    return PolicyPair(policy, policy)


def empty_weights(version: int = 0, generation: int = 0) -> Weights:
    """Weights of a policy without variables."""
    return Weights(generation, version, (), {}, 0)


def scripted_collector(environment_factory: EnvironmentFactory, num_slots: int, num_steps: int, **kwargs: Any) -> Any:
    """A collector of the scripted policy."""
    settings: dict[str, Any] = {"index": 0, "first_slot": 0, "seed": 0, **kwargs}
    config = CollectorConfig(num_slots=num_slots, num_steps=num_steps, **settings)
    return Collector(config, environment_factory, scripted_pair)


def kept(rollout: Rollout) -> Rollout:
    """A copy that the next rollout does not overwrite."""
    return map_structure(np.array, rollout)


def joined(rollouts: Sequence[Rollout]) -> dict[str, np.ndarray]:
    """Rollouts of one collector, one after the other, as arrays ``[B, N * T]`` (one step more of observations)."""
    last = rollouts[-1]
    arrays = {name: np.concatenate([getattr(part, name) for part in rollouts], 1) for name in ("reward", "discount")}
    for name in ("observation", "step_type"):
        parts = [getattr(part, name)[:, :-1] for part in rollouts]
        arrays[name] = np.concatenate([*parts, getattr(last, name)[:, -1:]], 1)
    arrays["action"] = np.concatenate([part.action for part in rollouts], 1)
    return arrays


def rollout_bytes(rollout: Rollout) -> list[tuple[tuple[int, ...], str, bytes]]:
    """Shape, dtype and bytes of every array in a rollout."""
    return [(leaf.shape, leaf.dtype.name, leaf.tobytes()) for leaf in map(np.asarray, flatten(rollout))]
