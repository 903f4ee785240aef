from __future__ import annotations

from pathlib import Path

import pytest
from small_disk import small_disk

from distpolicy.errors import DistPolicyError
from distpolicy.utils.atomic_files import GrowingFile, write_file, write_folder


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


def test_write_file_that_finds_the_disk_full_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        write_file(disk / "file", "old")
        with pytest.raises(DistPolicyError, match=rf"^cannot write {disk}/file: No space left on device$"):
            write_file(disk / "file", bytes(100_000))
        assert contents(disk) == {"file": b"old"}


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DistPolicyError, match=r"^cannot write .*/file/more: Not a directory$"):
        write_file(tmp_path / "file" / "more", "")
    with pytest.raises(DistPolicyError, match=r"^cannot write .*/file/folder: Not a directory$"):
        write_folder(tmp_path / "file" / "folder", {"a": b""})


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


def test_write_folder_that_finds_the_disk_full_names_the_file_and_takes_no_room(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        write_folder(disk / "folder", {"a": b"1"})
        with pytest.raises(DistPolicyError, match=rf"^cannot write {disk}/folder/deep/b: No space left on device$"):
            write_folder(disk / "folder", {"a": b"2", "deep/b": bytes(100_000)})
        assert contents(disk) == {"folder/a": b"1"}
        assert [path.name for path in disk.iterdir()] == ["folder"]
        (disk / "room").write_bytes(bytes(40_000))


def test_a_growing_file_replaces_what_was_there_and_has_each_piece_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    file = GrowingFile(path, b"1")
    assert path.read_bytes() == b"1"
    for piece in (b"22", b"", b"333"):
        file.append(piece)
    assert path.read_bytes() == b"122333"
    file.close()
    file.close()


def grow(file: GrowingFile) -> None:
    for number in range(100):
        file.append(bytes([number]) * 5_000)


def test_a_growing_file_on_a_full_disk_ends_with_its_last_whole_piece_and_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, "64k") as disk:
        file = GrowingFile(disk / "file")
        (disk / "other").write_bytes(bytes(20_000))
        with pytest.raises(DistPolicyError, match=rf"^cannot write {disk}/file: No space left on device$"):
            grow(file)
        size = (disk / "file").stat().st_size
        assert size % 5_000 == 0
        assert size >= 30_000
        (disk / "other").unlink()
        file.append(b"end")
        file.close()
        assert (disk / "file").read_bytes()[size - 1 :] == bytes([size // 5_000 - 1]) + b"end"
