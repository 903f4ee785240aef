"""Random rollouts for the tests of datasets: each slot's stream depends on its number and the seed only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyInfo
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.datasets.manifest import DatasetManifest
from workers.datasets.schema import DatasetSchema
from workers.datasets.writer import DatasetWriter

FIRST, MID, LAST = 0, 1, 2

CARTPOLE = DatasetSchema(
    time_step_spec(BoundedArraySpec((4,), np.float32, name="observation")),
    BoundedArraySpec((), np.int64, 0, 1, "action"),
    PolicyInfo(ArraySpec((), np.float32)),
)

NESTED = DatasetSchema(
    time_step_spec(
        {
            "camera": BoundedArraySpec((12, 12, 3), np.uint8, 0, 255),
            "arm": (BoundedArraySpec((3,), np.float64), ArraySpec((2, 2), np.float16)),
            "door": ArraySpec((2,), np.bool_),
        }
    ),
    {"move": BoundedArraySpec((2,), np.float32, -1, 1), "jump": BoundedArraySpec((), np.int64, 3, 5)},
    {"value": ArraySpec((), np.float32), "logits": ArraySpec((3,), np.float32)},
)


def random_bits(spec: ArraySpec, outer: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Any bits at all, NaNs of every payload too; valid ones for booleans."""
    shape = (*outer, *spec.shape)
    if spec.dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    count = int(np.prod(shape)) * spec.dtype.itemsize
    return rng.integers(0, 256, count, np.uint8).view(spec.dtype).reshape(shape)


def random_stream(schema: DatasetSchema, slot: int, num_steps: int, seed: int) -> dict[str, Any]:
    """``num_steps`` transitions of a slot, by the fields of a Rollout; episodes of about 6 steps."""
    rng = np.random.default_rng([seed, slot])
    step_type = [FIRST]
    while len(step_type) <= num_steps:
        step_type.append(FIRST if step_type[-1] == LAST else LAST if rng.random() < 0.15 else MID)
    discount = np.where(rng.random(num_steps) < 0.5, 0, 1) * (np.array(step_type[1:]) == LAST)
    return {
        "observation": map_structure(
            lambda spec: random_bits(spec, (num_steps + 1,), rng), schema.time_step_spec.observation
        ),
        "step_type": np.array(step_type, np.int32),
        "action": map_structure(lambda spec: random_bits(spec, (num_steps,), rng), schema.action_spec),
        "policy_info": map_structure(lambda spec: random_bits(spec, (num_steps,), rng), schema.info_spec),
        "reward": rng.standard_normal(num_steps).astype(np.float32),
        "discount": np.where(np.array(step_type[1:]) == LAST, discount, 1).astype(np.float32),
    }


def rollouts(
    schema: DatasetSchema,
    slots: range,
    rollout_steps: int,
    num_rollouts: int,
    seed: int = 0,
    streams: dict[int, dict[str, Any]] | None = None,
) -> list[Rollout]:
    """The rollouts of consecutive slots."""
    total = rollout_steps * num_rollouts
    all_streams = [(streams or {}).get(slot) or random_stream(schema, slot, total, seed) for slot in slots]
    made = []
    for index in range(num_rollouts):
        start, end = index * rollout_steps, (index + 1) * rollout_steps

        def cut(name: str, end: int, start: int = start) -> Any:
            parts = [map_structure(lambda leaf: leaf[start:end], stream[name]) for stream in all_streams]
            return map_structure(lambda *leaves: np.stack(leaves), *parts)

        made.append(
            Rollout(
                observation=cut("observation", end + 1),
                step_type=cut("step_type", end + 1),
                action=cut("action", end),
                policy_info=cut("policy_info", end),
                reward=cut("reward", end),
                discount=cut("discount", end),
                policy_state=(),
                discounted_return=np.zeros(len(slots)),
                cuts=np.zeros((len(slots), rollout_steps), np.bool_),
                weights_version=np.tile(np.array([2, index]), (len(slots), 1)),
                first_step=np.tile(np.array([2, start]), (len(slots), 1)),
                first_slot=np.asarray(slots.start),
            )
        )
    return made


def write_dataset(
    folder: Path,
    schema: DatasetSchema,
    num_slots: int = 3,
    num_collectors: int = 1,
    rollout_steps: int = 7,
    num_rollouts: int = 6,
    rows_per_shard: int = 40,
    compression: str = "zstd",
    faults: Sequence[tuple[int, int]] = (),
) -> DatasetManifest:
    """A finished dataset of random streams, in which a fault cuts at these slots and steps of the stream."""
    records = []
    share = num_slots // num_collectors
    for index in range(num_collectors):
        writer = DatasetWriter(folder, f"collector-{index}", schema, rows_per_shard, compression)
        slots = range(index * share, (index + 1) * share)
        for number, rollout in enumerate(rollouts(schema, slots, rollout_steps, num_rollouts)):
            records += writer.write(with_faults(rollout, faults, number * rollout_steps))
        records += writer.flush()
        writer.close()
    manifest = manifest_of(schema, num_slots).with_shards(records)
    manifest.save(folder)
    return manifest


def with_faults(rollout: Rollout, faults: Sequence[tuple[int, int]], first_step: int) -> Rollout:
    """The rollout with cuts at those of these slots and steps that are in it, where an episode ends."""
    for slot, step in faults:
        row, t = slot - int(rollout.first_slot), step - first_step
        if 0 <= row < rollout.num_slots and 0 <= t < rollout.num_steps:
            assert rollout.step_type[row, t + 1] == LAST
            rollout.cuts[row, t] = True
            rollout.reward[row, t], rollout.discount[row, t] = 0.0, 1.0
    return rollout


def ends_of(schema: DatasetSchema, slot: int, num_steps: int) -> list[int]:
    """The steps of a slot's stream after which an episode ends."""
    step_type = random_stream(schema, slot, num_steps, 0)["step_type"]
    return np.flatnonzero(step_type[1:] == LAST).tolist()


def manifest_of(schema: DatasetSchema, num_slots: int) -> DatasetManifest:
    """The manifest of a dataset that begins."""
    made = DatasetManifest(schema, env_id="CartPole-v1", policy="random", seed=0, num_slots=num_slots)
    return made.with_generation(time=1.5, seed_generation=0)


def same_bits(left: Any, right: Any) -> bool:
    """Whether two nests of arrays have the same dtypes, shapes and bits."""
    pairs = zip(flatten(left), flatten(right), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
