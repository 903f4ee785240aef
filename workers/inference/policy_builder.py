"""PolicyBuilder: builds a policy in TensorFlow, so that collectors run it as a program without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpolicy.policies.policy_program import NeedsTensorFlow, PolicyProgram
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.litert_program import LiteRTError
from workers.collection.collector import PolicyFactory


class PolicyBuilder:
    """Builds the policy of a job once for all its collectors. It is of no use after that.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
    """

    def __init__(self, policy_factory: PolicyFactory, time_step_spec: TimeStep, action_spec: Any) -> None:
        self._policy_factory = policy_factory
        self._specs = time_step_spec, action_spec

    def program(self, batch_sizes: Sequence[int]) -> PolicyProgram | NeedsTensorFlow:
        """Returns the policy as a program.

        Args:
            batch_sizes: The sizes of the batches that it acts for.

        Raises:
            ConfigError: If the policy cannot be built, or is for other observations or actions.
        """
        policy = self._policy_factory(*self._specs).collect.policy
        from distpolicy.policies.program_builder import ProgramBuilder

        try:
            return ProgramBuilder(policy, batch_sizes).program
        except LiteRTError as error:
            return NeedsTensorFlow(str(error))
