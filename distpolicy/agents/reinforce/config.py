"""The settings of REINFORCE. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class ReinforceConfig(AgentConfig):
    """Settings of REINFORCE (Williams, 1992)."""

    kind: ClassVar[str] = "reinforce"
    takes_action_masks: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"entropy": "Entropy of the policy", "whole_steps": "Share of steps whose episode ended in the rollout"}
    )

    _POSITIVE: ClassVar[tuple[str, ...]] = ("learning_rate", "max_gradient_norm")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ("entropy_weight",)
    _SHARES: ClassVar[tuple[str, ...]] = ("discount",)

    common: ClassVar[tuple[str, ...]] = ("learning_rate", "discount", "entropy_weight")

    learning_rate: float = 3e-3
    """Adam's step size."""
    discount: float = 0.99
    """Gamma."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus."""
    max_gradient_norm: float = 1.0
    """Bound of the gradient's global norm."""

    def check(self, shape: RunShape) -> None:
        """Checks that there is one learner, and no mixed precision.

        Raises:
            ConfigError: Says which setting to change.
        """
        if shape.learners > 1:
            raise ConfigError("learners above 1 is not for reinforce, which does not add up gradients: set it to 1")
        if shape.mixed_precision:
            raise ConfigError("mixed_precision is not for reinforce, whose networks compute in float32: leave it out")
