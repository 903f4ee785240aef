"""What a collector's rollouts hold, against a simulation in pure Python."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_envs import BOX_ACTION, CALLS, EPISODE, LAST_ACTION, SEED, STEP, STREAM, episode_length
from toy_policies import (
    CountState,
    ScriptedPolicy,
    empty_weights,
    joined,
    kept,
    rollout_bytes,
    scripted_collector,
)

from distpolicy.errors import StaleWeightsError
from distpolicy.trajectories.time_step import StepType
from distpolicy.weights import Acknowledgement
from workers.collection.collector import Collector, CollectorConfig, PolicyPair
from workers.collection.evaluator import EvaluationJob
from workers.collection.seeding import slot_seeds
from workers.environments.factory import EnvironmentFactory

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)
GAMMA = 0.9


@dataclass
class SimulatedSlot:
    """What the stream of one slot has to be, step by step."""

    step_types: list[int] = field(default_factory=lambda: [FIRST])
    places: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    rewards: list[float] = field(default_factory=list)
    discounts: list[float] = field(default_factory=list)
    ended: dict[int, tuple[float, int]] = field(default_factory=dict)
    running: list[list[float]] = field(default_factory=lambda: [[]])


def simulate(seed: int, num_steps: int, terminate_after: int, truncate_after: int) -> SimulatedSlot:
    """The stream after ``num_steps`` steps; ``running[t]`` are the rewards of the episode before step t."""
    slot = SimulatedSlot()
    episode, step, rewards = 0, 0, []
    for t in range(num_steps):
        if slot.step_types[-1] == LAST:
            episode, step, rewards = episode + 1, 0, []
            outcome = (FIRST, 0.0, 1.0)
        else:
            step += 1
            rewards = [*rewards, float(step)]
            if step == episode_length(episode, seed, terminate_after, truncate_after):
                outcome = (LAST, float(step), 0.0 if episode % 2 == 0 else 1.0)
                slot.ended[t] = (sum(rewards), step)
            else:
                outcome = (MID, float(step), 1.0)
        slot.step_types.append(outcome[0])
        slot.rewards.append(outcome[1])
        slot.discounts.append(outcome[2])
        slot.places.append((episode, step))
        slot.running.append(rewards)
    return slot


def discounted(rewards: list[float]) -> float:
    return sum(GAMMA ** (len(rewards) - 1 - index) * reward for index, reward in enumerate(rewards))


@settings(max_examples=40)
@given(
    num_slots=st.integers(1, 4),
    num_steps=st.integers(1, 9),
    terminate_after=st.integers(1, 6),
    truncate_after=st.integers(1, 6),
    num_rollouts=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_rollouts_are_the_simulated_streams_cut_in_pieces(
    num_slots: int, num_steps: int, terminate_after: int, truncate_after: int, num_rollouts: int, seed: int
) -> None:
    kwargs = {"terminate_after": terminate_after, "truncate_after": truncate_after}
    factory = EnvironmentFactory(STREAM, kwargs=kwargs)
    collector = scripted_collector(factory, num_slots, num_steps, seed=seed, reward_discount=GAMMA)
    env_seeds = slot_seeds(seed, 0, num_slots, generation=0).environment
    slots = [simulate(env_seed, num_steps * num_rollouts, **kwargs) for env_seed in env_seeds]
    for index in range(num_rollouts):
        rollout, report = collector.rollout(empty_weights(index))
        begin, end = index * num_steps, (index + 1) * num_steps
        assert rollout.step_type.tolist() == [slot.step_types[begin : end + 1] for slot in slots]
        places = rollout.observation[..., [EPISODE, STEP]].astype(int)
        assert places.tolist() == [[list(place) for place in slot.places[begin : end + 1]] for slot in slots]
        assert rollout.observation[..., SEED].tolist() == [[env_seed] * (num_steps + 1) for env_seed in env_seeds]
        assert rollout.reward.tolist() == [slot.rewards[begin:end] for slot in slots]
        assert rollout.discount.tolist() == [slot.discounts[begin:end] for slot in slots]
        ended = [slot.ended[t] for t in range(begin, end) for slot in slots if t in slot.ended]
        assert list(zip(report.episode_returns, report.episode_lengths, strict=True)) == ended
        assert report.num_env_steps == sum(kind != LAST for slot in slots for kind in slot.step_types[begin:end])
        expected = [discounted(slot.running[begin]) for slot in slots]
        np.testing.assert_allclose(rollout.discounted_return, expected, rtol=1e-12)
    collector.close()


def test_array_shapes_and_dtypes_are_those_that_rollout_documents() -> None:
    rollout, _ = scripted_collector(EnvironmentFactory(STREAM), num_slots=3, num_steps=4).rollout(empty_weights())
    found = {
        name: (value.shape, value.dtype.name) for name, value in rollout._asdict().items() if hasattr(value, "dtype")
    }
    assert found == {
        "observation": ((3, 5, 5), "float64"),
        "step_type": ((3, 5), "int32"),
        "action": ((3, 4), "int64"),
        "reward": ((3, 4), "float32"),
        "discount": ((3, 4), "float32"),
        "discounted_return": ((3,), "float64"),
        "cuts": ((3, 4), "bool"),
        "weights_version": ((3, 2), "int64"),
        "first_step": ((3, 2), "int64"),
        "first_slot": ((), "int64"),
    }
    assert {name: leaf.shape for name, leaf in rollout.policy_info.items()} == {
        "calls": (3, 4),
        "seed": (3, 4, 2),
        "step_type": (3, 4),
    }


def collect(num_rollouts: int, **kwargs: Any) -> list[Any]:
    collector = scripted_collector(EnvironmentFactory(STREAM), **kwargs)
    return [kept(collector.rollout(empty_weights(index))[0]) for index in range(num_rollouts)]


def test_last_observation_is_the_next_rollouts_first() -> None:
    rollouts = collect(4, num_slots=2, num_steps=5)
    for before, after in itertools.pairwise(rollouts):
        np.testing.assert_array_equal(before.observation[:, -1], after.observation[:, 0])
        np.testing.assert_array_equal(before.step_type[:, -1], after.step_type[:, 0])


def test_action_after_last_is_ignored_and_every_other_one_reaches_the_env() -> None:
    data = joined(collect(5, num_slots=2, num_steps=7))
    after_last = data["step_type"][:, :-1] == LAST
    assert after_last.any()
    received = data["observation"][:, 1:, LAST_ACTION]
    np.testing.assert_array_equal(received[after_last], -1)
    np.testing.assert_array_equal(received[~after_last], data["action"][~after_last])
    assert (data["action"][after_last] > 0).all()
    # The environment was not even called.
    calls = np.diff(data["observation"][..., CALLS], axis=1)
    np.testing.assert_array_equal(calls, ~after_last)


def test_discount_is_zero_at_termination_and_only_there() -> None:
    data = joined(collect(5, num_slots=2, num_steps=7))
    ends = data["step_type"][:, 1:] == LAST
    even = data["observation"][:, 1:, EPISODE] % 2 == 0
    assert (ends & even).any()
    assert (ends & ~even).any()
    np.testing.assert_array_equal(data["discount"] == 0, ends & even)
    np.testing.assert_array_equal(data["discount"][~(ends & even)], 1)


def test_policy_state_goes_on_over_rollouts_and_the_one_before_the_first_step_is_stored() -> None:
    rollouts = collect(4, num_slots=2, num_steps=4)
    assert [rollout.policy_state.total.tolist() for rollout in rollouts] == [[0, 0], [4, 4], [8, 8], [12, 12]]
    step_types = joined(rollouts)["step_type"]
    for index, rollout in enumerate(rollouts):
        calls = [0, 0]
        for t in range(4 * index):
            calls = [1 if kind == FIRST else count + 1 for count, kind in zip(calls, step_types[:, t], strict=True)]
        assert rollout.policy_state.in_episode.tolist() == calls
    infos = np.concatenate([rollout.policy_info["calls"] for rollout in rollouts], axis=1)
    np.testing.assert_array_equal(infos, [range(16), range(16)])


def test_actions_of_a_stateful_policy_restart_where_first() -> None:
    data = joined(collect(4, num_slots=2, num_steps=5))
    in_episode = data["observation"][:, :-1, STEP]
    np.testing.assert_array_equal(data["action"], np.array([[10], [20]]) + in_episode)


def test_policy_state_of_a_rollout_is_a_copy() -> None:
    class InPlacePolicy(ScriptedPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> Any:
            step = super()._action(time_step, policy_state, seed)
            policy_state.total[:] = step.state.total
            policy_state.in_episode[:] = step.state.in_episode
            return step._replace(state=policy_state)

    def factory(*specs: Any) -> PolicyPair:
        return PolicyPair(InPlacePolicy(*specs), None)

    collector = Collector(CollectorConfig(0, 0, 2, 3, seed=0), EnvironmentFactory(STREAM), factory)
    rollouts = [collector.rollout(empty_weights(index))[0] for index in range(2)]
    assert [rollout.policy_state.total.tolist() for rollout in rollouts] == [[0, 0], [3, 3]]


def test_policy_info_is_stored_at_the_step_that_it_belongs_to() -> None:
    for rollout in collect(3, num_slots=3, num_steps=5):
        np.testing.assert_array_equal(rollout.policy_info["step_type"], rollout.step_type[:, :-1])


def test_policy_gets_each_slots_own_seed_of_each_step() -> None:
    rollouts = collect(2, num_slots=3, num_steps=4, first_slot=5, seed=11, generation=2)
    given_seeds = np.concatenate([rollout.policy_info["seed"] for rollout in rollouts], axis=1)
    expected = slot_seeds(11, 5, 3, generation=2).rows(0, 8).swapaxes(0, 1)
    np.testing.assert_array_equal(given_seeds, expected)


def test_environments_get_each_slots_own_seed() -> None:
    (rollout,) = collect(1, num_slots=3, num_steps=1, first_slot=5, seed=11, generation=2)
    assert rollout.observation[:, 0, SEED].tolist() == slot_seeds(11, 5, 3, generation=2).environment
    assert rollout.first_slot == 5


def test_every_row_holds_generation_and_version_of_the_weights() -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=3, num_steps=1)
    versions = [kept(collector.rollout(empty_weights(*offer))[0]).weights_version for offer in ((4, 0), (7, 0), (0, 1))]
    assert [version.tolist() for version in versions] == [[[0, 4]] * 3, [[0, 7]] * 3, [[1, 0]] * 3]


def test_slots_do_not_depend_on_which_collector_holds_them() -> None:
    together = joined(collect(3, num_slots=4, num_steps=5))
    low = joined(collect(3, num_slots=2, num_steps=5))
    high = joined(collect(3, num_slots=2, num_steps=5, first_slot=2))
    for name in ("observation", "step_type", "reward", "discount"):
        if name == "observation":  # the scripted action is of the row, and the observation tells it
            pairs = [np.delete(data[name], LAST_ACTION, axis=2) for data in (together, low, high)]
        else:
            pairs = [data[name] for data in (together, low, high)]
        np.testing.assert_array_equal(pairs[0], np.concatenate(pairs[1:]))


@pytest.mark.parametrize("scale", [0.01, -0.02])
def test_out_of_bounds_actions_are_clipped_for_the_env_and_stored_as_they_were(scale: float) -> None:
    def factory(*specs: Any) -> PolicyPair:
        return PolicyPair(ScriptedPolicy(*specs, scale=scale), None)

    collector = Collector(CollectorConfig(0, 0, 4, 12, seed=0), EnvironmentFactory(BOX_ACTION), factory)
    rollout, _ = collector.rollout(empty_weights())
    acted = rollout.step_type[:, :-1] != LAST
    stored, received = rollout.action[..., 0][acted], rollout.observation[:, 1:, LAST_ACTION][acted]
    outside = (stored < -0.5) | (stored > 0.25)
    assert outside.any()
    assert not outside.all()
    np.testing.assert_array_equal(received, np.clip(stored, np.float32(-0.5), np.float32(0.25)))


def test_report_tells_who_acted_with_which_weights_and_times_that_add_up() -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=50, index=3)
    reports = [collector.rollout(empty_weights(version))[1] for version in (1, 2)]
    assert [report.collector for report in reports] == [3, 3]
    assert reports[0].weights == Acknowledgement("collector 3", 0, 1, applied=True)
    assert reports[0].first_step_time == reports[1].first_step_time > 0
    for report in reports:
        assert report.env_s > 0
        assert report.policy_s > 0
        assert report.env_s + report.policy_s <= report.total_s
        assert report.wait_s >= 0


def test_an_evaluation_is_not_waiting_for_the_next_rollout() -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=4)
    collector.rollout(empty_weights())
    start = time.perf_counter()
    collector.evaluate(empty_weights(), EvaluationJob(1_000))
    played_s = time.perf_counter() - start
    time.sleep(0.1)
    _, report = collector.rollout(empty_weights())
    assert 0.1 <= report.wait_s < 0.1 + played_s / 2
    assert collector.rollout(empty_weights())[1].wait_s < played_s


def test_same_weights_are_applied_once() -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=1, num_steps=1)
    assert collector.apply_weights(empty_weights(3, generation=1)) == Acknowledgement("collector 0", 1, 3, applied=True)
    assert collector.apply_weights(empty_weights(3, generation=1)) == Acknowledgement(
        "collector 0", 1, 3, applied=False
    )
    assert collector._policy.num_updates == 1


@pytest.mark.parametrize("older", [(2, 1), (9, 0)])
@pytest.mark.parametrize("call", ["apply_weights", "rollout"])
def test_older_weights_are_refused_and_the_newer_ones_stay(call: str, older: tuple[int, int]) -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=1, num_steps=1)
    collector.apply_weights(empty_weights(3, generation=1))
    with pytest.raises(StaleWeightsError, match=r"collector 0 holds weights \(1, 3\)"):
        getattr(collector, call)(empty_weights(*older))
    assert collector._receiver.held == (1, 3)
    assert collector._policy.num_updates == 1


def test_a_rollout_of_stale_weights_takes_no_step() -> None:
    refused = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=5)
    refused.rollout(empty_weights(1))
    with pytest.raises(StaleWeightsError):
        refused.rollout(empty_weights(0))
    other = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=5)
    other.rollout(empty_weights(1))
    after_refusal, _ = refused.rollout(empty_weights(2))
    assert rollout_bytes(after_refusal) == rollout_bytes(other.rollout(empty_weights(2))[0])


def test_close_may_be_called_twice() -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=1, num_steps=1)
    collector.close()
    collector.close()


def test_ping_and_memory_answer() -> None:
    collector = scripted_collector(EnvironmentFactory(STREAM), num_slots=1, num_steps=1, index=7)
    assert collector.ping() == 7
    assert collector.peak_memory_bytes() > 2**20


def test_policy_state_has_the_policys_own_structure() -> None:
    rollout, _ = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=1).rollout(empty_weights())
    assert isinstance(rollout.policy_state, CountState)
