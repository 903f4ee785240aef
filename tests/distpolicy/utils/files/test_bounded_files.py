from __future__ import annotations

import os
from pathlib import Path

import pytest

from distpolicy.utils.files.bounded_files import MAX_DEPTH, check_file, parse_json, read_bytes, read_text

FORTY_GIB = 40 * 2**30


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than"):
        read_bytes(path, 4)


def test_what_is_not_a_regular_file_or_huge_is_refused_at_once(tmp_path: Path) -> None:
    fifo, huge = tmp_path / "fifo", tmp_path / "huge"
    os.mkfifo(fifo)
    huge.touch()
    os.truncate(huge, FORTY_GIB)
    for path, reason in ((fifo, "not a regular file"), (tmp_path, "directory|not a regular"), (huge, r"40\.0 GiB")):
        with pytest.raises((ValueError, OSError), match=reason):
            read_bytes(path, 2**20)
    for path in (fifo, huge):
        with pytest.raises(ValueError, match=r"regular|GiB"):
            check_file(path, 2**20)


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="not a regular file"):
        read_bytes("/dev/zero", 2**20)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\xff")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        read_text(tmp_path / "file", 10)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_json_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(ValueError, match="nested more than"):
            parse_json(text)


def test_json_is_parsed() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1)
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parse_json(deep)
