"""AsyncPolicySaver: saves a policy in a thread of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from distpolicy.policies.policy_saver import PolicySaver

_logger = logging.getLogger(__name__)


class AsyncPolicySaver:
    """Saves while the program goes on. While one save runs, further ones are skipped.

    Variables are read while the save runs: what is saved is a state between that of the call and that of its end. The
    saver's other public attributes are available here, too.

    Args:
        policy_saver: What saves the policy.
    """

    def __init__(self, policy_saver: PolicySaver) -> None:
        self._policy_saver = policy_saver
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="policy_saver")
        self._running: Future[Any] | None = None
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        # A copied or unpickled object has no attributes yet, and looking one up would recurse.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._policy_saver, name)

    def save(self, export_dir: str | os.PathLike[str], blocking: bool = False) -> None:
        """Saves the policy as a SavedModel.

        Args:
            export_dir: The folder.
            blocking: Whether to wait, for a save that runs and then for this one.

        Raises:
            ValueError: If the saver is closed.
            Exception: What the save before raised.
        """
        self._start(self._policy_saver.save, export_dir, blocking)

    def save_checkpoint(self, export_dir: str | os.PathLike[str], blocking: bool = False) -> None:
        """Saves the policy's variables; see :meth:`save`."""
        self._start(self._policy_saver.save_checkpoint, export_dir, blocking)

    def flush(self) -> None:
        """Waits for the save that runs, if there is one, and raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Waits for the save that runs, if there is one, and ends the thread."""
        try:
            self.flush()
        finally:
            self._closed = True
            self._pool.shutdown()

    def _start(self, save: Callable[[Any], Any], export_dir: Any, blocking: bool) -> None:
        if self._closed:
            raise ValueError("the AsyncPolicySaver is closed")
        if not blocking and self._running is not None and not self._running.done():
            _logger.info("a save is still running, so the one to %s is skipped", os.fspath(export_dir))
            return
        self.flush()
        self._running = self._pool.submit(save, export_dir)
        if blocking:
            self.flush()
