"""LearnerReplica: one of several learners that take the same steps, each from its part of the rollouts."""

from __future__ import annotations

import functools
import os
import socket
import sys
import traceback
from collections.abc import Mapping

import numpy as np
import ray

from distpolicy.errors import DistPolicyError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.weights import Weights
from workers.learning.learner import AgentFactory, Learner, lag_metrics


def reserve_port() -> socket.socket:
    """Returns a socket that keeps a free port for TensorFlow's server, which this process starts later.

    Another process could take a port that is free in between. The server may share this one, since it belongs to the
    same user and shares ports, too.
    """
    os.environ["TF_GRPC_REUSE_PORT"] = "1"
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("", 0))
    return reserved


class LearnerReplica(Learner):
    """One of several learners that learn together; it is ready once it has joined the others.

    Every call of :meth:`restore`, :meth:`warm_up` and :meth:`learn` has to be made on all replicas; all return the same
    value.

    Args:
        agent_factory: Makes the agent from the arguments ``addresses`` and ``rank``.
        generation: The generation of this learner.
        rank: The rank of this replica, from 0 on.
        max_policy_lag: As for :class:`Learner`.
    """

    def __init__(self, agent_factory: AgentFactory, generation: int, rank: int, max_policy_lag: int = 0) -> None:
        self._agent_factory, self._generation, self._rank = agent_factory, generation, rank
        self._max_policy_lag = max_policy_lag
        self._taken: tuple[Rollout, ...] = ()
        self._reserved: socket.socket | None = None

    def address(self) -> str:
        """Returns the address for the other replicas: the address of this node, and a port that is kept until then."""
        self._reserved = reserve_port()
        return f"{ray.util.get_node_ip_address()}:{self._reserved.getsockname()[1]}"

    def join(self, *addresses: str) -> None:
        """Waits for the others, and builds the agent.

        Args:
            addresses: The addresses of all replicas, in the order of their ranks.
        """
        factory = functools.partial(self._agent_factory, addresses, self._rank)
        super().__init__(factory, self._generation, self._max_policy_lag)
        if self._reserved is not None:
            self._reserved.close()

    def take(self, *rollouts: Rollout) -> np.ndarray:
        """Keeps rollouts for the next update, instead of any earlier ones.

        A replica that lacks a rollout would let the others wait. So each begins only when all have their rollouts.

        Args:
            rollouts: As for :meth:`Learner.update`.

        Returns:
            The version of the policy that acted in each row, int64 ``[B]``.
        """
        self._taken = rollouts
        return np.concatenate([rollout.weights_version[:, 1] for rollout in rollouts])

    def learn(
        self, progress: float, *versions: np.ndarray, after: Mapping[str, float] | None = None
    ) -> tuple[Weights, dict[str, float]]:
        """Learns as :meth:`Learner.update` does, from the rollouts that all replicas have taken.

        Args:
            progress: The share of the run that is over, in [0, 1].
            versions: The results of :meth:`take` on all replicas.
            after: As for :meth:`Learner.update`.

        Raises:
            DistPolicyError: As in :meth:`Learner.update`, on all replicas.
            SystemExit: If another error occurs on a replica other than the first. The replicas that wait for it fail,
                too, once its process has ended.
        """
        # Of all rollouts, so that no replica begins if another one refuses its own.
        lags = self._checked_lags(versions)
        # The references are dropped, so that the object store can free the rollouts.
        rollouts, self._taken = self._taken, ()
        try:
            weights, metrics = self.update(progress, *rollouts)
        except DistPolicyError:
            raise
        except Exception:
            if self._rank == 0:
                raise
            traceback.print_exc()
            sys.exit(1)
        return weights, {**metrics, **lag_metrics(lags, self._max_policy_lag)}
