"""EnvGroup: environments of a collector that are stepped together, and the threads that step several groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, getters, map_structure
from workers.collection.seeding import SlotSeeds
from workers.environments.base import Environment, Fault
from workers.environments.checks import check_finite_steps, check_structure, check_time_step

_PER_STEP = ("observation", "step_type", "action", "policy_info", "reward", "discount", "cuts")


def rows_of(rollout: Rollout, rows: slice) -> Rollout:
    """Returns a rollout whose arrays of steps are views of some rows."""
    return rollout._replace(
        **{name: map_structure(lambda leaf: leaf[rows], getattr(rollout, name)) for name in _PER_STEP}
    )


class EnvGroup:
    """Steps B slots with one policy call a step; episodes and recurrent state go on from one rollout to the next.

    Args:
        collector: Number of its collector, for messages.
        first_slot: Number over the whole run of its first slot.
        environment: The slots.
        policy: The collector's policy.
        policy_lock: Held in each call of the policy, which other groups have too.
        seeds: Of the slots.
        rollout: Where steps are written: views of its rows.
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
        self._observation_places = _places(self._rollout.observation)
        self._action_places = _places(self._rollout.action)
        self._info_places = _places(self._rollout.policy_info)
        self._policy_state = policy.get_initial_state(environment.num_slots)
        self._time_step: TimeStep | None = None
        self._num_steps_taken = 0
        self.steps_begun = 0
        self.env_s = self.policy_s = 0.0

    @property
    def policy_state(self) -> Any:
        """Nest of ``[B, ...]``: the state before the next step."""
        return self._policy_state

    def reset(self) -> None:
        """Begins an episode in every slot; nothing if that has been done.

        Raises:
            EnvironmentCrashedError: If an environment raises, or returns what it must not.
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
        """Takes the next T steps and writes them; ``env_s`` and ``policy_s`` then tell how long it was in either.

        Raises:
            EnvironmentCrashedError: If an environment raises, or returns what it must not. NaN and infinity are looked
                for when all steps are taken, since that costs a tenth of looking at every step.
        """
        clock, policy, environment, rollout = time.perf_counter, self._policy, self._environment, self._rollout
        policy_lock, spec, name = self._policy_lock, environment.time_step_spec.observation, environment.name
        time_step, state, num_steps = self._time_step, self._policy_state, rollout.num_steps
        assert time_step is not None
        with policy_lock:
            seeds = policy.prepare_seeds(self._seeds.rows(self._num_steps_taken, num_steps))
        rollout.cuts[:] = False
        env_s = policy_s = 0.0
        for t in range(num_steps):
            with policy_lock:
                begin = clock()
                step = policy.action(time_step, state, seeds[t])
                policy_s += clock() - begin
            state = step.state
            _put(self._observation_places, t, time_step.observation)
            rollout.step_type[:, t] = time_step.step_type
            _put(self._action_places, t, step.action)
            _put(self._info_places, t, step.info)
            self.steps_begun += 1
            begin = clock()
            try:
                time_step = environment.step(step.action)
                check_structure(time_step.observation, spec, name)
            except EnvironmentCrashedError as error:
                # What it returned before may be why.
                self._check_finite()
                raise self._located(error, self._num_steps_taken + t) from error
            env_s += clock() - begin
            rollout.reward[:, t] = time_step.reward
            rollout.discount[:, t] = time_step.discount
            if environment.faults:
                rollout.cuts[:, t] = environment.cuts
        _put(self._observation_places, num_steps, time_step.observation)
        rollout.step_type[:, -1] = time_step.step_type
        self._check_finite()
        self._num_steps_taken += num_steps
        self._time_step, self._policy_state = time_step, state
        self.env_s, self.policy_s = env_s, policy_s

    def take_faults(self) -> list[Fault]:
        """The faults since the last call, with their slots' numbers over the whole run."""
        found = [fault._replace(slot=self._first_slot + fault.slot) for fault in self._environment.faults]
        self._environment.faults.clear()
        return found

    def close(self) -> None:
        """Closes the environments."""
        self._environment.close()

    def _check_finite(self) -> None:
        try:
            check_finite_steps(self._rollout.observation, self._rollout.reward, self._environment.name)
        except EnvironmentCrashedError as error:
            raise self._located(error, self._num_steps_taken + (error.step or 0)) from error

    def _located(self, error: EnvironmentCrashedError, step: int) -> EnvironmentCrashedError:
        """The error with its place in the run; its slot comes as a row of this group."""
        row = error.slot
        return EnvironmentCrashedError(
            error.message,
            collector=self._collector,
            slot=None if row is None else self._first_slot + row,
            step=step,
            seed=None if row is None else self._seeds.environment[row],
            traceback=error.traceback,
        )


# An array [B, T, ...] for each leaf, and what takes the leaf out of its nest.
_Places = list[tuple[np.ndarray, Callable[[Any], Any]]]


def _places(arrays: Any) -> _Places:
    return list(zip(flatten(arrays), getters(arrays), strict=True))


def _put(places: _Places, t: int, nest: Any) -> None:
    """Copies a nest ``[B, ...]`` into step t of its arrays."""
    for array, get in places:
        array[:, t] = get(nest)


Result = TypeVar("Result")


class GroupThreads:
    """Runs a call for each group: the first group's in the caller's thread, every other's in one of its own.

    A group has the same thread from call to call, since there are environments (those that render, for one) that have
    to stay in the thread that made them. One group needs no thread.

    Args:
        num_groups: How many groups.
    """

    def __init__(self, num_groups: int) -> None:
        self._executors = [
            ThreadPoolExecutor(1, thread_name_prefix=f"slot-group-{group}") for group in range(1, num_groups)
        ]

    def run(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """What the calls return, once all of them have ended.

        Args:
            calls: One for each group.

        Raises:
            Exception: What the first of the calls that failed raised.
        """
        futures = [executor.submit(call) for executor, call in zip(self._executors, calls[1:], strict=True)]
        try:
            first = calls[0]()
        finally:
            wait(futures)
        return [first, *(future.result() for future in futures)]

    def close(self) -> None:
        """Ends the threads; may be called twice."""
        for executor in self._executors:
            executor.shutdown()
