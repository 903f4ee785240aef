"""The settings of CQL. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.action_kinds import ActionKind
from distpolicy.agents.offline_config import OfflineCriticConfig


@dataclass(frozen=True)
class CQLConfig(OfflineCriticConfig):
    """Settings of conservative Q-learning (Kumar et al., 2020)."""

    kind: ClassVar[str] = "cql"
    actions: ClassVar[ActionKind] = "one discrete or floats"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "q_mean": "Mean value of the data's actions",
            "td_error": "Mean absolute error of the values",
            "cql_loss": "How far the values of other actions reach above those of the data's actions",
            "cql_alpha": "Weight of that loss",
            "actor_loss": "Loss of the policy",
            "critic_loss": "Loss of the critics",
            "entropy": "Entropy of the policy",
        }
    )
    common: ClassVar[tuple[str, ...]] = (*OfflineCriticConfig.common, "cql_alpha")
    # Its collect policy collects nothing.
    deploys_collect_policy: ClassVar[bool] = False
    takes_network_continuous: ClassVar[bool] = False
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OfflineCriticConfig._POSITIVE, "actor_learning_rate", "num_cql_samples")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ("cql_alpha", "num_bc_steps")
    # Not num_cql_samples and actor_learning_rate: the preset, which is for any dataset, has its own.
    _FOR_FLOATS: ClassVar[tuple[str, ...]] = ("learn_cql_alpha", "cql_tau", "num_bc_steps")

    max_gradient_norm: float = 10.0
    """Bound of the gradient's global norm; for actions of floats, of the norm of each variable's gradient."""
    cql_alpha: float = 1.0
    """How much the values of other actions are kept below those of the data's actions. With learn_cql_alpha, at the
    start, which must be above 0."""
    learn_cql_alpha: bool = False
    """For actions of floats: learn cql_alpha, so that the values of other actions reach cql_tau above those of the
    data's actions."""
    cql_tau: float = 10.0
    """See learn_cql_alpha."""
    num_cql_samples: int = 10
    """For actions of floats: number of the policy's actions, and of uniform ones, that are valued for each row."""
    actor_learning_rate: float = 3e-4
    """For actions of floats: Adam's step size for the actor and for the temperature of its entropy."""
    num_bc_steps: int = 0
    """For actions of floats: number of gradient steps at first in which the actor imitates the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learn_cql_alpha:
            self._require("cql_alpha", self.cql_alpha > 0, "above 0 with learn_cql_alpha")
