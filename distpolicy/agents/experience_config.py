"""The settings by which rollouts become training data; ``workers.experience`` implements them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class OnPolicy:
    """On-policy learning: every rollout is used once, by the update that asked for it.

    Attributes:
        max_policy_lag: Versions by which the weights that acted may be older than those that learn.
    """

    max_policy_lag: int = 0


@dataclass(frozen=True)
class Replay:
    """Off-policy learning: the steps of all rollouts are kept, and batches are drawn from them.

    Samples per insert is exact arithmetic: every transition adds ``samples_per_insert`` to a debt of samples, and calls
    of ``num_updates`` batches are made as long as the debt pays for a whole one. A sequence costs its
    ``sequence_length``.

    Attributes:
        capacity: Steps to keep, over all env slots.
        batch_size: B, the samples of a batch.
        num_updates: K, the batches of a call, one for each gradient step.
        samples_per_insert: How often each transition is drawn on average.
        min_size: Transitions that must be there before the first call. They add nothing to the debt.
        n_step: Steps of a transition, or those behind the ones of a sequence that are learned from.
        discount: Gamma, by which the rewards of several steps are added up.
        sequence_length: L, the steps of a sequence that is learned from; None for single transitions. A sequence begins
            where a rollout begins, since the policy's state is known there.
        burn_in: Steps before the sequence, from which a recurrent state is computed.
        priority_exponent: How much priorities count (alpha of Schaul et al., 2016); 0 to draw all rows alike.
        importance_exponent: How much of the bias of the priorities is corrected at the start (beta); it grows to 1.
        in_checkpoints: Whether checkpoints hold the rows. Without them a run that goes on fills the buffer anew.
    """

    capacity: int = 100_000
    batch_size: int = 64
    num_updates: int = 32
    samples_per_insert: float = 8.0
    min_size: int = 1_000
    n_step: int = 1
    discount: float = 0.99
    sequence_length: int | None = None
    burn_in: int = 0
    priority_exponent: float = 0.0
    importance_exponent: float = 0.4
    in_checkpoints: bool = True

    def __post_init__(self) -> None:
        optional = () if self.sequence_length is None else ("sequence_length",)
        for name in ("capacity", "batch_size", "num_updates", "n_step", *optional):
            self._require(name, lambda value: isinstance(value, int) and value >= 1, "a whole number of 1 or more")
        for name in ("min_size", "burn_in"):
            self._require(name, lambda value: isinstance(value, int) and value >= 0, "a whole number of 0 or more")
        self._require("samples_per_insert", lambda value: 0 < value < math.inf, "a finite number above 0")
        self._require("priority_exponent", lambda value: value >= 0, "0 or more")
        for name in ("discount", "importance_exponent"):
            self._require(name, lambda value: 0 <= value <= 1, "in [0, 1]")

    @property
    def samples_per_call(self) -> int:
        """What one call of K batches costs."""
        return self.num_updates * self.batch_size * (self.sequence_length or 1)

    @property
    def first_call_at(self) -> int:
        """Number of transitions that pay for the first call."""
        return self.min_size + math.ceil(self.samples_per_call / self.samples_per_insert)

    def _require(self, name: str, holds: Callable[[Any], bool], what: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, int | float) or not holds(value):
            raise ConfigError(f"{name} of a replay buffer must be {what}, but is {value!r}")


@dataclass(frozen=True)
class Offline:
    """Offline learning: batches are drawn from datasets that were written before.

    Attributes:
        folders: The datasets.
        batch_size: B, the samples of a batch.
        num_updates: K, the batches of a call, one for each gradient step.
        n_step: Steps of a transition.
        discount: Gamma, by which the rewards of several steps are added up.
        returns: Whether samples have the arguments ``return_to_go``, ``final_observation`` and ``final_discount``.
    """

    folders: tuple[str, ...]
    batch_size: int
    num_updates: int
    n_step: int = 1
    discount: float = 0.99
    returns: bool = False


@dataclass(frozen=True)
class AgentsOwn:
    """What the agent says: :meth:`distpolicy.agents.tf_agent.TFAgent.experience`.

    Attributes:
        replay: Settings of a :class:`Replay` by name that take the place of the agent's.
        rollout_steps: The steps of a rollout.
    """

    replay: Mapping[str, Any]
    rollout_steps: int


ExperienceConfig = OnPolicy | Replay | Offline | AgentsOwn
