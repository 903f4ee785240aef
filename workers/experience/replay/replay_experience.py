"""ReplayExperience: keeps the steps of all rollouts and draws batches from them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from distpolicy.agents.experience_config import Replay
from distpolicy.errors import ConfigError
from distpolicy.trajectories.rollout import Rollout
from workers.experience.experience import LEFT_OUT, NO_SEGMENTS, Experience, Sample
from workers.experience.replay.debt import SampleDebt
from workers.experience.replay.draws import Draws
from workers.experience.replay.memory import check_memory
from workers.experience.replay.priority_draws import PriorityDraws
from workers.experience.replay.ring import MemoryCheck, Ring
from workers.experience.replay.sampler import Sampler
from workers.experience.replay.segments import Segments
from workers.experience.replay.sequence_sampler import SequenceSampler
from workers.experience.replay.structure import RolloutStructure
from workers.experience.replay.transition_sampler import TransitionSampler
from workers.experience.replay.uniform_draws import UniformDraws

# Parts of the state.
_RING, _SAMPLER, _DRAWS, _DEBT = "ring/", "sampler/", "draws/", "debt/"
# Only sequences have it.
_PERIOD = f"{_SAMPLER}period"
_MEBIBYTE = 2**20


class Places(NamedTuple):
    """What a sample's rows are to the buffer.

    Attributes:
        places: int64 ``[K * B]``.
        identities: int64 ``[K * B]``: what was there when the sample was drawn.
    """

    places: np.ndarray
    identities: np.ndarray


class ReplayExperience(Experience):
    """A replay buffer in this process.

    The arrays of a sample are written over by the next one.

    Args:
        config: The settings.
    """

    def __init__(self, config: Replay) -> None:
        shape = (config.num_updates, config.batch_size)
        self._capacity, self._is_saved = config.capacity, config.in_checkpoints
        self._ring = Ring(config.capacity)
        self._sampler: Sampler
        if config.sequence_length is None:
            self._sampler = TransitionSampler(self._ring, shape, config.n_step, config.discount)
        else:
            self._sampler = SequenceSampler(self._ring, shape, config.burn_in, config.sequence_length, config.n_step)
        self._draws: Draws
        if config.priority_exponent > 0:
            self._draws = PriorityDraws(shape, config.priority_exponent, config.importance_exponent)
        else:
            self._draws = UniformDraws(shape)
        self._debt = SampleDebt(config.samples_per_insert, config.min_size, config.samples_per_call)
        self._segments = Segments()
        self._structure: RolloutStructure | None = None
        self._newest_version, self._drawn = 0, np.zeros(0, np.int64)

    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Keeps the steps of the rollouts. Env slots may come that were not there before.

        Args:
            rollouts: Rollouts in any order; several may come from the same env slots, in order of time.

        Raises:
            ConfigError: If the buffer does not fit into memory, or a rollout into the buffer.
        """
        self._drawn = np.zeros(0, np.int64)
        if not rollouts:
            return
        ordered = sorted(rollouts, key=lambda rollout: int(rollout.first_slot))
        if self._structure is None:
            self._structure = RolloutStructure(ordered[0])
        if not self._ring.num_rows:
            self._ring.allocate(ordered, self._memory_check(ordered[0]))
            self._sampler.begin(ordered)
            self._draws.begin(self._sampler.is_valid)
        elif not (self._ring.has_slots(ordered) and self._sampler.has_room(ordered)):
            # A collector has joined, so that all env slots share the capacity anew; or a run goes on with shorter
            # rollouts, which begin more sequences.
            self._restore(self._whole_state(), self._segments.update(self._ring, ())[1], ordered)
        self._ring.check_room(max(rollout.num_steps for rollout in ordered), self._sampler.num_steps)
        num_transitions = 0
        for rollout in ordered:
            inserted = self._ring.insert(rollout)
            self._draws.changed(self._sampler.insert(rollout, inserted))
            num_transitions += inserted.num_transitions
            self._newest_version = max(self._newest_version, int(rollout.weights_version[:, 1].max()))
        self._debt.insert(num_transitions, self._draws.size > 0)

    def due(self, progress: float, seed: Sequence[int]) -> Iterator[Sample]:
        """Yields samples of K batches as long as the debt pays for them; see :class:`Experience`."""
        call = 0
        while self._structure is not None and self._draws.size and self._debt.pay():
            drawn = self._draws.draw(np.random.default_rng([*seed, call]), progress)
            self._drawn = drawn.places
            sample = self._sampler.sample(drawn, self._structure)
            if self._draws.takes_feedback:
                sample = sample._replace(places=Places(drawn.places, self._sampler.identities(drawn.places)))
            yield sample
            call += 1

    def zero_sample(self, rollout: Rollout) -> Sample:
        """Returns a sample of zeros.

        Raises:
            ConfigError: If the buffer for such rollouts does not fit into memory.
        """
        if not self._ring.num_rows:
            self._ring.check_memory(rollout, self._memory_check(rollout))
        return self._sampler.zeros(rollout)

    def feedback(self, sample: Sample, priorities: np.ndarray) -> None:
        """Takes new priorities. Rows that were written over since the sample was drawn are left out."""
        places, identities = sample.places
        is_there = self._sampler.identities(places) == identities
        self._draws.feedback(places[is_there], priorities.ravel()[is_there])

    def metrics(self) -> dict[str, float]:
        """Returns metrics of the buffer.

        They are ``replay_size``, the transitions or sequences that can be drawn, ``replay_memory_mib``, and
        ``replay_age``: by how many versions the weights that acted in the last sample are older than the newest ones in
        the buffer, on average; 0 if none was drawn since the last rollouts came.
        """
        num_bytes = self._ring.nbytes + self._sampler.nbytes + self._draws.bytes_for(len(self._sampler.is_valid))
        age = 0.0
        if len(self._drawn):
            versions = self._ring.weights_version[self._sampler.first_rows(self._drawn), 1]
            age = self._newest_version - float(versions.mean())
        return {
            "replay_size": float(self._draws.size),
            "replay_memory_mib": num_bytes / _MEBIBYTE,
            "replay_age": age,
        }

    def state(self) -> dict[str, np.ndarray]:
        """Returns what changes: the newest step of each env slot, priorities, and the debt.

        If checkpoints do not hold the rows, it says only how many transitions that leaves out, and :meth:`segments` are
        empty.
        """
        if not self._is_saved:
            return {LEFT_OUT: np.asarray(np.count_nonzero(self._ring.is_start), np.int64)}
        return self._whole_state()

    def _whole_state(self) -> dict[str, np.ndarray]:
        parts = {
            _RING: self._ring.state(),
            _SAMPLER: self._sampler.state(),
            _DRAWS: self._draws.state(self._sampler.places_kept()),
            _DEBT: self._debt.state(),
        }
        return {f"{part}{name}": value for part, values in parts.items() for name, value in values.items()}

    def segments(self, kept: Collection[str]) -> tuple[list[str], dict[str, dict[str, np.ndarray]]]:
        """Returns the steps that were written since the last call as a further segment; see :class:`Experience`."""
        return self._segments.update(self._ring, kept) if self._is_saved else ([], {})

    def restore(
        self, state: Mapping[str, np.ndarray], segments: Mapping[str, dict[str, np.ndarray]] = NO_SEGMENTS
    ) -> None:
        """Restores a state, of a buffer of any capacity; begins anew if it has no rows.

        Raises:
            ConfigError: If the state holds sequences, and this buffer transitions, or the other way round.
        """
        if len(state.get(f"{_RING}slots", ())):
            held, drawn = (
                "sequences" if is_of_sequences else "transitions"
                for is_of_sequences in (_PERIOD in state, isinstance(self._sampler, SequenceSampler))
            )
            if held != drawn:
                raise ConfigError(
                    f"the replay buffer of the checkpoint is for {held}, but this run learns from {drawn}: give the "
                    "agent and the sequence_length of its replay buffer as they were, or begin a new run"
                )
        self._restore(state, segments)

    def _restore(
        self,
        state: Mapping[str, np.ndarray],
        segments: Mapping[str, dict[str, np.ndarray]],
        coming: Sequence[Rollout] = (),
    ) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        self._drawn = np.zeros(0, np.int64)
        self._debt.restore(part(_DEBT))
        self._segments.restore(segments)
        places_bytes = sum(value.nbytes for value in part(_SAMPLER).values())
        # The ring takes array after array out of the segments: besides the rows, only the one that is copied is there.
        sizes = [array.nbytes for arrays in segments.values() for array in arrays.values()]
        check = partial(self._check_memory, places_bytes, freed_bytes=sum(sizes) - max(sizes, default=0))
        rows = self._ring.restore(part(_RING), list(segments.values()), check, coming)
        places, is_kept = self._sampler.restore(part(_SAMPLER), rows, coming)
        self._draws.begin(self._sampler.is_valid)
        self._draws.restore(part(_DRAWS), places, is_kept)

    def _memory_check(self, rollout: Rollout) -> MemoryCheck:
        """Returns the check for rollouts like this one."""
        return partial(self._check_memory, self._sampler.place_bytes(rollout, self._capacity))

    def _check_memory(self, places_bytes: int, rows_bytes: int, row_bytes: int, freed_bytes: int = 0) -> None:
        """Checks that places and rows of these bytes, and the samples that are made of them, fit into memory."""
        kept_bytes = places_bytes + rows_bytes + self._draws.bytes_for(self._capacity)
        check_memory(kept_bytes, row_bytes * self._sampler.rows_of_sample, self._capacity, freed_bytes)
