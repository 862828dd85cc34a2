"""A queue's directory and files are its user's alone: modes, symbolic links, owners."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jobq
from jobq import ConfigError, StorageError
from jobq.repos.lmdb.directory import LOCK_BYTES
from tests.lmdb.test_sharing import in_child

FILES = ("data.mdb", "jobq.gate", "jobq.json", "jobq.lock", "lock.mdb")
STRANGER = 54_321
"""The id of a user who is not the one of the tests."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(path: Path) -> list[str]:
    """The modes of a directory and of all that is in it."""
    entries = (path, *sorted(path.rglob("*")))
    return [f"{entry.relative_to(path)} {stat.S_IMODE(entry.lstat().st_mode):o}" for entry in entries]


def private_modes(path: Path) -> list[str]:
    """What `modes` gives if all is the owner's alone."""
    entries = (path, *sorted(path.rglob("*")))
    return [f"{entry.relative_to(path)} {'700' if entry.is_dir() else '600'}" for entry in entries]


def refused(path: Path, message: str) -> None:
    """Assert that the path is refused as a queue's directory, with its content unchanged."""

    def content() -> dict[str, os.stat_result]:
        return {str(found): found.lstat() for found in (path, *sorted(path.iterdir()))}

    before = {name: (found.st_mode, found.st_ino, found.st_size) for name, found in content().items()}
    with pytest.raises(ConfigError, match=message):
        jobq.open(f"lmdb://{path}")
    assert {name: (found.st_mode, found.st_ino, found.st_size) for name, found in content().items()} == before


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a path belong to another user; who may not do that is made another user than its owner instead."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, STRANGER, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: STRANGER)

    return give


