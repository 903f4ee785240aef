"""The partially observed environments in the forms that collectors step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from environment_streams import FIRST, LAST, assert_is_stream, stream

from distpolicy.trajectories.time_step import TimeStep
from workers.environments.base import Environment
from workers.environments.batched import VectorEnvironment
from workers.environments.checks import check_time_step
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.environments.sync import SyncEnvironment

CARTPOLE = "distpolicy.environments.partially_observed:StatelessCartPole-v1"
PENDULUM = "distpolicy.environments.partially_observed:StatelessPendulum-v1"
NEAR = "distpolicy.environments.memory_tasks:RepeatPrevious-v1"
FAR = "distpolicy.environments.memory_tasks:RepeatPreviousFar-v1"
# Steps of an episode that only the time limit ends.
LENGTHS = {PENDULUM: 200, NEAR: 128, FAR: 129}
FORMS = {"sync": SyncEnvironment, "vector_entry_point": VectorEnvironment}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("env_id", [CARTPOLE, *LENGTHS])
def test_slots_are_streams_within_their_specs(env_id: str, form: str) -> None:
    slots = EnvironmentFactory(env_id, form)(4)  # type: ignore[arg-type]
    assert type(slots) is FORMS[form]
    found = stream(_Checked(slots), 260, [1, 2, 3, 4])
    assert_is_stream(found)
    assert (found.step_type == LAST).any(axis=0).all()
    assert (found.observation[:, 0] != found.observation[:, 1]).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("env_id", LENGTHS)
def test_episodes_end_by_truncation_at_their_length(env_id: str, form: str) -> None:
    length = LENGTHS[env_id]
    found = stream(EnvironmentFactory(env_id, form)(3), length + 2, [1, 2, 3])  # type: ignore[arg-type]
    assert (found.step_type[length] == LAST).all()
    assert (found.step_type[1:length] == 1).all()
    assert (found.step_type[length + 1] == FIRST).all()
    assert (found.discount == 1).all()


@pytest.mark.parametrize("env_id", [CARTPOLE, *LENGTHS])
def test_the_vectorised_form_is_taken_by_itself_and_can_be_trained_in(env_id: str) -> None:
    factory = EnvironmentFactory(env_id)
    assert factory.resolved_vectorization() == "vector_entry_point"
    assert probe(factory) == probe(dataclasses.replace(factory, vectorization="sync"))
    assert factory.with_seed_for_each_slot().resolved_vectorization() == "sync"


@pytest.mark.parametrize("form", FORMS)
def test_arguments_reach_the_env(form: str) -> None:
    arguments = {"delay": 2, "spacing": 2, "num_symbols": 3, "episode_length": 5}
    slots = EnvironmentFactory(NEAR, form, kwargs=arguments)(2)  # type: ignore[arg-type]
    found = stream(slots, 7, [1, 2], np.zeros(2, np.int64))
    assert found.observation.shape == (7, 2, 3)
    assert (found.step_type[5] == LAST).all()
    # Answers to what is shown at steps 2 and 4 count; their rewards come with the next observations.
    assert (np.abs(found.reward) == [[0.5 if step in (3, 5) else 0.0] * 2 for step in range(7)]).all()


class _Checked(Environment):
    """Checks every step of an environment as collectors do, bounds included."""

    def __init__(self, slots: Environment) -> None:
        super().__init__(slots.name, slots.num_slots, slots.observation_space, slots.action_space)
        self._slots = slots

    def reset(self, seeds: object) -> TimeStep:
        return self._check(self._slots.reset(seeds))  # type: ignore[arg-type]

    def step(self, action: object) -> TimeStep:
        return self._check(self._slots.step(action))

    def close(self) -> None:
        self._slots.close()

    def _check(self, time_step: TimeStep) -> TimeStep:
        check_time_step(time_step, self.time_step_spec, self.name, check_bounds=True)
        return time_step
