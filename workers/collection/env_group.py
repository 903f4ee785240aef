"""EnvGroup: environments of a collector that are stepped together. GroupThreads: threads that run several groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from workers.collection.seeding import SlotSeeds
from workers.collection.step_arrays import StepArrays
from workers.environments.base import Environment, Fault
from workers.environments.checks import check_steps, check_structure, check_time_step

_PER_STEP = ("observation", "step_type", "action", "policy_info", "reward", "discount", "cuts")


def rows_of(rollout: Rollout, rows: slice) -> Rollout:
    """Returns a rollout whose arrays of steps are views of some rows."""
    return rollout._replace(
        **{name: map_structure(lambda leaf: leaf[rows], getattr(rollout, name)) for name in _PER_STEP}
    )


class EnvGroup:
    """Steps B environments with one policy call per step. Episodes and recurrent state continue in the next rollout.

    Args:
        collector: Index of the collector, for messages.
        first_slot: Number of the group's first env slot over the whole run.
        environment: The batch of environments.
        policy: The collector's policy.
        policy_lock: Lock that is held in each call of the policy, since all groups share it.
        seeds: The seeds of the env slots.
        rollout: Rollout to write steps to: views of the group's rows.

    Attributes:
        steps_begun: Number of steps that have begun.
        env_s: Seconds in the environments during the last :meth:`fill`.
        policy_s: Seconds in the policy during the last :meth:`fill`.
        ended_infos: The numbers in the last ``info`` of episodes that ended during the last :meth:`fill`, by the
            group's row and the step of the rollout.
    """

    def __init__(
        self,
        collector: int,
        first_slot: int,
        environment: Environment,
        policy: Any,
        policy_lock: AbstractContextManager[Any],
        seeds: SlotSeeds,
        rollout: Rollout,
    ) -> None:
        self._collector, self._first_slot, self._seeds = collector, first_slot, seeds
        self._environment, self._policy, self._policy_lock = environment, policy, policy_lock
        self._rollout = rollout
        # What is known before a step of the environments, and what they return besides the next observation.
        self._before = StepArrays((rollout.observation, rollout.step_type))
        self._chosen = StepArrays((rollout.action, rollout.policy_info))
        self._returned = StepArrays((rollout.reward, rollout.discount))
        self._policy_state = policy.get_initial_state(environment.num_slots)
        self._time_step: TimeStep | None = None
        self._num_steps_taken = 0
        self.steps_begun = 0
        self.env_s = self.policy_s = 0.0
        self.ended_infos: dict[tuple[int, int], dict[str, float]] = {}

    @property
    def environment(self) -> Environment:
        """The batch of environments."""
        return self._environment

    @property
    def first_slot(self) -> int:
        """Number of the group's first env slot over the whole run."""
        return self._first_slot

    @property
    def policy_state(self) -> Any:
        """Nest of arrays ``[B, ...]``: the policy state before the next step."""
        return self._policy_state

    def reset(self) -> None:
        """Begins an episode in every environment. Does nothing if it was called before.

        Raises:
            EnvironmentCrashedError: If an environment fails, or returns a time step that is not valid.
        """
        if self._time_step is not None:
            return
        environment = self._environment
        try:
            time_step = environment.reset(self._seeds.environment)
            check_time_step(time_step, environment.time_step_spec, environment.name)
        except EnvironmentCrashedError as error:
            raise self._located(error, 0) from error
        self._time_step = time_step

    def fill(self) -> None:
        """Takes the next T steps, writes them to the buffers, and sets ``env_s`` and ``policy_s``.

        Raises:
            EnvironmentCrashedError: If an environment fails, or returns a time step that is not valid. NaN, infinity
                and integers outside their space are looked for after all steps, which takes a tenth of the time of
                looking after each.
        """
        clock, policy, environment, rollout = time.perf_counter, self._policy, self._environment, self._rollout
        policy_lock, spec, name = self._policy_lock, environment.time_step_spec.observation, environment.name
        write_before, write_chosen, write_returned = self._before.write, self._chosen.write, self._returned.write
        time_step, state, num_steps = self._time_step, self._policy_state, rollout.num_steps
        assert time_step is not None
        # Arrays that the environment returns again need no second check.
        checked = time_step.observation
        with policy_lock:
            seeds = policy.prepare_seeds(self._seeds.rows(self._num_steps_taken, num_steps))
        rollout.cuts[:] = False
        self.ended_infos = {}
        env_s = policy_s = 0.0
        for t in range(num_steps):
            with policy_lock:
                begin = clock()
                step = policy.action(time_step, state, seeds[t])
                policy_s += clock() - begin
            state = step.state
            write_before(t, (time_step.observation, time_step.step_type))
            write_chosen(t, (step.action, step.info))
            self.steps_begun += 1
            begin = clock()
            try:
                time_step = environment.step(step.action)
                if time_step.observation is not checked:
                    check_structure(time_step.observation, spec, name)
                    checked = time_step.observation
            except EnvironmentCrashedError as error:
                # A NaN that it returned before may be the reason.
                self._finish(t)
                raise self._located(error, self._num_steps_taken + t) from error
            env_s += clock() - begin
            write_returned(t, (time_step.reward, time_step.discount))
            if environment.faults:
                rollout.cuts[:, t] = environment.cuts
            if environment.ended_infos:
                self.ended_infos |= {(row, t): numbers for row, numbers in environment.ended_infos.items()}
        write_before(num_steps, (time_step.observation, time_step.step_type))
        self._finish(num_steps)
        self._num_steps_taken += num_steps
        self._time_step, self._policy_state = time_step, state
        self.env_s, self.policy_s = env_s, policy_s

    def take_faults(self) -> list[Fault]:
        """Returns the faults since the last call, and clears them. Their slots are numbered over the whole run."""
        found = [fault._replace(slot=self._first_slot + fault.slot) for fault in self._environment.faults]
        self._environment.faults.clear()
        return found

    def close(self) -> None:
        """Closes the environments."""
        self._environment.close()

    def _finish(self, num_steps: int) -> None:
        """Completes the rollout's arrays, and checks what the environments returned in so many steps."""
        for arrays in (self._before, self._chosen, self._returned):
            arrays.finish()
        try:
            specs, name = self._environment.time_step_spec.observation, self._environment.name
            check_steps(self._rollout.observation, specs, self._rollout.reward, num_steps, name)
        except EnvironmentCrashedError as error:
            raise self._located(error, self._num_steps_taken + (error.step or 0)) from error

    def _located(self, error: EnvironmentCrashedError, step: int) -> EnvironmentCrashedError:
        """Returns the error with its place in the run, given an error whose slot is a row of this group."""
        row = error.slot
        return EnvironmentCrashedError(
            error.message,
            collector=self._collector,
            slot=None if row is None else self._first_slot + row,
            step=step,
            seed=None if row is None else self._seeds.environment[row],
            traceback=error.traceback,
        )


Result = TypeVar("Result")


class GroupThreads:
    """Runs a call for each group: the first group's in the caller's thread, each other one in a thread of its own.

    A group always has the same thread, since some environments must stay in the thread that made them, for example
    those that render. A single group does not need a thread.

    Args:
        num_groups: Number of groups.
    """

    def __init__(self, num_groups: int) -> None:
        self._executors = [
            ThreadPoolExecutor(1, thread_name_prefix=f"env-group-{group}") for group in range(1, num_groups)
        ]

    def run(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """Runs the calls and waits until all have ended.

        Args:
            calls: A call for each group.

        Returns:
            The results of the calls, in their order.

        Raises:
            Exception: The error of the first call in order that failed.
        """
        futures = [executor.submit(call) for executor, call in zip(self._executors, calls[1:], strict=True)]
        try:
            first = calls[0]()
        finally:
            wait(futures)
        return [first, *(future.result() for future in futures)]

    def close(self) -> None:
        """Ends the threads. It may be called twice."""
        for executor in self._executors:
            executor.shutdown()
