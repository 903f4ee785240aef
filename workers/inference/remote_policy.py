"""RemotePolicy: a policy whose actions an inference server computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from distpolicy.errors import WorkerLostError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from workers.inference.server import ServerDescription


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
        WorkerLostError: If the server does not answer.
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
        return self._answer(self._server.action.remote(time_step, policy_state, rows if seed is None else seed))

    def _answer(self, reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=self._timeout_s)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError) as error:
            raise WorkerLostError(
                f"the inference server did not answer within {self._timeout_s:g} s (timeout_s) or died: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
