"""The settings of agents that learn by V-trace. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distpolicy.agents.actor_critic_config import ActorCriticConfig


@dataclass(frozen=True)
class VTraceConfig(ActorCriticConfig):
    """Settings of an agent that learns by V-trace (Espeholt et al., 2018)."""

    largest_policy_lag: ClassVar[int | None] = None

    _POSITIVE: ClassVar[tuple[str, ...]] = (*ActorCriticConfig._POSITIVE, "clip_rho", "clip_pg_rho", "clip_c")
    _SHARES: ClassVar[tuple[str, ...]] = (*ActorCriticConfig._SHARES, "vtrace_lambda")

    clip_rho: float = 1.0
    """Bound of the probability ratios in the critic's targets (rho bar)."""
    clip_pg_rho: float = 1.0
    """Bound of the probability ratios in the policy's gradient."""
    clip_c: float = 1.0
    """Bound of the probability ratios in the traces (c bar)."""
    vtrace_lambda: float = 1.0
    """Lambda of the traces. Below 1, estimates vary less and lean more on the critic, as with generalised advantage
    estimation."""
