"""ArrayVariables: a policy's variables as NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distpolicy.utils.variables.pairing import check_tau, paired_variables
from distpolicy.weights import VariableLayout, WeightView


class ArrayVariables:
    """The variables of one or several policies.

    Args:
        layout: What each variable is.
        values: Each one's value by its path.

    Attributes:
        layout: As given.
        version: Is raised with every update, so that copies can tell whether they are stale.
        parameters: What TensorFlow has computed from the present values, by the key of the program that takes it; see
            :class:`distpolicy.weights.Weights`. Empty if NumPy has to compute it.
    """

    def __init__(self, layout: Sequence[VariableLayout], values: Mapping[str, np.ndarray]) -> None:
        self.layout = tuple(layout)
        self._values = {item.path: values[item.path] for item in self.layout}
        self.version = 0
        self.parameters: Mapping[str, Sequence[np.ndarray]] = {}

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """Each variable's value by its path."""
        return self._values

    def named(self) -> list[WeightView]:
        """Returns the variables with their paths."""
        return [WeightView(item.path, self._values[item.path]) for item in self.layout]

    def update(
        self,
        policy: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """Moves the variables towards another policy's; see ``TFPolicy.update``.

        Args:
            policy: A policy, or ``Weights``. Their read-only arrays are shared, not copied.
            tau: Share for trainable variables, in [0, 1]; 1 copies.
            tau_non_trainable: Share for the other variables; None for ``tau``.
            sort_variables_by_name: Pairs variables by the natural order of their paths instead of by position.

        Raises:
            ValueError: If a tau is NaN or outside [0, 1], or the variables do not match. Nothing has changed then.
        """
        tau = check_tau("tau", tau)
        other = tau if tau_non_trainable is None else check_tau("tau_non_trainable", tau_non_trainable)
        pairs = paired_variables(policy.named_variables(), self.named(), sort_variables_by_name)
        is_trainable = {item.path: item.trainable for item in self.layout}
        self._values = {
            target.path: _moved(target.variable, source.variable, tau if is_trainable[target.path] else other)
            for source, target in pairs
        }
        is_copy = tau == other == 1.0 and not sort_variables_by_name
        self.parameters = getattr(policy, "parameters", {}) if is_copy else {}
        self.version += 1


def _moved(own: np.ndarray, source: Any, share: float) -> np.ndarray:
    # A share of exactly 0 keeps the value, and a share of exactly 1 copies, even over a NaN.
    if share == 0.0:
        return own
    value = np.asarray(source)
    # Counters and seeds cannot be averaged, so they are copied.
    if share == 1.0 or not (value.dtype.kind in "fc" or value.dtype.name == "bfloat16"):
        return value.copy() if value.flags.writeable else value
    return np.asarray(own + np.asarray(share, own.dtype) * (value - own))
