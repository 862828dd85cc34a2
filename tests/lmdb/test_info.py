"""info: what a directory is, its room, and who has it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest

import jobq
from jobq import JobService, NewJob, StorageError, StorageFull
from jobq.codec import FORMAT
from jobq.errors import ReentrantCall
from jobq.model.views import Plain
from jobq.repos.lmdb import LmdbStorage, dirty, environment, holders
from jobq.repos.lmdb.backup import Backup
from jobq.repos.lmdb.copy import Copy
from tests.clocks import PATIENCE
from tests.lmdb.namespaces import opened_in
from tests.lmdb.test_sharing import in_child


@pytest.fixture
def svc(tmp_path: Path) -> Iterator[JobService]:
    with JobService(LmdbStorage(tmp_path / "jobs", sync="off")) as svc:
        yield svc


def size_of(svc: JobService, name: str) -> int:
    """One of the details that are numbers."""
    value = svc.info().details[name]
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize(
    "settings",
    [
        {"sync": "full", "max_size": 2**30, "topics": "lmdb"},
        {"sync": "normal", "max_size": 2**21, "topics": "memory"},
        {"sync": "off", "max_size": 2**40, "topics": "lmdb"},
    ],
)
def test_it_says_what_the_directory_is(tmp_path: Path, settings: dict[str, Any]) -> None:
    with JobService(LmdbStorage(tmp_path / "jobs", **settings)) as svc:
        info = svc.info()
    expected: dict[str, Plain] = {
        **settings,
        "path": f"{tmp_path}/jobs",
        "format": FORMAT,
        "generation": 1,
        "lmdb_version": ".".join(map(str, lmdb.version())),
        "processes": (os.getpid(),),
        "is_backed_up": False,
    }
    assert info.kind == "lmdb"
    assert info.url == f"lmdb://{tmp_path}/jobs"
    assert expected.items() <= info.details.items()
    assert set(info.details) - set(expected) == {"file_size", "used_size", "room"}


def test_sizes_follow_the_jobs(svc: JobService, tmp_path: Path) -> None:
    empty = svc.info().details
    ids = svc.enqueue_many([NewJob("mail", payload=bytes(3_000)) for _ in range(300)])
    full = svc.info().details
    assert size_of(svc, "used_size") > 300 * 3_000
    assert size_of(svc, "file_size") == (tmp_path / "jobs" / "data.mdb").stat().st_size >= size_of(svc, "used_size")
    svc.cancel(ids)
    svc.delete(ids)
    assert size_of(svc, "file_size") >= full["file_size"] > empty["file_size"]  # type: ignore[operator]
    assert size_of(svc, "used_size") < 300 * 3_000
    svc.compact()
    assert size_of(svc, "file_size") < 300 * 3_000


@pytest.mark.parametrize("is_writable", [True, False])
def test_there_is_room_for_as_much_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    monkeypatch.setattr(environment, "can_allocate", lambda path: is_writable)
    with JobService(LmdbStorage(tmp_path / "jobs", sync="off", max_size=2**21)) as svc:
        assert size_of(svc, "room") == 2**21
        while size_of(svc, "room") > 20_000:
            svc.enqueue("mail", payload=bytes(size_of(svc, "room") // 2))
        with pytest.raises(StorageFull):
            svc.enqueue_many([NewJob("mail", payload=bytes(2_000)) for _ in range(40)])


def test_there_is_no_more_room_than_the_disk_has(svc: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    svc.enqueue("mail")
    disk = SimpleNamespace(f_blocks=10**6, f_bavail=1_000, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert 2**21 < size_of(svc, "room") < 2**23
    disk.f_bavail = 0
    assert size_of(svc, "room") == 0
    disk.f_blocks = 0  # a filesystem without a size
    assert size_of(svc, "room") > 2**30


def test_a_directory_that_is_gone_is_a_storage_error(svc: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "statvfs", gone)
    with pytest.raises(StorageError, match="is not there any more"):
        svc.info()


def test_it_names_the_processes_that_have_it_open(svc: JobService, tmp_path: Path) -> None:
    with opened_in((), f"lmdb:{tmp_path}/jobs"):
        processes = svc.info().details["processes"]
        assert isinstance(processes, tuple)
        assert len(processes) == 2
        assert os.getpid() in processes
    assert svc.info().details["processes"] == (os.getpid(),)
    assert in_child(lambda: svc.info().details["processes"]).count(str(os.getpid())) == 1


@pytest.mark.parametrize("table", [None, "", "1: FLOCK  ADVISORY  READ 0 00:00:1 0 EOF\nwhat is this\n"])
def test_where_the_system_does_not_tell_it_names_this_one(
    svc: JobService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str | None
) -> None:
    if table is not None:
        (tmp_path / "locks").write_text(table)
    monkeypatch.setattr(holders, "LOCKS", tmp_path / "locks")
    assert svc.info().details["processes"] == (os.getpid(),)


def test_it_says_whether_a_backup_runs(svc: JobService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    svc.enqueue("mail")
    said: list[Plain] = []
    catch_up = Backup._catch_up

    def look(self: Backup, copy: Copy) -> None:
        said.append(svc.info().details["is_backed_up"])
        catch_up(self, copy)

    monkeypatch.setattr(Backup, "_catch_up", look)
    svc.backup(tmp_path / "copy")
    assert said == [True]
    assert svc.info().details["is_backed_up"] is False


def test_a_backup_that_was_killed_runs_no_more(svc: JobService) -> None:
    within = svc._storage._environment  # type: ignore[attr-defined]
    with within.env.begin(write=True) as txn:
        dirty.begin(txn, within.dbs)
    assert svc.info().details["is_backed_up"] is False


def test_it_holds_up_nobody_and_waits_for_no_writer(svc: JobService) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def stay(_: object) -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    writer = threading.Thread(target=svc._storage.transact, args=(stay,))
    writer.start()
    try:
        assert inside.wait(PATIENCE)
        assert svc.info().job_count == 0
    finally:
        go_on.set()
        writer.join(PATIENCE)


def test_within_a_transaction_of_places_in_memory_it_is_refused(tmp_path: Path) -> None:
    with jobq.open(f"lmdb:{tmp_path}/jobs?topics=memory") as svc:

        def body(_: object) -> None:
            with pytest.raises(ReentrantCall):
                svc.info()

        svc._storage.transact(body)
        assert svc.info().job_count == 0
