"""Finding: one thing that the doctor looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        verdict: Whether it is well; only FAIL makes the cluster unfit.
        subject: What was looked at.
        text: What was found.
    """

    verdict: Literal["ok", "warn", "FAIL"]
    subject: str
    text: str
