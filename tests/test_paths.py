"""What may be written for the path of a queue and of its backup, and that a refusal makes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq import ConfigError, JobService
from jobq.paths import absolute_path
from jobq.repos import LmdbStorage, MemoryStorage

Take = Callable[[Any], object]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with another one as home."""
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    return here


def back_up(path: Any) -> None:
    with jobq.open("lmdb:../source?sync=off") as svc:
        svc.backup(path)


@pytest.mark.parametrize("take", [LmdbStorage, back_up])
@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ConfigError, "a path must not be empty: for the current folder write '.'"),
        ("a\0b", ConfigError, "a path must not hold a zero byte"),
        ("lmdb:q?sync=off", ConfigError, "'lmdb:q?sync=off' is a URL, and a path is wanted: open URLs with jobq.open"),
        ("memory://", ConfigError, "'memory://' is a URL, and a path is wanted"),
        ("~nobody-of-this-name/q", ConfigError, "the home of '~nobody-of-this-name/q' is not known"),
        (None, TypeError, "a path must be a str or an os.PathLike of str, not NoneType"),
        (b"x", TypeError, "a path must be a str or an os.PathLike of str, not bytes"),
        (3, TypeError, "a path must be a str or an os.PathLike of str, not int"),
    ],
)
def test_a_path_that_is_none(take: Take, path: Any, error: type[Exception], message: str, folder: Path) -> None:
    with pytest.raises(error, match=re.escape(message)):
        take(path)
    assert list(folder.iterdir()) == []


def test_a_leading_tilde_is_the_home(folder: Path) -> None:
    with jobq.open("lmdb:~/q?sync=off") as svc:
        svc.backup("~/copy")
    LmdbStorage("~/other", sync="off").close()
    assert sorted(path.name for path in (folder.parent / "home").iterdir()) == ["copy", "other", "q"]
    assert list(folder.iterdir()) == []


def test_a_path_becomes_absolute(folder: Path) -> None:
    assert absolute_path("q") == absolute_path(Path("q")) == folder / "q"
    assert absolute_path("./lmdb:q") == folder / "lmdb:q"


def test_a_backup_below_a_file_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    for path in ("file/x", "file/x/y"):
        with pytest.raises(ConfigError, match=r"here/file is a file, and .*/x(/y)? would be in it"):
            back_up(path)


@pytest.mark.parametrize("storage", [None, "memory://", Path("q")])
def test_a_service_over_no_storage(storage: Any) -> None:
    with pytest.raises(TypeError, match=f"JobService takes a storage, not {type(storage).__name__}: for a URL use"):
        JobService(storage)


def test_a_name_of_a_queue_in_memory_that_is_none() -> None:
    with pytest.raises(TypeError, match="the name of a queue in memory must be a str, not int"):
        MemoryStorage(3)  # type: ignore[arg-type]


def test_an_unknown_argument_of_open_names_open() -> None:
    with pytest.raises(TypeError, match=r"^open\(\) got an unexpected keyword argument 'sync'"):
        jobq.open("lmdb:q", sync="off")  # type: ignore[call-arg]


def test_bytes_are_no_topics() -> None:
    with jobq.open("memory://") as svc, pytest.raises(TypeError, match="a topic must be a str, not bytes"):
        svc.reserve(b"a")  # type: ignore[arg-type]
