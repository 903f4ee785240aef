"""The settings of CQL. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.offline_config import OfflineCriticConfig


@dataclass(frozen=True)
class CQLConfig(OfflineCriticConfig):
    """Settings of conservative Q-learning (Kumar et al., 2020)."""

    kind: ClassVar[str] = "cql"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "q_mean": "Mean value of the data's actions",
            "td_error": "Mean absolute error of the values",
            "gradient_norm": "Norm of the gradient",
        }
    )
    common: ClassVar[tuple[str, ...]] = (*OfflineCriticConfig.common, "cql_alpha")
    # Its collect policy collects nothing.
    deploys_collect_policy: ClassVar[bool] = False
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ("cql_alpha",)

    cql_alpha: float = 1.0
    """How much the values of other actions are kept below those of the data's actions."""
