"""Seeds for each environment slot, numbered over the whole run.

They depend on the run's seed, the slot and the generation, and not on which collector holds the slot, so that
data does not depend on how slots are spread.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SlotSeeds(NamedTuple):
    """The seeds of consecutive slots.

    Attributes:
        environment: A seed for each slot's environment.
        policy: uint64 ``[B]``: where each slot's stream of policy seeds begins.
    """

    environment: list[int]
    policy: np.ndarray

    def rows(self, first_step: int, num_steps: int) -> np.ndarray:
        """Policy seeds int32 ``[num_steps, B, 2]`` from a step on."""
        steps = np.arange(first_step, first_step + num_steps, dtype=np.uint64)
        return (self.policy[np.newaxis, :] + steps[:, np.newaxis]).view(np.int32).reshape(num_steps, -1, 2)


def slot_seeds(seed: int, first_slot: int, num_slots: int, generation: int, stream: int = 0) -> SlotSeeds:
    """The seeds of slots ``first_slot`` to ``first_slot + num_slots - 1``.

    Args:
        seed: The run's seed.
        first_slot: Number of the first slot over the whole run.
        num_slots: How many slots.
        generation: How often the run was started; a resumed run draws anew.
        stream: 0 for training, other numbers for streams apart from it, such as evaluation.
    """
    environment, policy = [], []
    for slot in range(first_slot, first_slot + num_slots):
        # The child that SeedSequence(seed).spawn would give to this key, without spawning those before it.
        sequence = np.random.SeedSequence(seed, spawn_key=(stream, generation, slot))
        words = sequence.generate_state(2, np.uint64)
        environment.append(int(words[0] % 2**31))
        policy.append(words[1])
    return SlotSeeds(environment, np.array(policy, np.uint64))
