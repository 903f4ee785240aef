"""Transitions from replay: each is one of the streams', each of the streams' is reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import GAMMA, Model, Stream, action_of, flat, observation_of, rollout_of, settings_of

from distpolicy.errors import ConfigError
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition, to_n_step_transition
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.experience import Experience
from workers.experience.factory import make_experience
from workers.experience.replay.transition_sampler import n_step_return


def drawn(experience: Experience, seed: int = 0) -> list[Transition]:
    return [flat(sample.experience) for sample in experience.due(0.0, (seed,))]


def check_transitions(batch: Transition, model: Model, n_step: int) -> set[tuple[int, int]]:
    """Checks each transition of a batch; returns their keys."""
    want = model.transitions(n_step, GAMMA)
    keys = batch.time_step.observation["vector"][:, 0].astype(np.int64)
    found = list(zip(keys.tolist(), batch.time_step.step_type.tolist(), strict=True))
    assert set(found) <= set(want)
    reward, discount, next_key, next_type = (
        np.array(column) for column in zip(*(want[key] for key in found), strict=True)
    )
    np.testing.assert_allclose(batch.next_time_step.reward, reward, rtol=1e-6)
    np.testing.assert_allclose(batch.next_time_step.discount, discount, rtol=1e-6)
    np.testing.assert_array_equal(batch.next_time_step.step_type, next_type)
    np.testing.assert_array_equal(batch.action_step.action, action_of(keys))
    for name in ("vector", "byte"):
        np.testing.assert_array_equal(batch.time_step.observation[name], observation_of(keys)[name])
        np.testing.assert_array_equal(batch.next_time_step.observation[name], observation_of(next_key)[name])
    return set(found)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    slots_of_collectors=st.lists(st.integers(1, 2), min_size=1, max_size=3),
    num_steps=st.integers(1, 6),
    spare=st.integers(0, 15),
    n_step=st.integers(1, 4),
    num_inserts=st.integers(1, 8),
    fault_share=st.sampled_from([0.0, 0.3]),
)
def test_every_transition_is_of_the_streams_and_each_is_reached(
    seed: int,
    slots_of_collectors: list[int],
    num_steps: int,
    spare: int,
    n_step: int,
    num_inserts: int,
    fault_share: float,
) -> None:
    rng = np.random.default_rng(seed)
    num_slots = sum(slots_of_collectors)
    length = num_steps + n_step + spare
    experience = make_experience(settings_of(capacity=num_slots * length, n_step=n_step))
    model = Model(length)
    streams = {slot: Stream(slot, rng, fault_share) for slot in range(num_slots)}
    firsts = np.cumsum([0, *slots_of_collectors[:-1]]).tolist()
    for update in range(num_inserts):
        rollouts = []
        for first, count in zip(firsts, slots_of_collectors, strict=True):
            # Collectors are of unequal speed; some are replaced, and some rollouts are lost.
            for _ in range(1 if update == 0 else rng.integers(0, 3)):
                if rng.random() < 0.2:
                    for slot in range(first, first + count):
                        streams[slot].restart()
                if update and rng.random() < 0.2:
                    rollout_of(streams, first, count, num_steps, update)
                rollouts.append(rollout_of(streams, first, count, num_steps, update))
        num_transitions = sum(model.insert(rollout) for rollout in rollouts)
        later_first = sorted(rollouts, key=lambda rollout: -int(rollout.first_slot))
        experience.insert(later_first)
        want = model.transitions(n_step, GAMMA)
        assert experience.metrics()["replay_size"] == len(want)
        batches = drawn(experience, update)
        # Only in the smallest buffers there may be nothing to draw.
        assert len(batches) == (num_transitions * 2 if want else 0)
        reached = set().union(*(check_transitions(batch, model, n_step) for batch in batches))
        if num_transitions * 256 >= 30 * len(want):
            assert reached == set(want)


def filled(experience: Experience, num_slots: int = 2, num_steps: int = 10, num_inserts: int = 1) -> Model:
    """Inserts streams; returns what the buffer should hold if it has 30 rows a slot."""
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(num_slots)}
    model = Model(30)
    for version in range(num_inserts):
        rollout = rollout_of(streams, 0, num_slots, num_steps, version)
        model.insert(rollout)
        experience.insert([rollout])
    return model


@pytest.mark.parametrize("num_inserts", [1, 5])
def test_all_transitions_are_drawn_equally_often(num_inserts: int) -> None:
    # One insert fills a third of the ring, and several the whole: the two ways to draw.
    experience = make_experience(settings_of(samples_per_insert=2_000.0))
    want = filled(experience, num_inserts=num_inserts).transitions(1, GAMMA)
    counts = dict.fromkeys(want, 0)
    for batch in drawn(experience):
        keys = batch.time_step.observation["vector"][:, 0].astype(int).tolist()
        for key in zip(keys, batch.time_step.step_type.tolist(), strict=True):
            counts[key] += 1
    total = sum(counts.values())
    mean = total / len(want)
    chi_squared = sum((count - mean) ** 2 / mean for count in counts.values())
    # Mean len - 1, variance twice that: six standard deviations.
    assert chi_squared < len(want) + 6 * np.sqrt(2 * len(want))


def test_draws_follow_from_the_seed() -> None:
    first, second, third = (make_experience(settings_of()) for _ in range(3))
    for experience in (first, second, third):
        filled(experience)
    left, right, other = drawn(first, 1), drawn(second, 1), drawn(third, 2)
    assert [batch.next_time_step.reward.tobytes() for batch in left] == [
        batch.next_time_step.reward.tobytes() for batch in right
    ]
    assert left[0].next_time_step.reward.tobytes() != other[0].next_time_step.reward.tobytes()
    assert left[0].next_time_step.reward.tobytes() != left[1].next_time_step.reward.tobytes()


def test_a_sample_of_zeros_has_the_shape_of_all_others_and_changes_nothing() -> None:
    experience = make_experience(settings_of(n_step=3))
    rollout = rollout_of({0: Stream(0, np.random.default_rng(0))}, 0, 1, 8, 0)
    zeros = experience.zero_sample(rollout)
    assert experience.metrics()["replay_size"] == 0
    assert list(experience.due(0.0, (0,))) == []
    experience.insert([rollout])
    sample = next(iter(experience.due(0.0, (0,))))

    def shapes(one: object) -> object:
        return map_structure(lambda leaf: (leaf.shape, leaf.dtype), one)

    assert shapes(sample.experience) == shapes(zeros.experience)
    assert shapes(sample.weights) == shapes(zeros.weights)
    assert sample.num_updates == zeros.num_updates == 4


def test_a_buffer_that_is_too_small_is_refused() -> None:
    experience = make_experience(settings_of(capacity=19))
    with pytest.raises(ConfigError, match="set its capacity to 22 or more"):
        filled(experience)


def test_a_rollout_with_another_leaf_is_refused() -> None:
    experience = make_experience(settings_of())
    filled(experience)
    rollout = rollout_of({slot: Stream(slot, np.random.default_rng(0)) for slot in range(2)}, 0, 2, 3, 0)
    with pytest.raises(ConfigError, match=r"keeps int64 \[\] as action, but a rollout brings float32 \[\]"):
        experience.insert([rollout._replace(action=rollout.action.astype(np.float32))])


def test_n_step_returns_are_those_of_to_n_step_transition() -> None:
    rng = np.random.default_rng(1)
    shape = (50, 5)
    step_type = rng.choice([0, 1, 1, 2], (50, 6))
    reward, discount = rng.standard_normal(shape, np.float32), rng.random(shape, np.float32)
    zeros = np.zeros(shape)
    trajectory = Trajectory(step_type[:, :-1], zeros, zeros, (), step_type[:, 1:], reward, discount)
    want = to_n_step_transition(trajectory, np.float32(0.9)).next_time_step
    goes_on = np.cumprod(step_type[:, :4] != 2, axis=1, dtype=np.bool_)
    goes_on[:, 0] = True
    total, share = n_step_return(reward[:, :-1].T, discount[:, :-1].T, goes_on.T, np.float32(0.9))
    is_start = step_type[:, 0] != 2
    np.testing.assert_array_equal(total[is_start], want.reward[is_start])
    np.testing.assert_array_equal(share[is_start], want.discount[is_start])


@pytest.mark.parametrize("changes", [{}, {"sequence_length": 3}])
def test_the_age_of_samples_is_told_in_versions(changes: dict[str, float]) -> None:
    experience = make_experience(settings_of(capacity=600, samples_per_insert=2_000.0, **changes))
    assert experience.metrics()["replay_age"] == 0
    streams = {0: Stream(0, np.random.default_rng(0), 0.0, 0.0)}
    for version in (3, 5, 10):
        experience.insert([rollout_of(streams, 0, 1, 20, version)])
    ages = []
    for _ in experience.due(0.0, (0,)):
        ages.append(experience.metrics()["replay_age"])
    # Versions 3, 5 and 10 are drawn alike.
    assert np.mean(ages) == pytest.approx((7 + 5 + 0) / 3, abs=0.3)
    experience.insert([rollout_of(streams, 0, 1, 20, 11)])
    assert experience.metrics()["replay_age"] == 0


def test_any_nest_of_leaves_comes_back_with_its_dtypes() -> None:
    experience = make_experience(settings_of(samples_per_insert=64.0))
    streams = {0: Stream(0, np.random.default_rng(0), 0.0)}
    leaves = {
        "z": (np.float16, (2,)),
        "a": (np.bool_, ()),
        "m": (np.float64, (1, 2)),
        "empty": (np.float32, (0,)),
        "camera": (np.uint8, (3, 4, 4)),
    }

    def nest_of(key: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
        return {
            name: (np.broadcast_to(key.reshape(*key.shape, *([1] * len(shape))), (*key.shape, *shape)).astype(dtype),)
            for name, (dtype, shape) in leaves.items()
        }

    for number in range(4):
        rollout = rollout_of(streams, 0, 1, 9, number)
        keys = rollout.observation["vector"][..., 0].astype(np.int64)
        observation = {"key": keys, **nest_of(keys)}
        info = {"value": keys[:, :-1].astype(np.float32)}
        experience.insert(
            [rollout._replace(observation=observation, action=[keys[:, :-1]], policy_info=info, policy_state=())]
        )
        for batch in drawn(experience, number):
            for step in (batch.time_step, batch.next_time_step):
                want = nest_of(step.observation["key"])
                for name in leaves:
                    assert step.observation[name][0].dtype == leaves[name][0]
                    np.testing.assert_array_equal(step.observation[name][0], want[name][0])
            np.testing.assert_array_equal(batch.action_step.action[0], batch.time_step.observation["key"])
            np.testing.assert_array_equal(batch.action_step.info["value"], batch.time_step.observation["key"])


@pytest.mark.parametrize("changes", [{"n_step": 2}, {"sequence_length": 2}])
def test_a_lost_rollout_is_seen_where_all_observations_are_the_same(changes: dict[str, float]) -> None:
    experience = make_experience(settings_of(capacity=60, **changes))
    streams = {0: Stream(0, np.random.default_rng(0), 0.0, 0.0)}
    rollouts = [rollout_of(streams, 0, 1, 10, version) for version in range(4)]
    # The second one is lost; the rewards say which of the others a step is from.
    for version, reward in ((0, 1.0), (2, 100.0), (3, 100.0)):
        rollout = rollouts[version]
        observation = map_structure(np.zeros_like, rollout.observation)
        rewards, ones = np.full_like(rollout.reward, reward), np.ones_like(rollout.discount)
        experience.insert([rollout._replace(observation=observation, reward=rewards, discount=ones)])
    found: set[float] = set()
    for batch in drawn(experience):
        if isinstance(batch, Trajectory):
            # The last one is bootstrapped from.
            found |= set(batch.reward[:, :-1].sum(axis=1).tolist())
        else:
            found |= set(batch.next_time_step.reward.tolist())
    first, second = (1.0, 1.0) if "sequence_length" in changes else (1.0, GAMMA)
    assert found <= {scale * total for scale in (1.0, 100.0) for total in (1.0, first + second)}
