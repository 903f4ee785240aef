"""Ray's token authentication, kept on."""

from __future__ import annotations

import os
from pathlib import Path

MODE_VARIABLE = "RAY_AUTH_MODE"


def use_token_if_there_is_one() -> None:
    """Turns token authentication on for this process, if nobody has chosen and there is a token.

    Ray does so for the cluster that runs on this machine, but neither for one whose address is given nor for jobs. A
    cluster without authentication does not mind. It is read when Ray is imported.
    """
    if MODE_VARIABLE not in os.environ and _has_token():
        os.environ[MODE_VARIABLE] = "token"


def is_on() -> bool:
    """Whether this process uses token authentication."""
    return os.environ.get(MODE_VARIABLE, "").lower() == "token"


def _has_token() -> bool:
    """Whether there is a token in any of the places in which Ray looks for it."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    file = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return (Path(file) if file else Path.home() / ".ray" / "auth_token").is_file()
