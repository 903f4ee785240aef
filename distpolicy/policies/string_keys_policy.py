"""StringKeysPolicy: a policy whose nests have strings as keys, around one whose dicts have integers as keys."""

from __future__ import annotations

from typing import Any

from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.integer_keys import with_keys_of, with_string_keys


class StringKeysPolicy(TFPolicy):
    """Takes and returns nests with strings as keys, for SavedModels, which cannot hold others.

    The wrapped policy clips actions, resets its state and checks its inputs, so this one does not.

    Args:
        policy: The policy.

    Raises:
        SpecMismatchError: If a key is neither a string nor an integer.
    """

    def __init__(self, policy: TFPolicy) -> None:
        super().__init__(
            with_string_keys(policy.time_step_spec),
            with_string_keys(policy.action_spec),
            with_string_keys(policy.policy_state_spec),
            with_string_keys(policy.info_spec),
            clip=False,
            automatic_state_reset=False,
            validate_args=False,
            name=policy.name,
        )
        self._wrapped_policy = policy

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return with_string_keys(self._wrapped_policy.action(*self._with_own_keys(time_step, policy_state), seed))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        return with_string_keys(self._wrapped_policy.distribution(*self._with_own_keys(time_step, policy_state)))

    def _get_initial_state(self, batch_size: Any) -> Any:
        return with_string_keys(self._wrapped_policy.get_initial_state(batch_size))

    def _with_own_keys(self, time_step: TimeStep, policy_state: Any) -> tuple[TimeStep, Any]:
        policy = self._wrapped_policy
        return with_keys_of(policy.time_step_spec, time_step), with_keys_of(policy.policy_state_spec, policy_state)
