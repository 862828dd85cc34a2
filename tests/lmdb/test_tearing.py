"""A process killed between the two stores that make a commit count and complete it, through a writable map."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from jobq import JobService, NewJob
from jobq.repos.lmdb import LmdbStorage, environment, tearing
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE
from tests.lmdb.namespaces import ROOT

NUMBER = struct.Struct("=Q")
PREPARE = "import sys, jobq; from jobq.repos.lmdb import environment; environment.can_allocate = lambda path: True"


@pytest.fixture(autouse=True)
def writable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writable map, whatever the filesystem of the tests."""
    monkeypatch.setattr(environment, "can_allocate", lambda path: True)


def tear(path: Path) -> None:
    """Have the last commit look as if the process was killed before it stored the root, the last of the fields."""
    with open(path / "data.mdb", "r+b") as file:
        page_size = os.sysconf("SC_PAGE_SIZE")
        metas = [file.read(page_size), file.read(page_size)]
        numbers = [NUMBER.unpack_from(meta, 16 + 0x80)[0] for meta in metas]
        noted, root = struct.unpack_from("=QQ", metas[0], tearing.NOTE)
        assert noted == max(numbers)
        file.seek((noted & 1) * page_size + 16 + 0x70)
        assert file.read(8) != NUMBER.pack(root)
        file.seek(-8, os.SEEK_CUR)
        file.write(NUMBER.pack(root))


def go_on(storage: LmdbStorage, stored: int) -> None:
    """Assert that so many jobs are there, and that pages are used again without harm."""
    svc = JobService(storage)
    assert svc.enqueue("mail", payload="next") == stored + 1
    assert svc.stats("mail").enqueued == stored + 1
    check_invariants(storage)
    for _ in range(30):
        svc.enqueue_many([NewJob("mail", payload=b"x" * 300)] * 10)
        svc.done(svc.reserve("mail", 10))
    assert svc.payload(stored + 1) == b"next"
    assert svc.verify() == []


def enqueue(storage: LmdbStorage, count: int) -> None:
    svc = JobService(storage)
    for _ in range(count):
        svc.enqueue("mail", payload=b"y" * 300)


@pytest.mark.parametrize("count", [40, 41])
def test_the_next_writer_undoes_a_torn_commit(tmp_path: Path, count: int) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    enqueue(storage, 1)
    script = (
        f"{PREPARE}; svc = jobq.open(sys.argv[1]); [svc.enqueue('mail', payload='x' * 300) for _ in range({count})]"
    )
    subprocess.run([sys.executable, "-c", script, f"lmdb:{tmp_path}/jobs"], cwd=ROOT, check=True, timeout=PATIENCE)
    tear(tmp_path / "jobs")
    go_on(storage, count)
    storage.close()


@pytest.mark.parametrize("sync", ["off", "full"])
@pytest.mark.parametrize("count", [40, 41])
def test_who_opens_the_directory_next_undoes_a_torn_commit(tmp_path: Path, sync: str, count: int) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    enqueue(storage, count)
    storage.close()
    tear(tmp_path / "jobs")
    storage = LmdbStorage(tmp_path / "jobs", sync=sync)
    assert JobService(storage).stats("mail").enqueued == count - 1
    go_on(storage, count - 1)
    storage.close()


def test_a_commit_that_is_whole_stays(tmp_path: Path) -> None:
    for count in range(4):
        storage = LmdbStorage(tmp_path / "jobs", sync="off")
        assert JobService(storage).stats("mail").enqueued == count
        enqueue(storage, 1)
        storage.close()


def test_no_map_is_written_to_where_its_fields_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tearing, "_MAGIC", b"another ")
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    enqueue(storage, 3)
    assert not storage._environment.env.flags()["writemap"]
    storage.close()
