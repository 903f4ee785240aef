"""LearnerGroup: the learner of a run, whichever actors it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray


class LearnerGroup:
    """The learner's actors behind one interface; all calls return references at once.

    One actor is a :class:`workers.learning.learner.Learner`. Several are
    :class:`workers.learning.replica.LearnerReplica`, which take the same steps; the first answers for all. Rollouts are
    shared out over them in the order in which they are given.

    Args:
        start: Starts the actors for a generation.
    """

    def __init__(self, start: Callable[[int], Sequence[Any]]) -> None:
        self._start = start
        self._actors: tuple[Any, ...] = ()

    @property
    def actors(self) -> tuple[Any, ...]:
        """The actors, the one that answers first."""
        return self._actors

    def start(self, generation: int) -> None:
        """Starts the actors, which come up by and by.

        Args:
            generation: Higher than that of any learner of the run before.
        """
        self._actors = tuple(self._start(generation))
        if len(self._actors) > 1:
            addresses = [actor.address.remote() for actor in self._actors]
            for actor in self._actors:
                actor.join.remote(*addresses)
            # Other CPUs may draw other initial weights of the same seeds.
            first_state = self.state()
            for actor in self._actors[1:]:
                actor.restore.remote(first_state)

    def restore(self, state: dict[str, np.ndarray]) -> Any:
        """References of what tells that all have taken a state."""
        shared = ray.put(state)
        return [actor.restore.remote(shared) for actor in self._actors]

    def weights(self) -> Any:
        """Reference of the weights as they are now."""
        return self._actors[0].weights.remote()

    def warm_up(self, num_slots: int, num_steps: int) -> Any:
        """Reference of the seconds that compiling the update takes.

        Args:
            num_slots: Rows of the rollouts that updates will get, over all collectors.
            num_steps: Their length.
        """
        own_slots = num_slots // len(self._actors)
        first, *_ = [actor.warm_up.remote(own_slots, num_steps) for actor in self._actors]
        return first

    def update(self, progress: float, rollouts: Sequence[Any]) -> tuple[Any, Any]:
        """References of the weights and of the metrics that learning from rollouts comes to.

        Args:
            progress: The share of the run that is over, in [0, 1].
            rollouts: References; as many for each actor.
        """
        if len(self._actors) == 1:
            weights, metrics = self._actors[0].update.options(num_returns=2).remote(progress, *rollouts)
            return weights, metrics
        size = len(rollouts) // len(self._actors)
        taken = [
            actor.take.remote(*rollouts[rank * size : (rank + 1) * size]) for rank, actor in enumerate(self._actors)
        ]
        # None begins before all have theirs: a rollout that is lost fails every replica's call, and none hangs.
        answers = [actor.learn.options(num_returns=2).remote(progress, *taken) for actor in self._actors]
        weights, metrics = answers[0]
        return weights, metrics

    def state(self) -> Any:
        """Reference of the state after all that was asked for before."""
        return self._actors[0].state.remote()

    def export_policy(self) -> Any:
        """Reference of the deployment policy's files."""
        return self._actors[0].export_policy.remote()

    def kill(self) -> None:
        """Ends the actors, whatever they wait for; may be called twice."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = ()
