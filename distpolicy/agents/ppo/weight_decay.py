"""WeightDecay: L2 regularisation of an actor's and a critic's kernels."""

from __future__ import annotations

import tensorflow as tf

from distpolicy.networks.network import Network


class WeightDecay:
    """The squares of kernels times their weights.

    Args:
        actor: The actor.
        critic: The critic.
        actor_weight: Weight of the kernels that only the actor has.
        critic_weight: Weight of those that only the critic has.
        shared_weight: Weight of those that both have.
    """

    def __init__(
        self, actor: Network, critic: Network, actor_weight: float, critic_weight: float, shared_weight: float
    ) -> None:
        of_actor, of_critic = _kernels(actor), _kernels(critic)
        groups = (
            (actor_weight, [of_actor[key] for key in of_actor if key not in of_critic]),
            (critic_weight, [of_critic[key] for key in of_critic if key not in of_actor]),
            (shared_weight, [of_actor[key] for key in of_actor if key in of_critic]),
        )
        self._terms = [(weight, variable) for weight, variables in groups if weight > 0.0 for variable in variables]

    def __call__(self) -> tf.Tensor:
        """Returns the sum, float32 scalar."""
        if not self._terms:
            return tf.zeros(())
        return tf.add_n([weight * tf.reduce_sum(tf.square(variable)) for weight, variable in self._terms])


def _kernels(network: Network) -> dict[int, tf.Variable]:
    found = (item for item in network.named_variables() if "kernel" in item.path.rpartition("/")[2])
    return {id(item.variable): item.variable for item in found if item.variable.trainable}
