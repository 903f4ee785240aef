"""Seeds of each env slot.

A seed depends on the run's seed, the generation and the number of the env slot over the whole run. It does not depend
on the collector, so the data is the same for any number of collectors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SlotSeeds(NamedTuple):
    """The seeds of consecutive env slots.

    Attributes:
        environment: B seeds, one for each environment.
        policy: uint64 ``[B]``: the first policy seed of each env slot.
    """

    environment: list[int]
    policy: np.ndarray

    def rows(self, first_step: int, num_steps: int) -> np.ndarray:
        """Returns the policy seeds of consecutive steps.

        Args:
            first_step: Number of the first step, counted over the env slot.
            num_steps: Number of steps, T.

        Returns:
            int32 ``[T, B, 2]``.
        """
        steps = np.arange(first_step, first_step + num_steps, dtype=np.uint64)
        return (self.policy[np.newaxis, :] + steps[:, np.newaxis]).view(np.int32).reshape(num_steps, -1, 2)


def slot_seeds(seed: int, first_slot: int, num_slots: int, generation: int, stream: int = 0) -> SlotSeeds:
    """Returns the seeds of env slots ``first_slot`` to ``first_slot + num_slots - 1``.

    Args:
        seed: The run's seed.
        first_slot: Number of the first env slot over the whole run.
        num_slots: Number of env slots, B.
        generation: How often the run was started before; a resumed run gets new seeds.
        stream: 0 for training. Other numbers give independent seeds, for example for evaluation.
    """
    environment, policy = [], []
    for slot in range(first_slot, first_slot + num_slots):
        # The same child as SeedSequence(seed).spawn makes for this key, without making those before it.
        sequence = np.random.SeedSequence(seed, spawn_key=(stream, generation, slot))
        words = sequence.generate_state(2, np.uint64)
        environment.append(int(words[0] % 2**31))
        policy.append(words[1])
    return SlotSeeds(environment, np.array(policy, np.uint64))
