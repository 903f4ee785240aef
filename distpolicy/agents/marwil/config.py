"""The settings of MARWIL. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.agent_config import RunShape
from distpolicy.agents.experience_config import ExperienceConfig, Offline
from distpolicy.agents.offline_config import OfflineConfig
from distpolicy.networks.network_config import check_widths


@dataclass(frozen=True)
class MarwilConfig(OfflineConfig):
    """Settings of MARWIL (Wang et al., 2018)."""

    kind: ClassVar[str] = "marwil"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "policy_loss": "Loss of the policy",
            "value_loss": "Loss of the critic",
            "advantage_scale": "Root of the mean squared advantage",
            "weight_mean": "Mean weight of the actions",
            "gradient_norm": "Norm of the gradient",
        }
    )
    common: ClassVar[tuple[str, ...]] = (*OfflineConfig.common, "beta", "discount")
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OfflineConfig._POSITIVE, "max_weight")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ("beta", "value_loss_weight")
    _SHARES: ClassVar[tuple[str, ...]] = ("discount", "advantage_scale_rate")

    beta: float = 1.0
    """How much likelier the better actions of the data become. 0 is behavioural cloning."""
    discount: float = 0.99
    """Gamma."""
    max_weight: float = 20.0
    """Bound of an action's weight, the exponential of beta times its scaled advantage."""
    value_loss_weight: float = 1.0
    """Weight of the value loss."""
    value_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the critic."""
    advantage_scale_rate: float = 0.01
    """Share of a batch in the running mean of squared advantages, by the root of which advantages are divided."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(f"{self.kind}.value_units", self.value_units)

    @property
    def reward_discount(self) -> float:
        """Gamma."""
        return self.discount

    def experience(self, shape: RunShape) -> ExperienceConfig:
        """Returns the settings by which steps and their returns are drawn."""
        return Offline(shape.dataset, self.batch_size, self.updates_per_call, discount=self.discount, returns=True)
