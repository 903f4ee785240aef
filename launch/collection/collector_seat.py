"""CollectorSeat: the place of one collector in a collect job, whoever fills it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import ray

from launch.collection.totals import CollectionTotals
from workers.restart_budget import RestartBudget, RestartBudgetConfig

# Rollouts of each collector that are asked for and not yet accounted for: it goes on while the driver looks at the
# last one, and what is in flight stays bounded.
PIPELINE_DEPTH = 2


class CollectorSeat:
    """Some slots, and the actor that steps them now.

    Args:
        index: Number of the collector.
        slots: Its slots.
        rebuilds: How many replacements of the actor are borne.

    Attributes:
        index: As given.
        slots: As given.
        budget: Counts replacements.
        tally: The sums over the reports.
        actor: A :class:`workers.datasets.collector.DatasetCollector` as an actor; None while there is none.
        name: Begins the names of its files.
        generation: The seed generation that it collects in.
        finished: Whether all that it was to collect is whole.
    """

    def __init__(self, index: int, slots: range, rebuilds: RestartBudgetConfig) -> None:
        self.index, self.slots = index, slots
        self.budget, self.tally = RestartBudget(rebuilds), CollectionTotals()
        self.actor: Any = None
        self.name, self.generation = "", 0
        self.finished = False
        self._asked: deque[Any] = deque()
        self._since = 0.0

    def __str__(self) -> str:
        return f"collector {self.index} (env slots {self.slots[0]} to {self.slots[-1]})"

    def fill(self, actor: Any, name: str, generation: int) -> None:
        """Gives the slots to an actor."""
        self.actor, self.name, self.generation = actor, name, generation

    def begin(self) -> None:
        """Asks the actor for its first rollouts."""
        self._asked.extend(self.actor.collect.remote() for _ in range(PIPELINE_DEPTH))
        self._since = time.monotonic()

    @property
    def next_answer(self) -> Any:
        """Reference of the answer that comes next: a report, or the records of all shards; None without an actor."""
        return self._asked[0] if self._asked else None

    def answered(self, collects_more: bool) -> None:
        """Takes the next answer as received, and asks for what comes after.

        Args:
            collects_more: Whether slots are not yet at their limits.
        """
        self._asked.popleft()
        self._since = time.monotonic()
        if collects_more:
            self._asked.append(self.actor.collect.remote())
        elif not self._asked:
            self._asked.append(self.actor.flush.remote())

    def empty(self, wait_s: float) -> None:
        """Ends the actor.

        Args:
            wait_s: Seconds after which the seat is due for the next one.
        """
        actor, self.actor = self.actor, None
        self._asked.clear()
        self._since = time.monotonic() + wait_s
        if actor is not None:
            ray.kill(actor)

    def seconds_left(self, timeout_s: float) -> float:
        """Seconds until its actor counts as lost, or until it is due for one; not below 0.

        Args:
            timeout_s: Seconds after which an actor that has not answered counts as lost.
        """
        limit_s = timeout_s if self.actor is not None else 0.0
        return max(self._since + limit_s - time.monotonic(), 0.0)
