"""PolicySource: makes the policy that the command line names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.files.bounded_files import parse_json
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from workers.collection.collector import Policies, PolicyPair
from workers.inference.saved_specs import read_saved_specs

Inference = Literal["auto", "litert", "tf"]

_RANDOM, _FIXED = "random", "fixed:"


def is_saved_model(name: str) -> bool:
    """Returns True if the name of a policy is the folder of a SavedModel."""
    return name != _RANDOM and not name.startswith(_FIXED)


@dataclass(frozen=True)
class PolicySource:
    """Makes a policy in a worker. It is small, so that it can be sent there.

    Attributes:
        name: ``random``, ``fixed:VALUE`` with the action as JSON, or the folder of a SavedModel that distpolicy's or
            TF-Agents' PolicySaver wrote.
        inference: What computes a SavedModel's actions; see ``PyTFEagerPolicy``.
        seed: Seed for random actions when the caller passes no seeds.
    """

    name: str
    inference: Inference = "auto"
    seed: int = 0

    @property
    def may_be_program(self) -> bool:
        """Whether the policy is built in TensorFlow, and collectors may run it as a program."""
        return is_saved_model(self.name) and self.inference != "tf"

    def check(self, action_spec: Any, observation_spec: Any = None) -> None:
        """Checks the name before anything is started. It does not import TensorFlow.

        Args:
            action_spec: Nest of array specs of one action.
            observation_spec: Nest of array specs of one observation; None to not compare a SavedModel's.

        Raises:
            ConfigError: If the name does not stand for a policy, or a fixed action or a SavedModel does not fit the
                specs.
        """
        if self.name == _RANDOM:
            return
        if self.name.startswith(_FIXED):
            self._fixed_action(action_spec)
        elif not any((Path(self.name) / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
            raise ConfigError(
                f"unknown policy {self.name!r}: give random, fixed:VALUE, or the folder of a SavedModel with "
                "saved_model.pb"
            )
        elif observation_spec is not None and (saved := read_saved_specs(Path(self.name))) is not None:
            self._check_leaves("observations", observation_spec, saved.observation)
            self._check_leaves("actions", action_spec, saved.action)

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        """Returns the policy, once for rollouts and once for evaluations.

        Args:
            time_step_spec: Array specs of one time step.
            action_spec: Nest of array specs of one action.

        Raises:
            ConfigError: As :meth:`check`, and if a SavedModel is for other observations or actions.
            CheckpointError: If a SavedModel is damaged.
        """
        self.check(action_spec)
        if self.name == _RANDOM:
            from distpolicy.policies.random_py_policy import RandomPyPolicy

            random = RandomPyPolicy(time_step_spec, action_spec, seed=self.seed)
            return PolicyPair(random, random)
        if self.name.startswith(_FIXED):
            from distpolicy.policies.fixed_py_policy import FixedPyPolicy

            fixed = FixedPyPolicy(self._fixed_action(action_spec), time_step_spec, action_spec)
            return PolicyPair(fixed, fixed)
        from distpolicy.policies import policy_loader
        from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy

        policy = policy_loader.load(self.name)
        self._check_specs(policy, time_step_spec, action_spec)
        eager = PyTFEagerPolicy(
            policy, use_tf_function=True, batch_time_steps=False, seed=self.seed, inference=self.inference
        )
        return PolicyPair(eager, eager)

    def _fixed_action(self, action_spec: Any) -> Any:
        text = self.name.removeprefix(_FIXED)
        try:
            value = parse_json(text)
        except ValueError as error:
            raise ConfigError(
                f"policy {self.name!r}: {text!r} is not a JSON value ({error}); write fixed:1 or fixed:[0.5,-1]"
            ) from error

        def leaf(spec: Any, given: Any) -> np.ndarray:
            try:
                array = np.asarray(given)
                converted = array.astype(spec.dtype)
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"policy {self.name!r}: {given!r} is not {spec.dtype} with shape {spec.shape}; give such an action"
                ) from error
            if converted.shape != spec.shape or not np.array_equal(converted, array):
                raise ConfigError(
                    f"policy {self.name!r}: {given!r} is not {spec.dtype} with shape {spec.shape}; give such an action"
                )
            if hasattr(spec, "minimum") and (np.any(converted < spec.minimum) or np.any(converted > spec.maximum)):
                raise ConfigError(
                    f"policy {self.name!r}: {given!r} is outside [{spec.minimum}, {spec.maximum}], the action's bounds"
                )
            return converted

        try:
            return map_structure(leaf, action_spec, value)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"policy {self.name!r} does not fit the action with the leaves {', '.join(paths(action_spec))}; give "
                "JSON with the same structure"
            ) from error

    def _check_specs(self, policy: Any, time_step_spec: TimeStep, action_spec: Any) -> None:
        self._check_leaves("observations", time_step_spec.observation, policy.time_step_spec.observation)
        self._check_leaves("actions", action_spec, policy.action_spec)
        for path, ours, theirs in zip(
            paths(action_spec), flatten(action_spec), flatten(policy.action_spec), strict=True
        ):
            if hasattr(theirs, "minimum") and not _within(theirs, ours):
                raise ConfigError(
                    f"policy {self.name} is for another env: its actions{path} are in "
                    f"[{theirs.minimum}, {theirs.maximum}], the env's are in [{ours.minimum}, {ours.maximum}]"
                )

    def _check_leaves(self, what: str, ours: Any, theirs: Any) -> None:
        """Checks structure, shapes and dtypes of a policy's specs."""
        if paths(ours) != paths(theirs):
            raise ConfigError(
                f"policy {self.name} is for another env: its {what} have the leaves {paths(theirs)}, the env's "
                f"have {paths(ours)}"
            )
        for path, env_spec, policy_spec in zip(paths(ours), flatten(ours), flatten(theirs), strict=True):
            dtype = np.dtype(getattr(policy_spec.dtype, "as_numpy_dtype", policy_spec.dtype))
            if (tuple(policy_spec.shape), dtype) != (env_spec.shape, env_spec.dtype):
                raise ConfigError(
                    f"policy {self.name} is for another env: its {what}{path} are {dtype} with shape "
                    f"{tuple(policy_spec.shape)}, the env's are {env_spec.dtype} with shape {env_spec.shape}"
                )


def _within(inner: Any, outer: Any) -> bool:
    """Returns True if one spec's bounds are within the other's, up to rounding, or the other has no bounds."""
    if not hasattr(outer, "minimum"):
        return True
    tolerance = 0 if np.issubdtype(outer.dtype, np.integer) else 1e-6 * np.maximum(np.abs(outer.minimum), 1)
    return bool(
        np.all(inner.minimum >= outer.minimum - tolerance) and np.all(inner.maximum <= outer.maximum + tolerance)
    )


@dataclass(frozen=True)
class RemotePolicySource:
    """Makes policies whose actions an inference server computes.

    Attributes:
        server: Actor handle of an :class:`workers.inference.server.InferenceServer`.
        timeout_s: Seconds after which a server that has not answered counts as lost.
        takes_weights: Whether the policies act by weights that the server holds, as in training; otherwise by those
            that the server's policy has.
    """

    server: Any
    timeout_s: float
    takes_weights: bool = False

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> Policies:
        """Returns the policies for rollouts and for evaluations.

        Raises:
            InferenceLostError: If the server does not answer.
        """
        from workers.inference.remote_policy import RemotePolicies, RemotePolicy

        arguments = time_step_spec, action_spec, self.server, self.timeout_s
        if self.takes_weights:
            return RemotePolicies(*arguments)
        policy = RemotePolicy(*arguments)
        return PolicyPair(policy, policy)
