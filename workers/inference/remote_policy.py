"""RemotePolicy: a policy whose actions an inference server computes; VersionedRemotePolicy says by which weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from distpolicy.errors import ConfigError, InferenceLostError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from workers.inference.server import ServedPolicy, ServedWeights, ServerDescription


class RemotePolicy(PyPolicy):
    """Sends time steps, states and seeds to a server and returns its policy steps.

    Args:
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        server: Actor handle of an :class:`workers.inference.server.InferenceServer`.
        timeout_s: Seconds after which a server that has not answered counts as lost.

    Attributes:
        is_thread_safe: Whether several threads may call the policy at once. They may: each call is one message.

    Raises:
        InferenceLostError: If the server does not answer.
    """

    is_thread_safe = True

    def __init__(self, time_step_spec: TimeStep, action_spec: Any, server: Any, timeout_s: float) -> None:
        self._server, self._timeout_s = server, timeout_s
        description: ServerDescription = self._answer(server.describe.remote())
        super().__init__(time_step_spec, action_spec, description.policy_state_spec, description.info_spec)
        self.inference = f"server, {description.inference}"
        self.inference_note = ""

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """Returns the initial state of the server's policy.

        Args:
            batch_size: Number of rows; None for one.

        Returns:
            Nest of arrays ``[batch_size, ...]``.
        """
        return self._answer(self._server.get_initial_state.remote(1 if batch_size is None else batch_size))

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        rows = np.random.default_rng().integers(2**31, size=(len(time_step.step_type), 2), dtype=np.int32)
        return self._ask(time_step, policy_state, rows if seed is None else seed)

    def _ask(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> PolicyStep:
        return self._answer(self._server.action.remote(time_step, policy_state, seed))

    def _answer(self, reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=self._timeout_s)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError) as error:
            raise InferenceLostError(
                f"the inference server did not answer within {self._timeout_s:g} s (timeout_s) or died: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error


class VersionedRemotePolicy(RemotePolicy):
    """A remote policy that acts by weights which the server holds.

    It has no variables. ``update`` takes the name of weights in the place of the weights.

    Args:
        time_step_spec: As for :class:`RemotePolicy`.
        action_spec: The same.
        server: The same.
        timeout_s: The same.
        served: The server's policy that acts.
        owner: The policy whose weights it acts by; None for its own.

    Attributes:
        variable_layout: Empty.
        weights: The name of the weights; None before the first update.
    """

    variable_layout: tuple[()] = ()

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        server: Any,
        timeout_s: float,
        served: ServedPolicy = "collect",
        owner: VersionedRemotePolicy | None = None,
    ) -> None:
        super().__init__(time_step_spec, action_spec, server, timeout_s)
        self._served, self._owner = served, owner or self
        self.weights: ServedWeights | None = None

    def prepare_greedy(self, program: Any) -> None:
        """Waits until the server has the greedy policy.

        Args:
            program: Its program; None if there is none.
        """
        self._answer(self._server.serve_greedy.remote(program))

    def named_variables(self) -> tuple[()]:
        """Returns no variables: the server has them."""
        return ()

    def update(
        self,
        policy: ServedWeights,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """Acts by other weights from the next step on.

        Args:
            policy: The name of the weights.
            tau: Must be 1: a server does not mix weights.
            tau_non_trainable: Must be None or 1.
            sort_variables_by_name: Must be False.

        Raises:
            ConfigError: If the weights are to be mixed or sorted.
        """
        if tau != 1.0 or tau_non_trainable not in (None, 1.0) or sort_variables_by_name:
            raise ConfigError("an inference server takes whole weights in their own order: leave tau at 1")
        self.weights = policy

    def _ask(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> PolicyStep:
        action = self._server.action.remote(time_step, policy_state, seed, self._served, self._owner.weights)
        return self._answer(action)


class RemotePolicies:
    """A collector's policies on a server.

    Args:
        time_step_spec: Array specs of one time step.
        action_spec: Array specs of one action.
        server: Actor handle of the server.
        timeout_s: Seconds after which a server that has not answered counts as lost.

    Attributes:
        collect: Acts in rollouts.
    """

    def __init__(self, time_step_spec: TimeStep, action_spec: Any, server: Any, timeout_s: float) -> None:
        self._arguments = time_step_spec, action_spec, server, timeout_s
        self.collect = VersionedRemotePolicy(*self._arguments)

    def greedy(self, program: Any = None) -> VersionedRemotePolicy:
        """Returns the policy that acts in evaluations, by the weights of the other.

        Args:
            program: Its program, which the server runs; None if there is none.
        """
        self.collect.prepare_greedy(program)
        return VersionedRemotePolicy(*self._arguments, served="greedy", owner=self.collect)
