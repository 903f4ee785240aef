"""Random streams of rollouts for the tests of replay, and a plain list of what a replay buffer should hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distpolicy.agents.experience_config import Replay
from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.experience import Experience

FIRST, MID, LAST = 0, 1, 2
GAMMA = 0.5


def settings_of(**changes: float) -> Replay:
    """The settings of a small buffer, with these changes."""
    given_settings = {"capacity": 60, "batch_size": 32, "num_updates": 4, "samples_per_insert": 256.0, "min_size": 0}
    return Replay(**{**given_settings, "discount": GAMMA, **changes})  # type: ignore[arg-type]


@dataclass
class Step:
    """A time step of an env slot, and what followed it: None at the newest one."""

    key: int
    step_type: int
    reward: float = 0.0
    discount: float = 1.0
    is_cut: bool = False
    has_next: bool = False
    version: int = -1
    # Of the model: its (generation, number), whether a rollout began here, and whether steps before it, of its episode,
    # were lost.
    number: tuple[int, int] = (0, 0)
    is_beginning: bool = False
    is_break: bool = False

    @property
    def is_start(self) -> bool:
        return self.has_next and self.step_type != LAST and not self.is_cut


class Stream:
    """The env of a slot: each time step has a number of its own, from which its observation and action follow."""

    def __init__(self, slot: int, rng: np.random.Generator, fault_share: float = 0.1, end_share: float = 0.25) -> None:
        self._rng, self._fault_share, self._end_share = rng, fault_share, end_share
        self._next_key = slot * 10_000
        self.now = self._step(FIRST)
        # The collector's generation, and the number of the step since it began.
        self.number = (0, 0)

    def _step(self, step_type: int) -> Step:
        self._next_key += 1
        return Step(self._next_key, step_type)

    def restart(self) -> None:
        """Another collector takes the slot over."""
        self.now, self.number = self._step(FIRST), (self.number[0] + 1, 0)

    def advance(self, version: int) -> Step:
        """Returns the step that is done; ``now`` is the one after it."""
        done, self.number = self.now, (self.number[0], self.number[1] + 1)
        done.has_next, done.version = True, version
        done.reward = float(self._rng.integers(-5, 6))
        if done.step_type == LAST:
            self.now = self._step(FIRST)
        elif self._rng.random() < self._fault_share:
            # A fault: the observation stays, the reward is 0 and the discount 1.
            done.reward, done.is_cut = 0.0, True
            self.now = Step(done.key, LAST)
        elif self._rng.random() < self._end_share:
            self.now = self._step(LAST)
            done.discount = float(self._rng.integers(0, 2))
        else:
            self.now = self._step(MID)
            done.discount = 0.5 if self._rng.random() < 0.1 else 1.0
        return done


def observation_of(key: np.ndarray) -> Any:
    """The observation of a time step."""
    key = np.asarray(key)
    return {"vector": np.stack([key, -key], axis=-1).astype(np.float32), "byte": (key % 251).astype(np.uint8)}


def action_of(key: np.ndarray) -> np.ndarray:
    """The action in a time step."""
    return (np.asarray(key) * 3).astype(np.int64)


def rollout_of(streams: dict[int, Stream], first_slot: int, num_slots: int, num_steps: int, version: int) -> Rollout:
    """The next steps of consecutive slots."""
    slots = range(first_slot, first_slot + num_slots)
    first_step = np.array([streams[slot].number for slot in slots])
    rows = [[streams[slot].advance(version) for _ in range(num_steps)] + [streams[slot].now] for slot in slots]

    def gathered(name: str, dtype: Any) -> np.ndarray:
        return np.array([[getattr(step, name) for step in row] for row in rows], dtype)

    keys = gathered("key", np.int64)
    return Rollout(
        observation=observation_of(keys),
        step_type=gathered("step_type", np.int32),
        action=action_of(keys[:, :-1]),
        policy_info=(),
        reward=gathered("reward", np.float32)[:, :-1],
        discount=gathered("discount", np.float32)[:, :-1],
        policy_state={"memory": keys[:, 0].astype(np.float32)},
        discounted_return=np.zeros(num_slots),
        cuts=gathered("is_cut", np.bool_)[:, :-1],
        weights_version=np.tile(np.array([1, version]), (num_slots, 1)),
        first_step=first_step,
        first_slot=np.asarray(first_slot),
    )


@dataclass
class Model:
    """What a replay buffer should hold, as lists: the newest ``length`` time steps of each slot."""

    length: int
    rows: dict[int, list[Step]] = field(default_factory=dict)

    def insert(self, rollout: Rollout) -> int:
        """Adds a rollout; returns its number of transitions."""
        count = 0
        for row in range(rollout.num_slots):
            steps = [self._step(rollout, row, t) for t in range(rollout.num_steps + 1)]
            kept = self.rows.setdefault(int(rollout.first_slot) + row, [])
            steps[0].is_beginning = True
            if kept and kept[-1].number == steps[0].number:
                kept.pop()
            else:
                steps[0].is_break = bool(kept) and steps[0].step_type != FIRST
            kept += steps
            del kept[: -self.length]
            count += sum(step.is_start for step in steps)
        return count

    @staticmethod
    def _step(rollout: Rollout, row: int, t: int) -> Step:
        step = Step(int(rollout.observation["vector"][row, t, 0]), int(rollout.step_type[row, t]))
        generation, first = rollout.first_step[row].tolist()
        step.number = (generation, first + t)
        if t < rollout.num_steps:
            step.reward, step.discount = float(rollout.reward[row, t]), float(rollout.discount[row, t])
            step.is_cut, step.has_next = bool(rollout.cuts[row, t]), True
        return step

    def transitions(self, n_step: int, gamma: float) -> dict[tuple[int, int], tuple[float, float, int, int]]:
        """By key and step type: reward, discount, and the next key and step type of each transition."""
        found = {}
        for rows in self.rows.values():
            for start, step in enumerate(rows):
                if not step.is_start:
                    continue
                reward, share, end, covered = 0.0, 1.0, start, 0
                while covered < n_step and rows[end].is_start:
                    reward += gamma**covered * share * rows[end].reward
                    share *= rows[end].discount
                    covered, end = covered + 1, end + 1
                last = rows[end]
                found[step.key, step.step_type] = (reward, gamma ** (covered - 1) * share, last.key, last.step_type)
        return found

    def sequences(self, span: int) -> dict[tuple[int, int], list[Step]]:
        """By key and step type of the first step: the steps of each sequence, and the one after it if there is one."""
        found = {}
        for rows in self.rows.values():
            for start in range(len(rows) - span + 1):
                steps = rows[start : start + span]
                if steps[0].is_beginning and not any(step.is_break for step in steps[1:]):
                    found[steps[0].key, steps[0].step_type] = rows[start : start + span + 1]
        return found


Saved = tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]


def saved(experience: Experience) -> Saved:
    """All that a checkpoint holds of a buffer: its state, and its segments."""
    return experience.state(), experience.segments(())[1]


def put_back(experience: Experience, one: Saved) -> None:
    """Restores what a checkpoint holds of a buffer, and leaves that as it is."""
    experience.restore(one[0], {name: dict(segment) for name, segment in one[1].items()})


def rows_of(one: Saved, name: str) -> np.ndarray:
    """A leaf of all rows of a buffer, segment by segment, without the newest step of each slot."""
    return np.concatenate([segment[name] for segment in one[1].values()])


def assert_same(left: Saved, right: Saved) -> None:
    """Checks that two buffers hold the same bytes."""
    assert list(left[1]) == list(right[1])
    for one, other in zip([left[0], *left[1].values()], [right[0], *right[1].values()], strict=True):
        assert one.keys() == other.keys()
        for path, value in one.items():
            assert value.dtype == other[path].dtype, path
            assert value.tobytes() == other[path].tobytes(), path


def flat(nest: Any) -> Any:
    """A nest ``[K, B, ...]`` as ``[K * B, ...]``, copied."""
    return map_structure(lambda leaf: np.array(leaf).reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), nest)
