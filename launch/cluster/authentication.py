"""Ray's token authentication: turned on if there is a token."""

from __future__ import annotations

import os
from pathlib import Path

MODE_VARIABLE = "RAY_AUTH_MODE"


def use_token_if_there_is_one() -> None:
    """Turns token authentication on for this process if there is a token and RAY_AUTH_MODE is not set.

    Ray does this for a cluster on this machine, but not for a cluster at a given address, and not for jobs. A cluster
    without authentication ignores the token. Call this function before Ray is imported, since Ray reads the setting
    then.
    """
    if MODE_VARIABLE not in os.environ and _has_token():
        os.environ[MODE_VARIABLE] = "token"


def is_on() -> bool:
    """Returns True if this process uses token authentication."""
    return os.environ.get(MODE_VARIABLE, "").lower() == "token"


def _has_token() -> bool:
    """Returns True if there is a token in one of the places where Ray looks for it."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    file = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return (Path(file) if file else Path.home() / ".ray" / "auth_token").is_file()
