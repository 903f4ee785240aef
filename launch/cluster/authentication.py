"""Ray's token authentication: which token a command uses, and that nobody else knows it."""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from pathlib import Path

from distpolicy.errors import ConfigError, DistPolicyWarning
from distpolicy.utils.files.private_paths import others_may_read, why_others_may_change

MODE_VARIABLE = "RAY_AUTH_MODE"

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


def use_token_at(address: str | None) -> None:
    """Does as :func:`use_token_if_there_is_one` for a cluster's address; nothing for None, a Ray of one's own."""
    if address is not None:
        use_token_if_there_is_one()


def use_token_if_there_is_one() -> None:
    """Turns token authentication on for this process if there is a token and RAY_AUTH_MODE is not set.

    Ray does this for a cluster on this machine, but not for a cluster at a given address, and not for jobs. A cluster
    without authentication ignores the token. Call this function before Ray is imported, since Ray reads the setting
    then.

    Raises:
        ConfigError: If other users may know the token; see :func:`check_token`.
    """
    if MODE_VARIABLE not in os.environ and (os.environ.get("RAY_AUTH_TOKEN") or _token_file().is_file()):
        os.environ[MODE_VARIABLE] = "token"
    check_token()


def is_on() -> bool:
    """Returns True if this process uses token authentication."""
    return os.environ.get(MODE_VARIABLE, "").lower() == "token"


def check_token() -> None:
    """Checks that only this user knows the token of a cluster to join. Makes its file private.

    Raises:
        ConfigError: If other users may have read the token's file, or may change it. The cluster then needs another
            token, since whoever knows it runs code there as this user.
    """
    file = _token_file()
    if _is_unused() or not file.exists():
        return
    if reason := _why_known(file):
        raise ConfigError(
            f"{reason}, and whoever knows Ray's token runs code as you: give the cluster a new token, then chmod 600 "
            f"{file}, or set RAY_AUTH_TOKEN"
        )
    _make_private(file)


def provide_token() -> None:
    """Makes sure that there is a token for a Ray to start, and that only this user knows it.

    Ray itself would make the token's file with the mode that the umask leaves, which often lets everybody read it. A
    token in Ray's usual place that others may have read is replaced, and a warning says so.

    Raises:
        ConfigError: If the file or its folder cannot be made private.
    """
    if _is_unused():
        return
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        check_token()
        return
    file = _token_file()
    try:
        with contextlib.suppress(FileExistsError):
            file.parent.mkdir(mode=_PRIVATE_FOLDER)
        exists = file.exists()
        reason = _why_known(file) if exists else None
        _make_folder_private(file.parent)
        if reason or not exists:
            _write(file)
        else:
            _make_private(file)
    except OSError as error:
        raise ConfigError(f"cannot make Ray's token {error.filename or file}: {error.strerror}") from error
    if reason:
        warnings.warn(
            f"{reason}, so Ray's token in {file} is now a new one, for you alone; restart Rays that run with the old "
            "one",
            DistPolicyWarning,
            stacklevel=2,
        )


def _is_unused() -> bool:
    """Returns True if Ray does not look for a file with a token."""
    return os.environ.get(MODE_VARIABLE, "token").lower() != "token" or bool(os.environ.get("RAY_AUTH_TOKEN"))


def _token_file() -> Path:
    """Returns the file in which Ray looks for the token."""
    file = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(file) if file else Path.home() / ".ray" / "auth_token"


def _why_known(file: Path) -> str | None:
    """Returns why other users may know the token in a file, or None."""
    if reason := why_others_may_change(file):
        return reason
    return f"others may read {file} (mode {file.stat().st_mode & 0o777:04o})" if others_may_read(file) else None


def _make_folder_private(folder: Path) -> None:
    if folder.stat().st_uid == os.getuid():
        os.chmod(folder, _PRIVATE_FOLDER)
    if reason := why_others_may_change(folder):
        raise ConfigError(f"{reason}: Ray's token needs a folder that only you may change; set HOME to another one")


def _write(file: Path) -> None:
    """Writes a new token into a file that nobody else can read at any time."""
    scratch = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as output:
            output.write(secrets.token_hex(32))
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)


def _make_private(file: Path) -> None:
    """Takes away the rights of others, which the folders above made useless so far."""
    found = file.stat()
    if found.st_uid == os.getuid() and found.st_mode & 0o077:
        os.chmod(file, _PRIVATE_FILE)
