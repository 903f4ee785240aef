"""ProgramSource: gives collectors a policy as a program, so that they need no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from distpolicy.policies.policy_program import NeedsTensorFlow, PolicyProgram, ProgramPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.trajectories.time_step import TimeStep
from workers.collection.collector import Policies, PolicyFactory


@dataclass(frozen=True)
class ProgramSource:
    """Makes a collector's policies from a program that another actor builds.

    Attributes:
        program: Reference of a :class:`PolicyProgram` or of :class:`NeedsTensorFlow`, in a tuple: a bare reference
            would keep the collector from starting until the program is there.
        fallback: Makes the policies in TensorFlow, if there is no program.
        timeout_s: Seconds within which the program has to come.
    """

    program: tuple[Any]
    fallback: PolicyFactory
    timeout_s: float

    def __call__(self, time_step_spec: TimeStep, action_spec: Any) -> Policies:
        """Waits for the program, and returns the policies."""
        try:
            program = ray.get(self.program[0], timeout=self.timeout_s)
        except ray.exceptions.RayError:
            # The actor that builds it was lost. The collector is of use to the next one.
            return self.fallback(time_step_spec, action_spec)
        if isinstance(program, NeedsTensorFlow):
            return self.fallback(time_step_spec, action_spec)
        return ProgramPolicies(program, lambda: self.fallback(time_step_spec, action_spec))


class ProgramPolicies:
    """A collector's policies by a program.

    Args:
        program: The program of the policy that acts in rollouts.
        fallback: Makes both policies in TensorFlow.

    Attributes:
        collect: Acts in rollouts.
    """

    def __init__(self, program: PolicyProgram, fallback: Callable[[], Policies]) -> None:
        self._program_policy = ProgramPolicy(program)
        self._fallback = fallback
        self._in_tensorflow: Policies | None = None
        self.collect = PyTFEagerPolicy(self._program_policy, batch_time_steps=False)

    def greedy(self, program: Any = None) -> Any:
        """Returns the policy for evaluations, with the present weights.

        Args:
            program: Its program; without one it is made in TensorFlow.
        """
        if isinstance(program, PolicyProgram):
            return PyTFEagerPolicy(ProgramPolicy(program, self._program_policy.array_variables), batch_time_steps=False)
        if self._in_tensorflow is None:
            self._in_tensorflow = self._fallback()
        policy = self._in_tensorflow.greedy()
        policy.update(self.collect)
        return policy
