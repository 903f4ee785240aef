"""LearnerGroup: the learner of a run, whether it is one actor or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import ray

from launch.supervision import calls
from workers.learning.learner import ProgramKind


class LearnerGroup:
    """The learner's actors behind one interface; all calls return references at once.

    One actor is a :class:`workers.learning.learner.Learner`. Several are
    :class:`workers.learning.replica.LearnerReplica`, which take the same steps; the first one answers for all. Rollouts
    are distributed over them in the given order.

    Args:
        start: Starts the actors for a generation.
        batch_sizes: The batch sizes of each policy that is asked for as a program; empty for no programs.
    """

    def __init__(
        self,
        start: Callable[[int], Sequence[Any]],
        batch_sizes: Mapping[ProgramKind, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        self._start = start
        self._batch_sizes = batch_sizes
        self._actors: tuple[Any, ...] = ()
        self._programs: dict[ProgramKind, Any] = {}

    @property
    def actors(self) -> tuple[Any, ...]:
        """The actors; the first one answers for all."""
        return self._actors

    def start(self, generation: int) -> None:
        """Starts the actors and does not wait until they are up.

        Args:
            generation: Generation of the learner, higher than the generations of the run's earlier learners.
        """
        self._programs.clear()
        self._actors = tuple(self._start(generation))
        if len(self._actors) > 1:
            addresses = [actor.address.remote() for actor in self._actors]
            for actor in self._actors:
                actor.join.remote(*addresses)
            # Different CPUs may draw different initial weights from the same seeds.
            first_state = self.state()
            for actor in self._actors[1:]:
                actor.restore.remote(first_state)

    def take_part(self, part: dict[str, np.ndarray]) -> Any:
        """Gives all actors a part of the state that comes next. Returns references as :meth:`restore` does."""
        return self._call_all("take_part", part)

    def restore(self, state: dict[str, np.ndarray]) -> Any:
        """Gives all actors a state, without the parts that they have taken.

        Returns:
            References whose values are there once they have taken it.
        """
        return self._call_all("restore", state)

    def _call_all(self, method: str, arrays: dict[str, np.ndarray]) -> Any:
        # Ray stores an argument once, however large it is; several actors share it.
        shared = ray.put(arrays) if len(self._actors) > 1 else arrays
        return [getattr(actor, method).remote(shared) for actor in self._actors]

    def weights(self) -> Any:
        """Returns a reference of the current weights."""
        return self._actors[0].weights.remote()

    def policy_program(self, kind: ProgramKind) -> Any:
        """Returns a reference of a policy's program, which the learner makes once; None if there are no programs.

        Args:
            kind: ``collect`` for the policy that acts in rollouts, ``greedy`` for its greedy form.
        """
        if kind not in self._programs and kind in self._batch_sizes:
            self._programs[kind] = self._actors[0].policy_program.remote(kind, tuple(self._batch_sizes[kind]))
        return self._programs.get(kind)

    def warm_up(self, num_slots: int, num_steps: int) -> Any:
        """Compiles the update. Returns a reference of the seconds that it takes.

        Args:
            num_slots: Number of rows of an update's rollouts, over all collectors.
            num_steps: Number of steps of a rollout.
        """
        own_slots = num_slots // len(self._actors)
        first, *_ = [actor.warm_up.remote(own_slots, num_steps) for actor in self._actors]
        return first

    def update(self, progress: float, rollouts: Sequence[Any], after: Any = None) -> tuple[Any, Any]:
        """Learns from rollouts. Returns references of the new weights and of the metrics.

        Args:
            progress: The share of the run that is over, in [0, 1].
            rollouts: References of the rollouts; the number of actors divides their number.
            after: Reference of the metrics of the update before, without which this one does not begin; None if that
                one is over.
        """
        if len(self._actors) == 1:
            weights, metrics = self._actors[0].update.options(num_returns=2).remote(progress, *rollouts, after=after)
            return weights, metrics
        size = len(rollouts) // len(self._actors)
        taken = [
            actor.take.remote(*rollouts[rank * size : (rank + 1) * size]) for rank, actor in enumerate(self._actors)
        ]
        # No replica begins before all have their rollouts: a lost rollout fails every replica's call, and none hangs.
        answers = [actor.learn.options(num_returns=2).remote(progress, *taken, after=after) for actor in self._actors]
        weights, metrics = answers[0]
        return weights, metrics

    def state(self, kept_parts: Sequence[str] = ()) -> Any:
        """Returns a reference of the state after all earlier calls.

        Args:
            kept_parts: As for :meth:`workers.learning.learner.Learner.state`.
        """
        return self._actors[0].state.remote(tuple(kept_parts))

    def export_policies(self, names: Sequence[str]) -> Any:
        """Returns a reference of the deployment policy's files."""
        return self._actors[0].export_policies.remote(list(names))

    def start_profile(self) -> Any:
        """Begins a profile of the first actor. Returns a reference that comes when it has begun."""
        return self._actors[0].start_profile.remote()

    def stop_profile(self) -> Any:
        """Ends the profile. Returns a reference of its files by path."""
        return self._actors[0].stop_profile.remote()

    def kill(self) -> None:
        """Kills the actors, even if they are waiting; may be called twice."""
        for actor in self._actors:
            calls.kill(actor)
        self._actors = ()
