"""V-trace of a batch, by an agent's settings."""

from __future__ import annotations

import tensorflow as tf

from distpolicy.agents.rollout_batch import RolloutBatch
from distpolicy.agents.vtrace_config import VTraceConfig
from distpolicy.ops.vtrace import VTrace, vtrace


def vtrace_of(config: VTraceConfig, batch: RolloutBatch, log_probability: tf.Tensor, value: tf.Tensor) -> VTrace:
    """Returns the estimates for a policy.

    Args:
        config: The settings.
        batch: The rollouts.
        log_probability: float32 ``[B, T]``: of the batch's actions, by the policy.
        value: float32 ``[B, T + 1]``.
    """
    return vtrace(
        log_probability - batch.log_probability,
        batch.reward,
        batch.discount,
        value,
        batch.is_boundary,
        lambda_=config.vtrace_lambda,
        clip_rho=config.clip_rho,
        clip_pg_rho=config.clip_pg_rho,
        clip_c=config.clip_c,
    )
