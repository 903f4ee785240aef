"""The rows of a dataset that a rollout makes: column by column, no loop over steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten, paths
from workers.datasets.episode_index import Places
from workers.datasets.schema import DatasetSchema

Leaves = dict[str, list[np.ndarray]]


class RolloutRows:
    """Makes rows from rollouts.

    Args:
        schema: The dataset's schema.
    """

    def __init__(self, schema: DatasetSchema) -> None:
        self._info_columns = schema.info_columns
        time_step = schema.time_step_spec
        self._specs = {
            "observation": time_step.observation,
            "action": schema.action_spec,
            "policy_info": schema.info_spec,
            "reward": time_step.reward,
            "discount": time_step.discount,
        }

    def check(self, rollout: Rollout) -> None:
        """Compares a rollout with the schema.

        Raises:
            SpecMismatchError: If structure, shape or dtype of an array differ; names the array.
        """
        num_slots, num_steps = rollout.num_slots, rollout.num_steps
        for name, nest in self._specs.items():
            leaves, specs = flatten(getattr(rollout, name)), flatten(nest)
            if len(leaves) != len(specs):
                raise SpecMismatchError(f"the rollout's {name} has {len(leaves)} arrays, the schema {len(specs)}")
            outer = (num_slots, num_steps + (name == "observation"))
            for path, leaf, spec in zip(paths(nest), leaves, specs, strict=True):
                if leaf.dtype != spec.dtype or leaf.shape != (*outer, *spec.shape):
                    raise SpecMismatchError(
                        f"the rollout's {name}{path} is {leaf.dtype} {leaf.shape}; the schema says {spec.dtype} "
                        f"{(*outer, *spec.shape)}"
                    )
        if rollout.step_type.shape != (num_slots, num_steps + 1) or rollout.weights_version.shape != (num_slots, 2):
            raise SpecMismatchError(
                f"the rollout's step_type {rollout.step_type.shape} and weights_version "
                f"{rollout.weights_version.shape} do not fit its {num_slots} slots and {num_steps} steps"
            )
        cuts = rollout.cuts
        if cuts.shape != (num_slots, num_steps) or cuts.dtype != np.bool_:
            raise SpecMismatchError(f"cuts are {cuts.dtype} {cuts.shape}; give bool {(num_slots, num_steps)}")

    def rows(self, rollout: Rollout, places: Places) -> Leaves:
        """The leaves ``[N, *shape]`` of each column, slot by slot; they share no memory with the rollout.

        Args:
            rollout: A rollout that was checked.
            places: Where its transitions belong.
        """
        num_steps = places.keep.shape[1]
        chosen = np.flatnonzero(places.keep.reshape(-1))
        # Of the T + 1 observations of each slot.
        before = chosen + chosen // max(num_steps, 1)
        after = before + 1

        def taken(nest: Any, index: np.ndarray) -> list[np.ndarray]:
            return [
                leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]).take(index, axis=0)
                for leaf in flatten(nest)
            ]

        step_type, next_step_type = taken((rollout.step_type,), before)[0], taken((rollout.step_type,), after)[0]
        discount = taken(rollout.discount, chosen)[0]
        ended, terminated = next_step_type == StepType.LAST, discount == 0
        row = chosen // max(num_steps, 1)
        fixed = {
            "terminateds": ended & terminated,
            "truncateds": ended & ~terminated,
            "eps_id": places.eps_id.reshape(-1).take(chosen),
            "t": places.t.reshape(-1).take(chosen),
            "slot": places.slot.reshape(-1).take(chosen),
            "step": places.step.reshape(-1).take(chosen),
            "step_type": step_type,
            "next_step_type": next_step_type,
            "weights_epoch": rollout.weights_version[:, 0].take(row),
            "weights_version": rollout.weights_version[:, 1].take(row),
            "cut": rollout.cuts.reshape(-1).take(chosen),
        }
        info = zip(self._info_columns, taken(rollout.policy_info, chosen), strict=True)
        return {
            "obs": taken(rollout.observation, before),
            "new_obs": taken(rollout.observation, after),
            "actions": taken(rollout.action, chosen),
            "rewards": taken(rollout.reward, chosen),
            "discount": [discount],
            **{name: [column] for name, column in fixed.items()},
            **{name: [column] for name, column in info},
        }
