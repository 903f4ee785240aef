"""The folder of the compile cache: nobody else may change what is in it. Nothing is compiled here."""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from pathlib import Path

import pytest

from distpolicy.errors import DistPolicyWarning
from distpolicy.utils.compilation.compile_cache import cache_folder, seal_compile_cache, use_compile_cache

NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    return tmp_path / "cache"


def is_used() -> bool:
    return str(cache_folder()) in os.environ["TF_XLA_FLAGS"]


def write_entry(name: str) -> Path:
    entry = cache_folder() / f"{name}.pb"
    entry.write_bytes(b"code")
    entry.with_suffix(".sha256").write_text(hashlib.sha256(b"code").hexdigest())
    return entry


def make_folders() -> None:
    cache_folder().mkdir(mode=0o700, parents=True)


def test_a_new_cache_is_private_and_used_without_a_warning(base: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use_compile_cache()
    assert is_used()
    for folder in (cache_folder(), cache_folder().parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_sound_entries_stay_and_others_go(base: Path) -> None:
    make_folders()
    sound, damaged = write_entry("sound"), write_entry("damaged")
    damaged.write_bytes(b"cole")
    target = base / "target"
    target.write_bytes(b"code")
    write_entry("link").unlink()
    (cache_folder() / "link.pb").symlink_to(target)
    use_compile_cache()
    assert list(cache_folder().glob("*.pb")) == [sound]
    assert target.exists()


@pytest.mark.parametrize("place", ["folder", "parent", "base"])
def test_a_folder_that_others_may_write_is_not_used(base: Path, place: str) -> None:
    make_folders()
    entry = write_entry("sound")
    {"folder": cache_folder(), "parent": cache_folder().parent, "base": base}[place].chmod(0o777)
    with pytest.warns(DistPolicyWarning, match="no compile cache: others may write to"):
        use_compile_cache()
    assert not is_used()
    seal_compile_cache()
    assert entry.exists()


@as_root
@pytest.mark.parametrize("place", ["folder", "parent", "base"])
def test_a_folder_of_another_user_is_not_used(base: Path, place: str) -> None:
    make_folders()
    os.chown({"folder": cache_folder(), "parent": cache_folder().parent, "base": base}[place], NOBODY, NOBODY)
    with pytest.warns(DistPolicyWarning, match="belongs to nobody"):
        use_compile_cache()
    assert not is_used()


@as_root
def test_an_entry_of_another_user_goes(base: Path) -> None:
    make_folders()
    os.chown(write_entry("foreign"), NOBODY, NOBODY)
    use_compile_cache()
    assert is_used()
    assert not list(cache_folder().iterdir())


@pytest.mark.parametrize("place", ["folder", "parent"])
def test_nothing_is_removed_behind_a_link(base: Path, place: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    link = {"folder": cache_folder(), "parent": cache_folder().parent}[place]
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    (elsewhere / cache_folder().relative_to(link)).mkdir(parents=True)
    kept = cache_folder() / "not_ours.pb"
    kept.write_bytes(b"")
    with pytest.warns(DistPolicyWarning, match="is a link"):
        use_compile_cache()
    seal_compile_cache()
    assert not is_used()
    assert list(cache_folder().iterdir()) == [kept]


def test_a_home_behind_a_link_is_used(base: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    base.symlink_to(tmp_path / "disk")
    use_compile_cache()
    assert is_used()


def test_a_folder_that_cannot_be_made_is_told(base: Path) -> None:
    base.write_text("a file")
    with pytest.warns(DistPolicyWarning, match="no compile cache: .*exists"):
        use_compile_cache()
    assert not is_used()


def test_a_cache_of_the_users_own_choice_is_left_alone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folders()
    entry = cache_folder() / "new.pb"
    entry.write_bytes(b"code")
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/mine")
    use_compile_cache()
    seal_compile_cache()
    assert list(cache_folder().iterdir()) == [entry]
