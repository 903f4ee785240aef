"""The token of a served policy is made once, and is no one else's to read or replace."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from distpolicy.errors import ConfigError
from launch.config.serve import ServeConfig
from launch.serving.token import token_sha256


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTPOLICY_TOKEN", raising=False)


def test_a_file_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    config = ServeConfig(host="0.0.0.0", token_file=file)
    made = token_sha256(config)
    assert made == hashlib.sha256(file.read_text().strip().encode()).digest()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_sha256(config) == made


def test_a_folder_that_others_may_write_is_refused_for_a_new_file_too(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"others may write to .*shared .*choose another place"):
            token_sha256(ServeConfig(token_file=shared / "token"))


def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-some-length")
    for mode, told in ((0o666, "others may write to "), (0o644, "others may have read the token in ")):
        tmp_path.chmod(0o755)
        file.chmod(mode)
        if mode == 0o644 and not all(parent.stat().st_mode & 0o001 for parent in file.parents):
            continue  # Nobody else reaches the folder.
        with pytest.raises(ConfigError, match=told):
            token_sha256(ServeConfig(token_file=file))


def test_a_short_token_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTPOLICY_TOKEN", "short")
    with pytest.raises(ConfigError, match="16 or more printable characters without spaces: change DISTPOLICY_TOKEN"):
        token_sha256(ServeConfig())
    file = tmp_path / "token"
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=f"change {file}"):
        token_sha256(ServeConfig(token_file=file))