def as_user(uid: int, work: Callable[[Path], object]) -> str:
    """What `work` returns or raises in a process of another user, if there may be one, with a folder of his own."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, uid, uid)

        def as_other() -> object:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            return work(Path(folder))

        return in_child(as_other)


# -- modes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o002, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("uid", [0, STRANGER])
def test_a_new_directory_is_its_owners_alone_whatever_the_umask(mask: int, uid: int) -> None:
    def make(folder: Path) -> object:
        with umask(mask), jobq.open(f"lmdb://{folder}/jobs") as svc:
            svc.enqueue("mail")
        with jobq.open(f"lmdb://{folder}/jobs") as svc:
            assert svc.stats("mail").enqueued == 1
        assert {f"{name} 600" for name in FILES} < set(modes(folder / "jobs"))
        return modes(folder / "jobs") == private_modes(folder / "jobs")

    assert as_user(uid, make) == "True"


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_directory_that_others_may_only_read_is_taken_as_it_is(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)
    with jobq.open(f"lmdb://{path}") as svc:
        assert svc.enqueue("mail") == 1
    assert modes(path) == [f". {mode:o}", *private_modes(path)[1:]]


@pytest.mark.parametrize("mode", [0o770, 0o775, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)
    refused(path, rf"/jobs can be written by others than its owner \(mode {mode:o}\), .*: chmod 700 {path}")
    path.chmod(0o700)
    jobq.open(f"lmdb://{path}").close()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o660, 0o602])
def test_a_file_that_others_may_write_to_is_refused(path: Path, name: str, mode: int) -> None:
    jobq.open(f"lmdb://{path}").close()
    (path / name).chmod(mode)
    refused(path, rf"/jobs/{name} can be written by others than its owner \(mode {mode:o}\), .*: chmod 600 {path}")
    (path / name).chmod(0o600)
    jobq.open(f"lmdb://{path}").close()


def test_a_directory_that_is_open_is_looked_at_again_by_who_opens_it(path: Path) -> None:
    with jobq.open(f"lmdb://{path}") as svc:
        path.chmod(0o777)
        with pytest.raises(ConfigError, match="can be written by others"):
            jobq.open(f"lmdb://{path}")
        assert svc.enqueue("mail") == 1


# -- symbolic links ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_queue", [True, False])
def test_a_link_to_a_directory_is_refused_and_what_it_stands_for_is_named(
    path: Path, tmp_path: Path, is_queue: bool
) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    if is_queue:
        jobq.open(f"lmdb://{tmp_path}/real").close()
    before = os.listdir(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    refused(path, rf"/jobs is a symbolic link, .*: use the directory itself, {tmp_path}/real")
    assert os.listdir(tmp_path / "real") == before


def test_a_link_to_nowhere_is_refused_and_nothing_made(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "missing")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        jobq.open(f"lmdb://{path}")
    assert not (tmp_path / "missing").exists()


def test_a_link_above_the_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "link").symlink_to("var")
    with jobq.open(f"lmdb://{tmp_path}/link/app/jobs") as svc:
        assert svc.enqueue("mail") == 1
    with jobq.open(f"lmdb://{tmp_path}/var/app/jobs") as svc:
        assert svc.status(1) == "ready"


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    jobq.open(f"lmdb://{path}").close()
    elsewhere = tmp_path / "elsewhere"
    (path / name).rename(elsewhere)
    before = elsewhere.read_bytes()
    (path / name).symlink_to(elsewhere)
    refused(path, rf"/jobs/{name} is a symbolic link: a queue's files must be in its directory")
    assert elsewhere.read_bytes() == before
    elsewhere.replace(path / name)
    jobq.open(f"lmdb://{path}").close()


@pytest.mark.parametrize("name", [*FILES, "jobq.json.new"])
def test_a_link_to_nowhere_in_a_directory_to_be_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    path.mkdir(mode=0o700)
    (path / name).symlink_to(tmp_path / "made")
    with pytest.raises(ConfigError, match=f"/jobs/{name} is a symbolic link"):
        jobq.open(f"lmdb://{path}")
    assert not (tmp_path / "made").exists()


def test_a_link_in_place_of_the_folder_for_wake_ups_is_refused_and_not_cleaned_out(path: Path, tmp_path: Path) -> None:
    path.mkdir(mode=0o700)
    (tmp_path / "documents").mkdir(mode=0o700)
    (tmp_path / "documents" / "novel").write_text("mine")
    (path / "wake").symlink_to(tmp_path / "documents")
    with pytest.raises(ConfigError, match="/jobs/wake is a symbolic link"):
        jobq.open(f"lmdb://{path}")
    assert (tmp_path / "documents" / "novel").read_text() == "mine"
    (path / "wake").unlink()
    with jobq.open(f"lmdb://{path}") as svc:  # the failed attempt left nothing open
        assert svc.enqueue("mail") == 1


@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_folder_for_wake_ups_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    jobq.open(f"lmdb://{path}").close()
    (path / "wake").chmod(mode)
    refused(path, rf"/jobs/wake can be written by others than its owner \(mode {mode:o}\), .*: chmod 700 {path}/wake")


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_plain_file_is_refused(path: Path, name: str) -> None:
    jobq.open(f"lmdb://{path}").close()
    (path / name).unlink()
    os.mkfifo(path / name, 0o600)
    refused(path, f"/jobs/{name} is not a plain file")


# -- owners ------------------------------------------------------------------------------------------------------------


def test_a_directory_of_another_user_is_refused(path: Path, give_away: Callable[[Path], None]) -> None:
    path.mkdir(mode=0o700)
    me = os.geteuid()
    give_away(path)
    users = (STRANGER, me) if me == 0 else (me, STRANGER)
    refused(path, "/jobs belongs to user {}, and this process runs as user {}: run it as the owner".format(*users))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_user_is_refused(path: Path, name: str, give_away: Callable[[Path], None]) -> None:
    jobq.open(f"lmdb://{path}").close()
    give_away(path / name)
    refused(path, rf"/jobs(/{name})? belongs to user \d+, and this process runs as user \d+: run it as the owner")


def test_a_directory_of_roots_is_refused_to_other_users_with_the_reason() -> None:
    def opening(_: Path) -> object:
        return jobq.open("lmdb:///usr/bin")

    assert as_user(STRANGER, opening).startswith("ConfigError: /usr/bin belongs to user 0, and this process runs as us")


def test_a_queue_that_its_user_may_not_look_into_is_not_said_to_be_absent() -> None:
    def opening(folder: Path) -> object:
        jobq.open(f"lmdb://{folder}/jobs").close()
        (folder / "jobs").chmod(0)
        return jobq.open(f"lmdb://{folder}/jobs", create=False)

    said = as_user(STRANGER, opening)
    assert said.startswith("StorageError: ")
    assert "/jobs is not writable, which a queue needs even to read: change its owner or mode" in said


def test_any_user_has_queues_of_his_own() -> None:
    def working(folder: Path) -> object:
        with jobq.open(f"lmdb://{folder}/jobs") as svc:
            svc.enqueue("mail", payload="mine")
            return [job.text for job in svc.reserve("mail")]

    assert as_user(STRANGER, working) == "['mine']"


def test_a_directory_in_a_place_that_the_user_may_not_write_to() -> None:
    def opening(folder: Path) -> object:
        folder.chmod(0o500)
        if os.geteuid() == 0:
            raise AssertionError("root may write anywhere")
        return jobq.open(f"lmdb://{folder}/jobs")

    assert "Permission denied): give a path where this user may make one" in as_user(STRANGER, opening)
    assert issubclass(StorageError, jobq.JobqError)


# -- files that are gone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb"])
def test_a_file_that_was_removed_under_another_process_is_not_made_anew(path: Path, name: str) -> None:
    with jobq.open(f"lmdb://{path}"):
        (path / name).unlink()

        def opening() -> object:
            return jobq.open(f"lmdb://{path}")

        said = in_child(opening)
        assert said.startswith(f"StorageError: {path}/{name} was removed while another process has it open: close it")
        assert not (path / name).exists()


def test_a_lock_file_that_was_removed_while_nobody_had_it_open_is_made_anew(path: Path) -> None:
    with jobq.open(f"lmdb://{path}") as svc:
        svc.enqueue("mail")
    (path / "lock.mdb").unlink()
    with jobq.open(f"lmdb://{path}") as svc:
        assert svc.status(1) == "ready"
    assert "lock.mdb 600" in modes(path)


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb"])
def test_what_a_process_left_that_was_killed_while_it_made_the_directory_is_used(path: Path, name: str) -> None:
    path.mkdir(mode=0o700)
    (path / name).touch(mode=0o600)
    with jobq.open(f"lmdb://{path}") as svc:
        assert svc.enqueue("mail") == 1
        assert (path / "lock.mdb").stat().st_size == LOCK_BYTES
