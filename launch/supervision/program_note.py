"""program_note: tells a user that collectors need TensorFlow, and why."""

from __future__ import annotations

from typing import Any

from distpolicy.errors import DistPolicyError
from distpolicy.policies.policy_program import NeedsTensorFlow
from launch.supervision import calls


def program_note(program: Any, timeout_s: float) -> str:
    """Returns why collectors need TensorFlow, and what it costs; empty if they act without it.

    Args:
        program: Reference of a policy's program; None if none was asked for.
        timeout_s: Seconds to wait for it.
    """
    if program is None:
        return ""
    try:
        found = calls.get(program, timeout_s)
    except DistPolicyError:
        # The actor that builds it was lost, which others report.
        return ""
    return str(found) if isinstance(found, NeedsTensorFlow) else ""
