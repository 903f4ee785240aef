"""MixturePolicy: acts by one of several policies, drawn for every step and row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.draws import sample
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.policies.row_draws import outer_shape_of, seeds_of_rows, stream_seed, where_rows
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, paths

MIXTURE_AGENT_ID = "mixture_agent_id"
SUBPOLICY_INFO = "subpolicy_info"


class MixturePolicy(TFPolicy):
    """Draws, for each row of each call, which of its policies acts.

    All policies are called, so that their states stay up to date. The state is the tuple of all states, or ``()`` if no
    policy has one. The info is a dict with ``mixture_agent_id``, the policy that acted, int32 ``[...]``, and
    ``subpolicy_info``, the info of that policy.

    Args:
        mixture_distribution: A ``tfp.distributions.Categorical`` over the policies, without batch dimensions.
        policies: Policies with the same time step, action and info specs; their states may differ.
        name: Name of the module.

    Raises:
        TypeError: If ``mixture_distribution`` is not categorical.
        ValueError: If the number of categories is not the number of policies, the distribution has a batch shape, or
            specs differ. The message names the leaf.
        NotImplementedError: From ``distribution``.
    """

    def __init__(
        self,
        mixture_distribution: tfp.distributions.Categorical,
        policies: Sequence[TFPolicy],
        name: str | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, tfp.distributions.Categorical):
            raise TypeError(
                "mixture_distribution must be a tfp.distributions.Categorical, not a "
                f"{type(mixture_distribution).__name__}"
            )
        shape = mixture_distribution.logits_parameter().shape
        if not policies or shape.as_list() != [len(policies)]:
            raise ConfigError(
                f"mixture_distribution must have one category for each of the {len(policies)} policies, but has "
                f"logits of shape {shape}"
            )
        first = policies[0]
        for index, policy in enumerate(policies):
            for what in ("time_step_spec", "action_spec", "info_spec"):
                _assert_same_specs(getattr(policy, what), getattr(first, what), f"policies[{index}].{what}")
        states = tuple(policy.policy_state_spec for policy in policies)
        agent_spec = tensor_spec.BoundedTensorSpec((), tf.int32, 0, len(policies) - 1, MIXTURE_AGENT_ID)
        super().__init__(
            first.time_step_spec,
            first.action_spec,
            policy_state_spec=states if flatten(states) else (),
            info_spec={MIXTURE_AGENT_ID: agent_spec, SUBPOLICY_INFO: first.info_spec},
            # Each policy resets its own state and clips its own actions.
            automatic_state_reset=False,
            clip=False,
            name=name,
        )
        self._mixture_distribution = mixture_distribution
        self._policies = list(policies)
        # Each of several nested mixtures and wrappers draws from a stream of its own.
        self._stream = 1 + sum(isinstance(module, TFPolicy) for module in self.submodules)

    @property
    def policies(self) -> list[TFPolicy]:
        """The policies to choose from."""
        return list(self._policies)

    def _get_initial_state(self, batch_size: Any) -> Any:
        if not flatten(self.policy_state_spec):
            return ()
        return tuple(policy.get_initial_state(batch_size) for policy in self._policies)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        states = policy_state or ((),) * len(self._policies)
        steps = [policy.action(time_step, state, seed) for policy, state in zip(self._policies, states, strict=True)]
        chosen = self._choose(stream_seed(seed, self._stream), outer_shape_of(time_step.step_type))
        action, info = steps[0].action, steps[0].info
        for index, step in enumerate(steps[1:], 1):
            action, info = where_rows(tf.equal(chosen, index), (step.action, step.info), (action, info))
        state = tuple(step.state for step in steps) if flatten(self.policy_state_spec) else ()
        return PolicyStep(action, state, {MIXTURE_AGENT_ID: chosen, SUBPOLICY_INFO: info})

    def _choose(self, seed: tf.Tensor | None, outer_shape: tf.Tensor) -> tf.Tensor:
        """Draws the policy of each row: int32 ``[*outer_shape]``."""
        rows = seeds_of_rows(seed, outer_shape)
        logits = self._mixture_distribution.logits_parameter()
        shape = tf.stack([tf.shape(rows)[0], len(self._policies)])
        logits = tf.ensure_shape(tf.broadcast_to(logits, shape), [rows.shape[0], len(self._policies)])
        drawn = sample(tfp.distributions.Categorical(logits=logits, dtype=tf.int32), rows)
        return tf.reshape(drawn, outer_shape)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("MixturePolicy does not have a distribution; call action()")


def _assert_same_specs(specs: Any, expected: Any, what: str) -> None:
    if paths(specs) != paths(expected):
        raise SpecMismatchError(f"{what} has the leaves {paths(specs)}, but the first policy's has {paths(expected)}")
    for path, spec, other in zip(paths(expected), flatten(specs), flatten(expected), strict=True):
        # Names do not matter.
        if tensor_spec.to_array_spec(spec) != tensor_spec.to_array_spec(other):
            raise SpecMismatchError(f"{what}{path} is {spec}, but the first policy's is {other}")
