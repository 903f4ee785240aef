"""CqlDqnAgent: conservative Q-learning of one discrete action (Kumar et al., 2020)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.dqn.dqn_agent import DdqnAgent, TDLoss
from distpolicy.networks.network import Network
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition


class CqlDqnAgent(DdqnAgent):
    """DdqnAgent that values the data's actions above all others: CQL(H), equation 4 of the paper.

    To each transition's loss it adds ``cql_alpha * (log sum_a exp Q(s, a) - Q(s, a_data))``. The sum is over the
    actions that a mask allows.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: One bounded scalar integer spec, or a nest that holds one.
        q_network: From observations to values ``[..., num_actions]``.
        optimizer: A Keras optimizer, or an Adam.
        cql_alpha: The weight of what is added.
        **arguments: The other arguments of :class:`DdqnAgent`.

    Raises:
        ValueError: As in the base class.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        q_network: Network,
        optimizer: Any,
        cql_alpha: float = 1.0,
        **arguments: Any,
    ) -> None:
        super().__init__(time_step_spec, action_spec, q_network, optimizer, **arguments)
        self._cql_alpha = cql_alpha

    def _td_loss(self, transition: Transition, training: bool = True) -> TDLoss:
        td = super()._td_loss(transition, training)
        # XLA finds that the base class has computed the same, and computes it once.
        outputs = self._outputs(self._q_network, transition.time_step, training)
        if (mask := self._mask(transition.time_step)) is not None:
            outputs = tf.where(tf.cast(mask, tf.bool), outputs, outputs.dtype.min)
        gap = tf.reduce_logsumexp(outputs, axis=-1) - td.value
        return td._replace(loss=td.loss + self._cql_alpha * gap, figures={"cql_loss": gap})
