from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import StepType, TimeStep

FIRST, MID, LAST = (int(kind) for kind in (StepType.FIRST, StepType.MID, StepType.LAST))


class Counting(PyEnvironment):
    """An episode of two steps; the observation counts them. It never resets by itself."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.count = 0
        self.closed = False

    def observation_spec(self) -> Any:
        return ArraySpec((), np.float32, "observation")

    def action_spec(self) -> Any:
        return BoundedArraySpec((), np.int32, 0, 3, "action")

    def close(self) -> None:
        self.closed = True

    def _reset(self) -> TimeStep:
        self.count = 0
        return ts.restart(np.float32(0.0))

    def _step(self, action: Any) -> TimeStep:
        self.count += 1
        make = ts.termination if self.count >= 2 else ts.transition
        return make(np.float32(self.count), np.float32(action))


class Batched(Counting):
    @property
    def batched(self) -> bool:
        return True


def _kinds(env: PyEnvironment, num_steps: int) -> list[int]:
    return [int(env.step(np.int32(0)).step_type) for _ in range(num_steps)]


def test_first_step_is_a_reset() -> None:
    assert _kinds(Counting(), 4) == [FIRST, MID, LAST, LAST]


def test_step_after_last_is_a_reset_if_wanted() -> None:
    assert _kinds(Counting(handle_auto_reset=True), 7) == [FIRST, MID, LAST, FIRST, MID, LAST, FIRST]


def test_should_reset_decides() -> None:
    class Endless(Counting):
        def should_reset(self, current_time_step: TimeStep) -> bool:
            return False

    assert _kinds(Endless(handle_auto_reset=True), 4) == [FIRST, MID, LAST, LAST]
    env = Counting()
    rows = TimeStep(np.array([2, 1], np.int32), np.zeros(2), np.zeros(2), np.zeros(2))
    assert not env.should_reset(rows)
    assert env.should_reset(rows._replace(step_type=np.array([2, 2], np.int32)))


def test_current_time_step_is_the_last_one() -> None:
    env = Counting()
    with pytest.raises(ValueError, match="reset"):
        env.current_time_step()
    assert env.reset() is env.current_time_step()
    assert env.step(1) is env.current_time_step()


def test_specs_are_made_of_the_observation_s_and_the_reward_s() -> None:
    class Vector(Counting):
        def reward_spec(self) -> Any:
            return ArraySpec((2,), np.float32, "reward")

    assert Counting().time_step_spec() == ts.time_step_spec(ArraySpec((), np.float32))
    assert Counting().reward_spec() == ArraySpec((), np.float32)
    assert Counting().discount_spec() == BoundedArraySpec((), np.float32, 0.0, 1.0)
    assert Vector().time_step_spec().reward == ArraySpec((2,), np.float32)


def test_batched_environment_must_say_how_large_its_batch_is() -> None:
    assert (Counting().batched, Counting().batch_size) == (False, None)
    with pytest.raises(RuntimeError, match=r"Batched.*batch_size"):
        _ = Batched().batch_size


def test_context_manager_closes() -> None:
    with Counting() as env:
        assert not env.closed
    assert env.closed


@pytest.mark.parametrize(
    "call",
    [
        lambda env: env.render(),
        lambda env: env.seed(1),
        lambda env: env.get_info(),
        lambda env: env.get_state(),
        lambda env: env.set_state(0),
    ],
)
def test_what_an_environment_does_not_have_is_not_implemented(call: Any) -> None:
    with pytest.raises(NotImplementedError, match="Counting has no"):
        call(Counting())


def test_subclass_without_super_init_works() -> None:
    class Forgetful(Counting):
        def __init__(self) -> None:
            self.count = 0

    assert _kinds(Forgetful(), 3) == [FIRST, MID, LAST]
