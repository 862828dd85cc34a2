"""Writes that fail, and records that cannot be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

import jobq
from jobq import JobNotFound, NewJob, Status, StorageError
from jobq.codec import id_key
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.environment import CHECK_READERS
from jobq.repos.lmdb.properties import Properties
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE, ManualClock

FAILING_WRITE = """
import lmdb, resource, sys, jobq
svc = jobq.open(sys.argv[1])
kept = [svc.enqueue("mail", payload=b"x" * 1000) for _ in range(20)]
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
try:
    while True:
        kept.append(svc.enqueue("mail", payload=b"x" * 10_000))
except jobq.StorageError as problem:
    print(type(problem).__name__, isinstance(problem.__cause__, (lmdb.Error, OSError)))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
kept.append(svc.enqueue("mail", payload=b"later"))
print(svc.stats("mail").enqueued == len(kept), svc.payload(kept[-1]))
"""


@pytest.mark.parametrize("sync", ["full", "off"])
def test_a_write_that_fails_loses_itself_alone(tmp_path: Path, sync: str) -> None:
    url = f"lmdb://{tmp_path}/jobs?sync={sync}"
    done = subprocess.run([sys.executable, "-c", FAILING_WRITE, url], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("StorageError True\nTrue b'later'\n", "")
    storage = LmdbStorage(tmp_path / "jobs")
    check_invariants(storage)
    storage.close()


def test_a_commit_of_unknown_outcome_opens_the_environment_anew(tmp_path: Path) -> None:
    """LMDB refuses all work on an environment whose commit failed, until it is opened again."""
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = jobq.JobService(storage)
    svc.enqueue("mail", payload="before")
    storage._environment.note_failure()
    before = storage._environment.env
    assert svc.payload(1) == b"before"
    assert svc.enqueue("mail", payload="after") == 2
    assert storage._environment.env is not before
    assert [job.text for job in svc.reserve("mail", 5)] == ["before", "after"]
    svc.close()


def test_an_error_of_lmdb_in_a_body_is_translated_and_leaves_nothing(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = jobq.JobService(storage)

    def body(uow: jobq.repos.UnitOfWork) -> None:
        uow.topics.pause("mail", True)
        raise lmdb.BadTxnError("nobody knows why")

    with pytest.raises(StorageError, match="nobody knows why") as caught:
        storage.transact(body)
    assert isinstance(caught.value.__cause__, lmdb.BadTxnError)
    assert svc.topics() == []
    svc.close()


@pytest.mark.parametrize("damage", [b"", b"\x07", b"\x01" * 30, b"\x02" * 200, b"\x01\xff" + b"\0" * 76])
@pytest.mark.parametrize("status", ["ready", "delayed", "reserved"])
def test_a_record_that_cannot_be_read_is_set_aside_and_the_queue_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: ManualClock, damage: bytes, status: str
) -> None:
    """One bad record blocks the batch (huey, River)."""
    storage = LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)
    svc = jobq.JobService(storage)
    svc.enqueue_many([NewJob("mail", lease=5, delay=5 if status == "delayed" else None) for _ in range(5)])
    if status == "reserved":
        svc.reserve("mail", 5)
    environment = storage._environment
    with environment.env.begin(write=True) as txn:
        txn.put(id_key(3), damage, db=environment.dbs.jobs)
    clock.advance(5)
    assert sorted(info.id for info in svc.find(Status(status))) == [1, 2, 4, 5]
    assert [job.id for job in svc.reserve("mail", 5)] == [1, 2, 4, 5]
    assert "the record of job 3 cannot be read" in caplog.text
    with pytest.raises(JobNotFound):
        svc.get(3)
    assert svc.reserve("mail", 5) == []
    assert sum(svc.stats("mail").now.values()) == 4
    assert storage.view(lambda uow: len(uow.jobs.page(0, 10))) == 4
    with environment.env.begin() as txn:
        assert txn.get(id_key(3), db=environment.dbs.quarantine) == damage
    svc.close()


def test_a_place_without_a_job_is_given_up(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = jobq.JobService(storage)
    svc.enqueue("mail")
    environment = storage._environment
    with environment.env.begin(write=True) as txn:
        txn.delete(id_key(1), db=environment.dbs.jobs)
    assert svc.reserve("mail") == []
    assert svc.topics() == []
    svc.close()


def test_opening_anew_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = jobq.JobService(storage)
    svc.enqueue("mail")
    environment = storage._environment
    environment.note_failure()
    with monkeypatch.context() as patch:
        patch.setattr("jobq.repos.lmdb.environment.open_readable", failing_open)
        for verb in (lambda: svc.enqueue("mail"), lambda: svc.status(1), lambda: svc.reserve("none", timeout=0.001)):
            with pytest.raises(StorageError, match="no memory"):
                verb()
    assert svc.status(1) == "ready"
    assert svc.enqueue("mail") == 2
    svc.close()
    with jobq.open(f"lmdb://{tmp_path}/jobs") as again:
        assert again.stats("mail").enqueued == 2


def failing_open(path: Path, properties: Properties) -> lmdb.Environment:
    raise lmdb.MemoryError("no memory")


def test_the_slot_of_a_killed_reader_is_freed_while_the_queue_runs(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = jobq.JobService(storage)
    svc.enqueue("mail")
    script = (
        "import sys\n"
        "from jobq.repos.lmdb import LmdbStorage\n"
        "storage = LmdbStorage(sys.argv[1])\n"
        "storage.view(lambda uow: (uow.jobs.get([1]), print('reading', flush=True), sys.stdin.read()))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "jobs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        reader.kill()
    assert str(reader.pid) in storage._environment.env.readers()
    for _ in range(CHECK_READERS):
        svc.enqueue("mail")
    assert str(reader.pid) not in storage._environment.env.readers()
    svc.close()
