"""The seal of a run's config.yaml: it shows that this user's own command wrote the file.

A run directory or a dataset may come from somebody else. Its config.yaml names code: an environment, wrappers, an
agent. Taking such names from a stranger's file would run what the stranger likes.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import ConfigError
from distpolicy.utils.files.bounded_files import read_bytes
from distpolicy.utils.files.private_paths import others_may_read, why_others_may_change
from launch.config.codec import MAX_CONFIG_BYTES
from launch.config.collect import CollectConfig
from launch.config.train import TrainConfig
from workers.inference.policy_source import is_saved_model

_MARK = b"# seal: "
_KEY_BYTES = 32


def sealed(text: str) -> str:
    """Returns YAML with a last line that only this user can make. If the user's key cannot be kept, without it."""
    data = text.encode()
    key = _key(make=True)
    return text if key is None else text + (_MARK + _seal(key, data) + b"\n").decode()


def check_names_of_code(path: Path, config: TrainConfig | CollectConfig, given: Collection[str] = ()) -> None:
    """Checks that the code that a file names may run: the command line names it, too, or the file has the seal.

    Registered ids of Gymnasium need neither.

    Args:
        path: The file.
        config: What it holds.
        given: Names of the settings that do not come from the file.

    Raises:
        ConfigError: If the file names code and has no seal of this user.
    """
    named = [(option, value) for option, value in _names_of_code(config) if option not in given]
    if named and not _has_seal(path):
        option, value = named[0]
        raise ConfigError(
            f"{path} names {option} {value}, and you have not written this file on this machine, or it was changed: "
            f"if you trust it, give --{option} {value} yourself"
        )


def _names_of_code(config: TrainConfig | CollectConfig) -> Iterator[tuple[str, str]]:
    if ":" in config.env:
        yield "env", config.env
    if config.wrappers:
        yield "wrappers", " ".join(config.wrappers)
    if isinstance(config, TrainConfig) and isinstance(config.agent, CustomAgentConfig):
        yield "agent", config.agent.name
        yield "custom.folder", config.agent.folder
    if config.address not in (None, "auto"):
        # What a cluster answers is unpickled.
        yield "address", str(config.address)
    if isinstance(config, CollectConfig) and is_saved_model(config.policy):
        # A SavedModel may read and write files.
        yield "policy", config.policy


def _has_seal(path: Path) -> bool:
    key = _key(make=False)
    if key is None:
        return False
    data, mark, seal = read_bytes(path, MAX_CONFIG_BYTES).rpartition(_MARK)
    return bool(mark) and hmac.compare_digest(seal.strip(), _seal(key, data))


def _seal(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).hexdigest().encode()


def _key(make: bool) -> bytes | None:
    """Returns this user's key, which nobody else can read or replace; None if there is no such key.

    Args:
        make: Whether to make a key if there is none.
    """
    file = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "distpolicy" / "seal_key"
    try:
        if make and not _is_private(file):
            _make_key(file)
        return file.read_bytes() if _is_private(file) else None
    except OSError:
        return None


def _is_private(file: Path) -> bool:
    with contextlib.suppress(OSError):
        is_whole = file.stat().st_size == _KEY_BYTES
        return is_whole and not others_may_read(file) and why_others_may_change(file, file.parent.parent) is None
    return False


def _make_key(file: Path) -> None:
    file.parent.parent.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
            output.write(secrets.token_bytes(_KEY_BYTES))
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)
