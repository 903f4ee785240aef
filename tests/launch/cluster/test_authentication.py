"""Ray's token: nobody else may know it. It lies in a home folder that the test has made."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distpolicy.errors import ConfigError, DistPolicyWarning
from launch.cluster.authentication import check_token, provide_token, use_token_if_there_is_one

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder that others can enter; pytest's own folders cannot be entered."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    before = os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setenv("HOME", folder)
        yield Path(folder)
    os.umask(before)
    # use_token_if_there_is_one() has set it.
    os.environ.pop("RAY_AUTH_MODE", None)


def write_token(home: Path, file_mode: int, text: str = "known") -> Path:
    token = home / ".ray" / "auth_token"
    token.parent.mkdir(exist_ok=True)
    token.write_text(text)
    token.chmod(file_mode)
    return token


def test_a_token_is_made_for_its_owner_alone(home: Path) -> None:
    provide_token()
    token = home / ".ray" / "auth_token"
    assert (mode(token), mode(token.parent)) == (0o600, 0o700)
    assert len(token.read_text()) == 64
    assert list(token.parent.iterdir()) == [token]


def test_a_private_token_is_kept(home: Path) -> None:
    token = write_token(home, 0o600)
    provide_token()
    assert token.read_text() == "known"


@pytest.mark.parametrize("file_mode", [0o644, 0o640, 0o604, 0o602, 0o666])
def test_a_token_that_others_may_know_is_replaced_for_a_new_ray(home: Path, file_mode: int) -> None:
    token = write_token(home, file_mode)
    with pytest.warns(DistPolicyWarning, match=f"mode {file_mode:04o}"):
        provide_token()
    assert mode(token) == 0o600
    assert token.read_text() != "known"


@pytest.mark.parametrize("file_mode", [0o644, 0o602])
def test_a_token_that_others_may_know_is_refused_for_a_cluster(home: Path, file_mode: int) -> None:
    token = write_token(home, file_mode)
    for check in (check_token, use_token_if_there_is_one):
        with pytest.raises(ConfigError, match=f"{token}.*mode {file_mode:04o}.*give the cluster a new token"):
            check()


def test_a_token_in_a_home_that_others_cannot_enter_is_made_private_and_kept(home: Path) -> None:
    token = write_token(home, 0o644)
    home.chmod(0o700)
    check_token()
    assert (mode(token), token.read_text()) == (0o600, "known")


def test_a_token_in_a_folder_that_others_may_write_is_replaced(home: Path) -> None:
    token = write_token(home, 0o600)
    token.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        check_token()
    with pytest.warns(DistPolicyWarning, match="others may write"):
        provide_token()
    assert token.read_text() != "known"
    assert mode(token.parent) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_token_of_another_user_is_not_used(home: Path) -> None:
    token = write_token(home, 0o600)
    os.chown(token, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match="belongs to nobody"):
        check_token()
    with pytest.warns(DistPolicyWarning, match="belongs to nobody"):
        provide_token()
    assert (token.stat().st_uid, token.read_text() == "known") == (os.getuid(), False)
    os.chown(home, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match=r"belongs to nobody.*set HOME"):
        provide_token()


def test_a_token_elsewhere_is_checked_and_never_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = write_token(home, 0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    with pytest.raises(ConfigError, match="others may read"):
        provide_token()
    assert token.read_text() == "known"


@pytest.mark.parametrize("setting", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "given"}])
def test_files_do_not_matter_where_ray_reads_none(
    home: Path, setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = write_token(home, 0o644)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    provide_token()
    check_token()
    assert token.read_text() == "known"
