"""Finding: the result of one check of the doctor command."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        verdict: ``ok``, ``warn`` or ``FAIL``. Only FAIL makes the cluster unfit for a run.
        subject: What was checked, such as a node.
        text: What was found, in one line.
    """

    verdict: Literal["ok", "warn", "FAIL"]
    subject: str
    text: str
