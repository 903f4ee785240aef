"""PolicySource: the policy that collects or is evaluated, as the command line names it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from workers.collection.collector import PolicyPair

Inference = Literal["auto", "litert", "tf"]

_RANDOM, _FIXED = "random", "fixed:"


@dataclass(frozen=True)
class PolicySource:
    """Builds a policy in a worker; small enough to travel there.

    Attributes:
        name: ``random``, ``fixed:VALUE`` with the action as JSON, or the folder of a SavedModel that PolicySaver, ours
            or TF-Agents', wrote.
        inference: What a SavedModel's actions are computed by; see ``PyTFEagerPolicy``.
        seed: Seed of a policy that draws and is given no seeds.
    """

    name: str
    inference: Inference = "auto"
    seed: int = 0

    def check(self, action_spec: Any) -> None:
        """Refuses what cannot work, before anything is started; imports no TensorFlow.

        Args:
            action_spec: Nest of array specs of one action.

        Raises:
            ConfigError: If the name is none of a policy, or a fixed action does not fit.
        """
        if self.name == _RANDOM:
            return
        if self.name.startswith(_FIXED):
            self._fixed_action(action_spec)
        elif not any((Path(self.name) / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
            raise ConfigError(
                f"policy {self.name!r}: give random, fixed:VALUE, or the folder of a SavedModel with saved_model.pb"
            )

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """The policy, for rollouts and for evaluations.

        Raises:
            ConfigError: As :meth:`check`, and if a SavedModel is for other observations or actions.
            CheckpointError: If a SavedModel is damaged.
        """
        self.check(action_spec)
        if self.name == _RANDOM:
            from distpolicy.policies.random_py_policy import RandomPyPolicy

            random = RandomPyPolicy(time_step_spec, action_spec, seed=self.seed)
            return PolicyPair(random, random)
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        policy: Any
        if self.name.startswith(_FIXED):
            from distpolicy.policies.fixed_policy import FixedPolicy

            action = self._fixed_action(action_spec)
            policy = FixedPolicy(action, time_step_spec, action_spec, emit_log_probability=False)
        else:
            from distpolicy.policies import policy_loader

            policy = policy_loader.load(self.name)
            self._check_specs(policy, time_step_spec, action_spec)
        eager = PyTFEagerPolicy(
            policy, use_tf_function=True, batch_time_steps=False, seed=self.seed, inference=self.inference
        )
        return PolicyPair(eager, eager)

    def _fixed_action(self, action_spec: Any) -> Any:
        text = self.name.removeprefix(_FIXED)
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"policy {self.name!r}: {text!r} is no JSON value; write fixed:1 or fixed:[0.5,-1]"
            ) from error

        def leaf(spec: Any, given: Any) -> np.ndarray:
            try:
                array = np.asarray(given)
                converted = array.astype(spec.dtype)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"policy {self.name!r}: {given!r} is no {spec.dtype}") from error
            if converted.shape != spec.shape or not np.array_equal(converted, array):
                raise ConfigError(
                    f"policy {self.name!r}: the action is {spec.dtype} of shape {spec.shape}, and {given!r} is not"
                )
            if hasattr(spec, "minimum") and (np.any(converted < spec.minimum) or np.any(converted > spec.maximum)):
                raise ConfigError(f"policy {self.name!r}: {given!r} is outside [{spec.minimum}, {spec.maximum}]")
            return converted

        try:
            return map_structure(leaf, action_spec, value)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"policy {self.name!r}: the action has the leaves {', '.join(paths(action_spec))}; give JSON like it"
            ) from error

    def _check_specs(self, policy: Any, time_step_spec: TimeStep, action_spec: Any) -> None:
        for what, ours, theirs in (
            ("observations", time_step_spec.observation, policy.time_step_spec.observation),
            ("actions", action_spec, policy.action_spec),
        ):
            if paths(ours) != paths(theirs):
                raise ConfigError(
                    f"policy {self.name}: its {what} have the leaves {paths(theirs)}, the env's {paths(ours)}"
                )
            for path, env_spec, policy_spec in zip(paths(ours), flatten(ours), flatten(theirs), strict=True):
                shape, dtype = tuple(policy_spec.shape), np.dtype(policy_spec.dtype.as_numpy_dtype)
                if (shape, dtype) != (env_spec.shape, env_spec.dtype):
                    raise ConfigError(
                        f"policy {self.name}: its {what}{path} are {dtype} of shape {shape}, the env's "
                        f"{env_spec.dtype} of shape {env_spec.shape}"
                    )
                if what == "actions" and hasattr(policy_spec, "minimum") and not _within(policy_spec, env_spec):
                    raise ConfigError(
                        f"policy {self.name}: its {what}{path} are in [{policy_spec.minimum}, {policy_spec.maximum}], "
                        f"the env's in [{env_spec.minimum}, {env_spec.maximum}]"
                    )


def _within(inner: Any, outer: Any) -> bool:
    """Whether one spec's bounds are inside another's, which has none or is looser by no more than rounding."""
    if not hasattr(outer, "minimum"):
        return True
    tolerance = 0 if np.issubdtype(outer.dtype, np.integer) else 1e-6 * np.maximum(np.abs(outer.minimum), 1)
    return bool(
        np.all(inner.minimum >= outer.minimum - tolerance) and np.all(inner.maximum <= outer.maximum + tolerance)
    )


@dataclass(frozen=True)
class RemotePolicySource:
    """Builds a policy that asks a server.

    Attributes:
        server: An inference server as an actor.
        timeout_s: Seconds after which a server that has not answered counts as lost.
    """

    server: Any
    timeout_s: float

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """The policy, for rollouts and for evaluations."""
        from workers.inference.remote_policy import RemotePolicy

        policy = RemotePolicy(time_step_spec, action_spec, self.server, self.timeout_s)
        return PolicyPair(policy, policy)
