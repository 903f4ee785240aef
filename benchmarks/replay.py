"""CPU time of a batch of 256 from replay, beside a plain NumPy gather of the same arrays and beside cpprb.

In one thread, each of these takes its turns, and the CPU time is counted, which other processes change less:

- replay: ``ReplayExperience.due``, which draws K batches at once and puts the transitions together; if prioritised,
  also the feedback of new priorities;
- NumPy: as many rows drawn with equal probability, and the same leaves of plain arrays as ``array[rows]``: observation
  and step type, those of the next step, action, and the rewards and discounts of n steps;
- NumPy's floor: the same by ``np.take`` into memory that is there;
- cpprb, if it is installed: ``sample(256)``; if prioritised, also ``update_priorities``.

Replay's images with frames last lie frame by frame in memory, and the compiled update transposes them; ``array[rows]``
and ``np.take`` copy images that lie pixel by pixel.

Each ratio is the median over the turns of the two figures of one turn. Goals: uniform replay within 1.15 times
``array[rows]``, prioritised replay within cpprb's time, and stacks of four frames in 1.1 times the memory of one copy
of each frame.

    python benchmarks/replay.py
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from reporting import met, print_header, print_table

from distpolicy.agents.experience_config import Replay
from distpolicy.trajectories.rollout import Rollout
from workers.experience.factory import make_experience

BATCH = 256
NUM_SLOTS = 8
ROLLOUT_STEPS = 500
EPISODE_STEPS = 1000
HAS_CPPRB = importlib.util.find_spec("cpprb") is not None
PACKAGES = ("numpy", "cpprb") if HAS_CPPRB else ("numpy",)
MEBIBYTE = 2**20

INDEX, TAKE = "array[rows]", "np.take"

# Draws one sample of K batches; the figure is the time of all of them.
Call = Callable[[], Any]


class Case(NamedTuple):
    """What is measured.

    Attributes:
        name: Its name in tables.
        num_rows: Rows in the buffer, which is full.
        num_batches: K, the batches of a sample.
        stack_axis: Dimension of the frames of an image; None for four floats.
        n_step: Steps of a transition.
        priority_exponent: Alpha; 0 for uniform draws.
    """

    name: str
    num_rows: int
    num_batches: int
    stack_axis: int | None = None
    n_step: int = 1
    priority_exponent: float = 0.0


CASES = (
    Case("uniform, 4 floats", 1_000_000, 32),
    Case("uniform, 4 floats, 3 steps", 1_000_000, 32, n_step=3),
    Case("prioritised, 4 floats", 1_000_000, 32, priority_exponent=0.6),
    Case("uniform, 4×84×84", 100_000, 2, stack_axis=0),
    Case("uniform, 84×84×4", 100_000, 2, stack_axis=2),
    Case("prioritised, 4×84×84", 100_000, 2, stack_axis=0, priority_exponent=0.6),
    Case("prioritised, 84×84×4", 100_000, 2, stack_axis=2, priority_exponent=0.6),
)


def rollouts_of(case: Case) -> Iterator[Rollout]:
    """Rollouts that fill the buffer, of episodes of 1,000 steps."""
    rng = np.random.default_rng(0)
    steps = np.arange(case.num_rows // NUM_SLOTS + ROLLOUT_STEPS + 1)
    step_type = np.where(steps % EPISODE_STEPS == 0, 0, np.where(steps % EPISODE_STEPS == EPISODE_STEPS - 1, 2, 1))
    frames = rng.integers(0, 256, (NUM_SLOTS, 4, 84, 84), np.uint8)
    vector = rng.standard_normal((NUM_SLOTS, 1, 4), np.float32)
    for begin in range(0, len(steps) - ROLLOUT_STEPS, ROLLOUT_STEPS):
        shape = (NUM_SLOTS, ROLLOUT_STEPS)
        if case.stack_axis is None:
            new = rng.standard_normal((*shape, 4), np.float32)
            observation = np.concatenate([vector, new], axis=1)
            vector = new[:, -1:]
        else:
            # The first steps of an episode are padded by frames of the episode before, as by any others.
            frames = np.concatenate([frames[:, -4:], rng.integers(0, 256, (*shape, 84, 84), np.uint8)], axis=1)
            windows = np.lib.stride_tricks.sliding_window_view(frames, 4, axis=1)
            observation = np.ascontiguousarray(np.moveaxis(windows, 4, 2 + case.stack_axis))
        yield Rollout(
            observation=observation,
            step_type=np.tile(step_type[begin : begin + ROLLOUT_STEPS + 1], (NUM_SLOTS, 1)),
            action=rng.integers(0, 2, shape),
            policy_info=(),
            reward=np.ones(shape, np.float32),
            discount=np.ones(shape, np.float32),
            policy_state=(),
            discounted_return=np.zeros(NUM_SLOTS),
            cuts=np.zeros(shape, np.bool_),
            weights_version=np.zeros((NUM_SLOTS, 2), np.int64),
            first_step=np.tile(np.array([0, begin]), (NUM_SLOTS, 1)),
            first_slot=np.asarray(0),
        )


def replay_calls(case: Case) -> tuple[Call, float]:
    """Fills a buffer; returns a call that draws a sample, and the MiB of the buffer's rows."""
    config = Replay(
        capacity=case.num_rows,
        batch_size=BATCH,
        num_updates=case.num_batches,
        samples_per_insert=1e6,
        min_size=0,
        n_step=case.n_step,
        priority_exponent=case.priority_exponent,
    )
    experience = make_experience(config)
    for rollout in rollouts_of(case):
        experience.insert([rollout])
    memory_mib = experience.metrics()["replay_memory_mib"]
    samples = iter(experience.due(0.0, (0,)))
    priorities = np.random.default_rng(0).random((case.num_batches, BATCH), np.float32)

    def call() -> None:
        sample = next(samples)
        if sample.places is not None:
            experience.feedback(sample, priorities)

    return call, memory_mib


