from __future__ import annotations

from pathlib import Path

import pytest

from distpolicy.errors import ConfigError
from distpolicy.utils.whole_folder import whole_folder


def write(scratch: str, **files: str) -> None:
    Path(scratch).mkdir()
    for name, text in files.items():
        (Path(scratch) / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    with whole_folder(target) as scratch:
        write(scratch, a="1")
        assert not target.exists()
    assert contents(tmp_path) == {"deep/model/a": "1"}


def test_earlier_folder_is_replaced_and_not_merged(tmp_path: Path) -> None:
    for text in ("1", "2"):
        with whole_folder(tmp_path / "model", {"a", "b"}) as scratch:
            write(scratch, **{"a" if text == "1" else "b": text})
    assert contents(tmp_path) == {"model/b": "2"}


def fail_in_the_middle(target: Path) -> None:
    with whole_folder(target, {"a"}) as scratch:
        write(scratch, a="2")
        raise RuntimeError("mid write")


def test_error_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as scratch:
        write(scratch, a="1")
    with pytest.raises(RuntimeError, match="mid"):
        fail_in_the_middle(tmp_path / "model")
    assert contents(tmp_path) == {"model/a": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_block_that_writes_nothing_leaves_the_earlier_folder(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as scratch:
        write(scratch, a="1")
    with pytest.raises(Exception, match="model"), whole_folder(tmp_path / "model", {"a"}):
        pass
    assert contents(tmp_path) == {"model/a": "1"}


def test_what_is_not_ours_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file"), whole_folder(tmp_path / "file"):
        pass
    with pytest.raises(ConfigError, match="holds file"), whole_folder(tmp_path, {"a"}) as scratch:
        write(scratch, a="1")
    assert contents(tmp_path) == {"file": "x"}
