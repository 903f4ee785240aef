"""PolicyServer: the inference server of a training run, started again if it is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch.supervision import calls
from launch.training.pending_update import error_of


class PolicyServer:
    """The actor that computes the actions of all collectors.

    Args:
        start: Starts the actor.
        timeout_s: Seconds after which it counts as lost if it has not answered.
    """

    def __init__(self, start: Callable[[], Any], timeout_s: float) -> None:
        self._start, self._timeout_s = start, timeout_s
        self._actor: Any = None

    @property
    def actor(self) -> Any:
        """The actor; it is started when it is needed first."""
        if self._actor is None:
            self._actor = self._start()
        return self._actor

    def hold(self, weights: Any) -> Any:
        """Makes the server hold weights. Returns a reference of their name, which stands for them in rollouts.

        Args:
            weights: Reference of the weights.
        """
        return self.actor.apply.remote(weights)

    def is_lost(self) -> bool:
        """Returns True if the server was started, and has died or does not answer."""
        if self._actor is None:
            return False
        asked = self._actor.ping.remote()
        calls.wait([asked], 1, self._timeout_s)
        return error_of(asked) is not None

    def drop_if_lost(self) -> bool:
        """Returns True if the server is lost. The next one is started when it is needed."""
        if not self.is_lost():
            return False
        self.kill()
        return True

    def kill(self) -> None:
        """Ends the server; may be called twice."""
        if self._actor is not None:
            calls.kill(self._actor)
            self._actor = None
