"""Steps environments and keeps what they return; checks that it is a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.specs.array_spec import sample_spec_nest
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from workers.environments.base import Environment

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)


class Stream(NamedTuple):
    """Arrays ``[T, B, ...]``."""

    step_type: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    observation: Any
    cuts: np.ndarray


def stream(environment: Environment, num_steps: int, seeds: Sequence[int], action: Any = None) -> Stream:
    """The steps after a reset, with the same action every time or drawn ones; closes the environment."""
    rng = np.random.default_rng(5)
    steps: list[TimeStep] = []
    cuts: list[np.ndarray] = []
    try:
        time_step = environment.reset(seeds)
        for _ in range(num_steps):
            steps.append(map_structure(np.array, time_step))
            cuts.append(environment.cuts.copy())
            chosen = sample_spec_nest(environment.action_spec, rng, (environment.num_slots,))
            time_step = environment.step(chosen if action is None else action)
    finally:
        environment.close()
    joined = map_structure(lambda *leaves: np.stack(leaves), *steps)
    return Stream(joined.step_type, joined.reward, joined.discount, joined.observation, np.stack(cuts))


def assert_is_stream(found: Stream) -> None:
    """FIRST after LAST and only there; reward 0 and discount 1 at FIRST; a cut is a truncation without reward."""
    assert (found.step_type[0] == FIRST).all()
    np.testing.assert_array_equal(found.step_type[1:] == FIRST, found.step_type[:-1] == LAST)
    first = found.step_type == FIRST
    assert (found.reward[first] == 0).all()
    assert (found.discount[first] == 1).all()
    assert (found.step_type[found.cuts] == LAST).all()
    assert (found.reward[found.cuts] == 0).all()
    assert (found.discount[found.cuts] == 1).all()
