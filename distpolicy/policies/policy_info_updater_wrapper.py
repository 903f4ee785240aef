"""PolicyInfoUpdaterWrapper: another policy with additional info."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distpolicy.errors import SpecMismatchError
from distpolicy.policies.policy_wrapper import PolicyWrapper
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class PolicyInfoUpdaterWrapper(PolicyWrapper):
    """Adds the dict that a function returns to the wrapped policy's info.

    Args:
        policy: The policy to wrap. Its info is a dict or empty.
        info_spec: Dict of specs of the resulting info.
        updater_fn: Function from a PolicyStep to a dict of tensors. In ``distribution`` the step's actions are
            distributions.
        name: Name of the module.

    Raises:
        ValueError: When the policy acts, if the wrapped policy's info is neither a dict nor ``()``, the function does
            not return a dict, or the result does not match ``info_spec``.
        TypeError: When the policy acts, if a dtype in the result does not match ``info_spec``.
    """

    def __init__(
        self,
        policy: TFPolicy,
        info_spec: Any,
        updater_fn: Callable[[PolicyStep], Mapping[str, Any]],
        name: str | None = None,
    ) -> None:
        super().__init__(policy, info_spec=info_spec, clip=False, name=name)
        self._updater_fn = updater_fn

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return self._updated(self._wrapped_policy.action(time_step, policy_state, seed))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        return self._updated(self._wrapped_policy.distribution(time_step, policy_state))

    def _updated(self, step: PolicyStep) -> PolicyStep:
        more = self._updater_fn(step)
        info = {} if isinstance(step.info, tuple) and not step.info else step.info
        for what, value in (("the wrapped policy's info", info), ("what updater_fn returns", more)):
            if not isinstance(value, Mapping):
                raise SpecMismatchError(f"{self.name}: {what} must be a dict, not a {type(value).__name__}")
        return step._replace(info={**info, **more})