def numpy_calls(case: Case) -> dict[str, Call]:
    """Calls that take the leaves of as many rows out of plain arrays."""
    shape, dtype = ((4,), np.float32) if case.stack_axis is None else ((84, 84, 4), np.uint8)
    # Written, so that the pages are there.
    observation, action = np.full((case.num_rows, *shape), 1, dtype), np.full(case.num_rows, 1)
    reward, discount = np.full(case.num_rows, 1, np.float32), np.full(case.num_rows, 1, np.float32)
    step_type = np.full(case.num_rows, 1, np.int32)
    arrays = [(array, step) for array in (observation, step_type) for step in (0, 1)] + [(action, 0)]
    arrays += [(array, step) for array in (reward, discount) for step in range(case.n_step)]
    count = case.num_batches * BATCH
    outputs = [np.full((count, *array.shape[1:]), 0, array.dtype) for array, _ in arrays]
    rng = np.random.default_rng(0)

    def index() -> list[np.ndarray]:
        rows = rng.integers(0, case.num_rows - case.n_step, count)
        return [array[rows + step] for array, step in arrays]

    def take() -> None:
        rows = rng.integers(0, case.num_rows - case.n_step, count)
        for (array, step), output in zip(arrays, outputs, strict=True):
            np.take(array, rows + step, axis=0, out=output, mode="clip")

    return {INDEX: index, TAKE: take}


def cpprb_call(case: Case) -> Call:
    """A call that draws as many batches from cpprb's buffer."""
    import cpprb

    shape: dict[str, Any] = {"shape": 4} if case.stack_axis is None else {"shape": (84, 84, 4), "dtype": np.uint8}
    fields = {"obs": shape, "act": {"dtype": np.int64}, "rew": {}, "done": {}}
    prioritised = case.priority_exponent > 0
    if prioritised:
        buffer = cpprb.PrioritizedReplayBuffer(case.num_rows, fields, next_of="obs", alpha=case.priority_exponent)
    else:
        buffer = cpprb.ReplayBuffer(case.num_rows, fields, next_of="obs")
    count = 10_000 if case.stack_axis is None else 500
    observation = np.full((count, *np.atleast_1d(shape["shape"])), 1, shape.get("dtype", np.float32))
    for _ in range(case.num_rows // count):
        zeros = np.zeros(count, np.float32)
        buffer.add(obs=observation, next_obs=observation, act=zeros, rew=zeros, done=zeros)
    priorities = np.random.default_rng(0).random((case.num_batches, BATCH))

    def call() -> None:
        for batch in range(case.num_batches):
            found = buffer.sample(BATCH)
            if prioritised:
                buffer.update_priorities(found["indexes"], priorities[batch])

    return call


def measured(case: Case, turns: int) -> tuple[dict[str, np.ndarray], float]:
    """CPU microseconds for 256 transitions, by turn, and the MiB of the buffer's rows."""
    replay, memory_mib = replay_calls(case)
    calls = {"replay": replay, **numpy_calls(case)}
    if HAS_CPPRB and case.n_step == 1:
        calls["cpprb"] = cpprb_call(case)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            begin = time.thread_time()
            for _ in range(3):
                call()
            # The first turn makes arrays and touches pages.
            if turn:
                times[name].append((time.thread_time() - begin) / 3 / case.num_batches * 1e6)
    return {name: np.array(values) for name, values in times.items()}, memory_mib


def ratio(times: dict[str, np.ndarray], other: str) -> float | None:
    """The median over turns of replay's time by the other's; None if the other was not measured."""
    return float(np.median(times["replay"] / times[other])) if other in times else None


def row_of(case: Case, times: dict[str, np.ndarray], memory_mib: float) -> list[str]:
    """A row of the table."""
    ratios = [ratio(times, name) for name in (INDEX, TAKE, "cpprb")]
    goal, limit = (ratios[2], 1.0) if case.priority_exponent else (ratios[0], 1.15)
    # One copy of each frame, or of each row's leaves.
    copy_mib = case.num_rows * (7056 if case.stack_axis is not None else 4 * 4 + 8 + 4 + 4) / MEBIBYTE
    return [
        case.name,
        *(f"{np.median(times[name]):.0f}" if name in times else "" for name in ("replay", INDEX, TAKE, "cpprb")),
        *(f"{value:.2f}" if value is not None else "" for value in ratios),
        met(goal <= limit) if goal is not None else "",
        f"{memory_mib:.0f}",
        f"{memory_mib / copy_mib:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="times that each of them is measured")
    parser.add_argument("--cases", default="", help="measure only cases whose names contain this")
    arguments = parser.parse_args()
    print_header(f"CPU microseconds for {BATCH} transitions from replay", PACKAGES)
    columns = ["", "replay", INDEX, TAKE, "cpprb"]
    columns += [f"by {name}" for name in (INDEX, TAKE, "cpprb")] + ["goal", "rows, MiB", "by one copy"]
    rows = []
    for case in CASES:
        if arguments.cases in case.name:
            rows.append(row_of(case, *measured(case, arguments.turns)))
    print_table(columns, rows)


if __name__ == "__main__":
    main()
