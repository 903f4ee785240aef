"""ReplayExperience: keeps the steps of all rollouts and draws batches from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distpolicy.agents.experience_config import Replay
from distpolicy.trajectories.rollout import Rollout
from workers.experience.experience import Experience, Sample
from workers.experience.replay.debt import SampleDebt
from workers.experience.replay.ring import Ring
from workers.experience.replay.structure import RolloutStructure
from workers.experience.replay.transition_sampler import TransitionSampler
from workers.experience.replay.uniform import UniformDraws

_RING = "ring/"
_MEBIBYTE = 2**20


class ReplayExperience(Experience):
    """A replay buffer in this process.

    The arrays of a sample are written over by the next one.

    Args:
        config: The settings.
    """

    def __init__(self, config: Replay) -> None:
        self._shape = (config.num_updates, config.batch_size)
        self._num_samples = config.num_updates * config.batch_size
        self._n_step = config.n_step
        self._ring = Ring(config.capacity)
        self._debt = SampleDebt(config.samples_per_insert, config.min_size, self._num_samples)
        self._draws = UniformDraws()
        self._sampler = TransitionSampler(self._shape, config.n_step, config.discount)
        self._structure: RolloutStructure | None = None

    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Keeps the steps of the rollouts.

        Args:
            rollouts: Rollouts in any order; several may come from the same env slots, in order of time. The first call
                has rollouts of all env slots.
        """
        if not rollouts:
            return
        ordered = sorted(rollouts, key=lambda rollout: int(rollout.first_slot))
        if self._structure is None:
            self._structure = RolloutStructure(ordered[0])
        if not self._ring.num_rows:
            self._ring.allocate(ordered, self._n_step)
        for rollout in ordered:
            self._debt.insert(int(self._ring.insert(rollout).is_start.sum()))
        self._draws.changed()

    def due(self, progress: float, seed: Sequence[int]) -> Iterator[Sample]:
        """Yields samples of K batches of B transitions as long as the debt pays for them."""
        call = 0
        while self._structure is not None and self._ring.size and self._debt.pay():
            rng = np.random.default_rng([*seed, call])
            rows = self._draws.draw(self._ring.is_start, self._ring.size, self._num_samples, rng)
            transition = self._sampler.sample(self._ring, rows, self._structure)
            yield Sample(transition, np.ones(self._shape, np.float32), {}, self._shape[0])
            call += 1

    def zero_sample(self, rollout: Rollout) -> Sample:
        """Returns a sample of zeros."""
        return Sample(self._sampler.zeros(rollout), np.zeros(self._shape, np.float32), {}, self._shape[0])

    def metrics(self) -> dict[str, float]:
        """Returns ``replay_size``, the transitions that can be drawn, and ``replay_memory_mib``."""
        return {"replay_size": float(self._ring.size), "replay_memory_mib": self._ring.nbytes / _MEBIBYTE}

    def state(self) -> dict[str, np.ndarray]:
        """Returns the rows that were written, and the debt."""
        return {**self._debt.state(), **{f"{_RING}{name}": value for name, value in self._ring.state().items()}}

    def restore(self, state: Mapping[str, np.ndarray], segments: Any = ()) -> None:
        """Restores a state from :meth:`state`. Begins with an empty buffer if it is empty."""
        self._debt.restore(state)
        self._ring.restore({name.removeprefix(_RING): value for name, value in state.items() if name.startswith(_RING)})
        self._draws.changed()
