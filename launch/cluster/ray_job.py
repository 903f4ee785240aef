"""Job: submits, follows and stops a Ray job."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from distpolicy.errors import ConfigError, DistPolicyError

_POLL_S = 0.2
# To wait for the final status of a job whose log has ended. Usually the status changes at once.
_END_TIMEOUT_S = 60.0


def connect(address: str) -> JobSubmissionClient:
    """Connects to the job server of a cluster.

    Args:
        address: Address that :class:`JobSubmissionClient` takes.

    Raises:
        ConfigError: If there is no job server at the address, or it asks for a token.
    """
    # The client logs each connection that it closes.
    logging.getLogger(JobSubmissionClient.__module__).setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise ConfigError(
            f"the cluster at {address} asks for its token: copy its ~/.ray/auth_token here, or set RAY_AUTH_TOKEN_PATH"
        ) from error
    except (ConnectionError, RuntimeError, ValueError, requests.exceptions.RequestException) as error:
        raise ConfigError(
            f"no dashboard of a Ray cluster at {address}; check the address: {' '.join(str(error).split())}"
        ) from error


class Job:
    """Submits a job and follows it.

    Args:
        client: Client of the job server.
        entrypoint: The shell command that runs on the head.
        runtime_env: Ray's runtime environment of the job.
        name: The job's id.

    Attributes:
        name: The job's id.

    Raises:
        DistPolicyError: If the job is not accepted.
    """

    def __init__(self, client: JobSubmissionClient, entrypoint: str, runtime_env: dict[str, Any], name: str) -> None:
        self._client = client
        try:
            self.name = client.submit_job(entrypoint=entrypoint, runtime_env=runtime_env, submission_id=name)
        except (RuntimeError, ValueError, requests.exceptions.RequestException) as error:
            raise DistPolicyError(f"the job was not accepted: {' '.join(str(error).split())}") from error

    def follow(self) -> int:
        """Prints the job's output until it ends. The first SIGINT or SIGTERM stops the job, the second leaves it.

        Returns:
            The job's exit code, or 128 plus the number of the signal that was received.

        Raises:
            DistPolicyError: If the job did not run, somebody else stopped it, or the connection to the cluster is lost.
        """
        try:
            interruption = asyncio.run(self._follow())
            return self._exit_code(interruption)
        except (OSError, RuntimeError, requests.exceptions.RequestException) as error:
            raise DistPolicyError(
                f"the connection to the cluster is lost; job {self.name} may still run, see ray job status "
                f"{self.name}: {' '.join(str(error).split())}"
            ) from error

    async def _follow(self) -> int | None:
        """Follows the log, and returns the number of the first signal that was received, or None."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        came: list[int] = []

        def stop(number: int) -> None:
            came.append(number)
            if len(came) == 1:
                print(f"stopping job {self.name}; interrupt again to leave it", flush=True)
                loop.run_in_executor(None, self._client.stop_job, self.name)
            else:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            async for text in self._client.tail_job_logs(self.name):
                sys.stdout.write(text)
                sys.stdout.flush()
        except asyncio.CancelledError:
            if not came:
                raise
        return came[0] if came else None

    def _exit_code(self, interruption: int | None) -> int:
        if interruption is not None:
            return 128 + interruption
        deadline = time.monotonic() + _END_TIMEOUT_S
        info = self._client.get_job_info(self.name)
        while not info.status.is_terminal() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            info = self._client.get_job_info(self.name)
        if info.status == JobStatus.SUCCEEDED:
            return 0
        if info.status == JobStatus.STOPPED:
            raise DistPolicyError(f"job {self.name} was stopped by somebody else")
        if info.driver_exit_code is None:
            raise DistPolicyError(f"job {self.name} did not run: {' '.join(str(info.message).split())}")
        code = int(info.driver_exit_code)
        return code if code >= 0 else 128 - code
