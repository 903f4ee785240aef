"""PolicyUpdates: the implementation of ``TFPolicy.update``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from distpolicy.utils.common import SoftUpdate
from distpolicy.utils.variables.module_variables import NamedVariable


class PolicyUpdates:
    """Updates one policy from others, and compiles repeated copies from the same one.

    The second copy from a policy is compiled. From then on it takes one call, not two for each variable.

    Args:
        policy: The policy to update. Variables that it gets later are not updated.
    """

    def __init__(self, policy: Any) -> None:
        self._soft_update = SoftUpdate(policy.named_variables())
        self._copies: weakref.WeakKeyDictionary[tf.Module, dict[bool, Callable[[], None] | None]]
        self._copies = weakref.WeakKeyDictionary()

    def __call__(self, source: Any, tau: float, tau_non_trainable: float | None, sort_variables_by_name: bool) -> None:
        """Updates the policy; see :meth:`distpolicy.policies.tf_policy.TFPolicy.update`."""
        if tau == 1.0 and tau_non_trainable in (None, 1.0) and isinstance(source, tf.Module):
            copies = self._copies.setdefault(source, {})
            if sort_variables_by_name in copies:
                copy = copies[sort_variables_by_name]
                if copy is None:
                    copy = self._soft_update.compiled_copy(_named_variables(source), sort_variables_by_name)
                    copies[sort_variables_by_name] = copy
                copy()
                return
            copies[sort_variables_by_name] = None
        self._soft_update(_named_variables(source), tau, tau_non_trainable, sort_variables_by_name)


def _named_variables(policy: Any) -> Any:
    if hasattr(policy, "named_variables"):
        return policy.named_variables()
    variables = policy.variables() if callable(policy.variables) else policy.variables
    return [NamedVariable(variable.name, variable) for variable in variables]
