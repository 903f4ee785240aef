from __future__ import annotations

from pathlib import Path

import pytest

from launch.files import write_file, write_folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_write_file_takes_text_and_bytes_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_file(tmp_path / "text", "é\n")
    write_file(tmp_path / "bytes", b"\x00\xff")
    assert contents(tmp_path) == {"text": "é\n".encode(), "bytes": b"\x00\xff"}


def test_write_file_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a longer text than the new one")
    with open(path) as reader:
        write_file(path, "new")
        assert reader.read().startswith("a longer")  # renamed over, and not written into
    assert path.read_text() == "new"


def test_write_file_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_file(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"


def test_write_folder_makes_folders_within(tmp_path: Path) -> None:
    files = {"a": b"1", "deep/er/b": b"2"}
    write_folder(tmp_path / "folder", files)
    assert contents(tmp_path / "folder") == files


def test_write_folder_replaces_the_whole_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"a": b"1", "old/b": b"2"})
    write_folder(tmp_path / "folder", {"a": b"3"})
    assert contents(tmp_path) == {"folder/a": b"3"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_write_folder_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"a": b"1"})
    with pytest.raises(TypeError):
        write_folder(tmp_path / "folder", {"a": b"2", "b": 3})  # type: ignore[dict-item]
    assert contents(tmp_path / "folder") == {"a": b"1"}


def test_write_folder_does_not_take_over_what_a_crash_left(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"a": b"1"})
    for leftover in (".folder.partial", ".folder.old"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "stale").write_text("stale")
    write_folder(tmp_path / "folder", {"a": b"2"})
    assert contents(tmp_path) == {"folder/a": b"2"}
