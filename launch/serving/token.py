"""The token that requests to a served policy have to send."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from distpolicy.errors import ConfigError
from distpolicy.serving.client import TOKEN_VARIABLE
from distpolicy.utils.files.bounded_files import read_text
from distpolicy.utils.files.private_paths import others_may_read, why_others_may_change
from launch.config.serve import ServeConfig

_PRIVATE_FILE = 0o600
_MAX_BYTES = 4096
_MIN_LENGTH = 16


def token_sha256(config: ServeConfig) -> bytes | None:
    """Returns the SHA-256 of the token; None if requests need none. Makes the token's file if it does not exist.

    Args:
        config: The settings.

    Raises:
        ConfigError: If a token is needed and not given, others may know it, or it is too short.
    """
    token = _token(config.token_file)
    if token is None:
        if not config.is_loopback:
            raise ConfigError(
                f"others can reach {config.host}: give --token-file FILE, which is made, or set {TOKEN_VARIABLE}"
            )
        return None
    if len(token) < _MIN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        place = TOKEN_VARIABLE if config.token_file is None else config.token_file
        raise ConfigError(
            f"the token must have {_MIN_LENGTH} or more printable characters without spaces: change {place}"
        )
    return hashlib.sha256(token.encode()).digest()


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        if not file.exists():
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as output:
                output.write(secrets.token_urlsafe(32) + "\n")
        # Of a new file, too: others may be able to replace it.
        if reason := why_others_may_change(file):
            raise ConfigError(f"{reason}, so that others may change the token in {file}: choose another place")
        if others_may_read(file):
            raise ConfigError(f"others may have read the token in {file}: remove it, and a new one is made")
        return read_text(file, _MAX_BYTES).strip()
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot use the token file {file}: {why}") from error
