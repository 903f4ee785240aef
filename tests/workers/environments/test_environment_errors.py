"""Environments that raise or return what cannot be used."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from toy_envs import CRASHING, CrashingEnv
from toy_policies import empty_weights, scripted_collector

from distpolicy.errors import EnvironmentCrashedError
from workers.collection.seeding import slot_seeds
from workers.environments.factory import EnvironmentFactory, Vectorization
from workers.restart_budget import RestartBudgetConfig

FIRST_SLOT, FAULTY_ROW, SEED = 8, 1, 4
SLOT_SEEDS = slot_seeds(SEED, FIRST_SLOT, 3, generation=0).environment


def crash(
    fault: str, call: int, num_rollouts: int = 4, vectorization: Vectorization = "sync"
) -> EnvironmentCrashedError:
    """The error of a collector with three slots, the second of which fails."""
    kwargs = {"seed": SLOT_SEEDS[FAULTY_ROW], "fault": fault, "call": call}
    factory = EnvironmentFactory(CRASHING, vectorization, kwargs, restarts=RestartBudgetConfig(max_restarts=0))
    collector = scripted_collector(factory, num_slots=3, num_steps=5, index=6, first_slot=FIRST_SLOT, seed=SEED)

    def collect() -> None:
        for version in range(num_rollouts):
            collector.rollout(empty_weights(version))

    try:
        with pytest.raises(EnvironmentCrashedError) as caught:
            collect()
    finally:
        collector.close()
    return caught.value


def place(error: EnvironmentCrashedError) -> tuple[Any, ...]:
    return error.collector, error.slot, error.step, error.seed


# Episodes have 3 steps there, or 5 in the first episode if the seed is so: see StreamEnv.
FIRST_LENGTH = 3 + SLOT_SEEDS[FAULTY_ROW] % 3


@pytest.mark.parametrize(
    ("call", "step"),
    [
        (1, 0),
        (FIRST_LENGTH, FIRST_LENGTH - 1),
        (FIRST_LENGTH + 1, FIRST_LENGTH + 1),
        (FIRST_LENGTH + 3, FIRST_LENGTH + 3),
    ],
)
def test_a_crash_in_step_tells_collector_slot_step_and_seed(call: int, step: int) -> None:
    error = crash("step", call)
    assert place(error) == (6, FIRST_SLOT + FAULTY_ROW, step, SLOT_SEEDS[FAULTY_ROW])
    assert str(error) == (
        f"env {CRASHING} raised OSError in step: the simulator is gone "
        f"(collector 6, env slot {FIRST_SLOT + FAULTY_ROW}, step {step}, seed {SLOT_SEEDS[FAULTY_ROW]})"
    )


def test_a_crash_in_the_first_reset_tells_collector_slot_step_and_seed() -> None:
    error = crash("reset", 1)
    assert place(error) == (6, FIRST_SLOT + FAULTY_ROW, 0, SLOT_SEEDS[FAULTY_ROW])
    assert "raised OSError in reset: the simulator is gone" in str(error)


def test_a_crash_in_a_later_reset_tells_collector_slot_step_and_seed() -> None:
    error = crash("reset", 2)
    assert place(error) == (6, FIRST_SLOT + FAULTY_ROW, FIRST_LENGTH, SLOT_SEEDS[FAULTY_ROW])


@pytest.mark.parametrize(("fault", "function"), [("step", "step"), ("reset", "reset")])
def test_a_crash_carries_the_original_traceback(fault: str, function: str) -> None:
    error = crash(fault, 1)
    assert f"in {function}" in error.traceback
    assert 'raise OSError("the simulator\\nis gone")' in error.traceback
    assert "toy_envs.py" in error.traceback


@pytest.mark.parametrize("call", [1, 2, 5, 6])
def test_nan_in_an_observation_is_a_crash_of_its_slot_and_step(call: int) -> None:
    error = crash("observation", call)
    # Steps before the one that returned it; one call in between only resets.
    step = call - 1 + (call > FIRST_LENGTH)
    assert "NaN or infinity as observation" in str(error)
    assert place(error) == (6, FIRST_SLOT + FAULTY_ROW, step, SLOT_SEEDS[FAULTY_ROW])


@pytest.mark.parametrize("call", [1, 2, 5, 6])
def test_an_infinite_reward_is_a_crash_of_its_slot_and_step(call: int) -> None:
    error = crash("reward", call)
    assert "NaN or infinity as reward" in str(error)
    step = call - 1 + (call > FIRST_LENGTH)
    assert place(error) == (6, FIRST_SLOT + FAULTY_ROW, step, SLOT_SEEDS[FAULTY_ROW])


def test_a_crash_survives_pickling() -> None:
    error = crash("step", 2)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is EnvironmentCrashedError
    assert str(copy) == str(error)
    assert place(copy) == place(error)
    assert (copy.message, copy.traceback) == (error.message, error.traceback)


def test_the_faultless_slots_run_on_without_a_crash() -> None:
    kwargs = {"seed": -5, "fault": "step", "call": 1}
    collector = scripted_collector(EnvironmentFactory(CRASHING, kwargs=kwargs), num_slots=3, num_steps=5)
    for version in range(3):
        collector.rollout(empty_weights(version))


def test_a_crash_of_an_async_slot_is_told_like_that_of_a_sync_one() -> None:
    sync, asynchronous = crash("step", 2), crash("step", 2, vectorization="async")
    assert str(asynchronous) == str(sync)
    assert place(asynchronous) == place(sync)
    assert 'raise OSError("the simulator\\nis gone")' in asynchronous.traceback


def test_the_toy_env_fails_where_it_is_told_to() -> None:
    env = CrashingEnv(seed=3, fault="step", call=2)
    env.reset(seed=3)
    env.step(0)
    with pytest.raises(OSError, match="simulator"):
        env.step(0)
