"""Logs of jobs on LMDB: what stands in the database, what is left out where there is no room, and what is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from jobq import JobOptions, JobService, NewJob, Status, StorageCorrupt, StorageFull
from jobq.codec import line_key
from jobq.repos.lmdb import LmdbStorage
from tests.clocks import ManualClock

SIZE = 2**20


@pytest.fixture
def storage(tmp_path: Path, clock: ManualClock) -> Iterator[LmdbStorage]:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", max_size=SIZE, clock=clock)
    yield storage
    storage.close()


def lines(storage: LmdbStorage) -> list[tuple[int, int]]:
    """The job's id and the number of each line in the database."""
    environment = storage._environment
    with environment.env.begin() as txn, txn.cursor(environment.dbs.logs) as cursor:
        keys = list(cursor.iternext(values=False))
    assert keys == sorted(keys)
    return [(int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")) for key in keys]


def test_the_number_of_the_oldest_line_is_how_many_were_dropped(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    svc.enqueue_many([NewJob("mail")] * 3)
    jobs = svc.reserve("mail", 3)
    for job, count in zip(jobs, (2, 103, 1), strict=True):
        for n in range(count):
            job.log(str(n))
    assert lines(storage) == [(1, 0), (1, 1), *((2, n) for n in range(3, 103)), (3, 0)]
    assert [svc.logs(job.id).dropped for job in jobs] == [0, 3, 0]


def test_several_lines_of_one_transaction_are_bounded_too(storage: LmdbStorage) -> None:
    svc = JobService(storage, defaults=JobOptions(log_status_change=True, lease=1))
    svc.enqueue("mail")
    [job] = svc.reserve("mail")
    for n in range(100):
        job.log(str(n))
    job.release()
    assert lines(storage) == [(1, n) for n in range(3, 103)]


def test_no_line_is_left_of_a_job_that_is_gone(storage: LmdbStorage, clock: ManualClock) -> None:
    svc = JobService(storage, defaults=JobOptions(log_status_change=True, keep_done=5))
    svc.enqueue_many([NewJob("mail")] * 20)
    jobs = svc.reserve("mail", 20)
    for job in jobs:
        job.log("seen")
    svc.done(jobs)
    assert len(lines(storage)) == 20 * 4
    svc.delete([job.id for job in jobs[5:15]])
    assert {job_id for job_id, _ in lines(storage)} == {*range(1, 6), *range(16, 21)}
    clock.advance(5)
    svc.prune()
    assert lines(storage) == []
    assert svc.topics() == []


def fill(svc: JobService) -> None:
    def enqueue_for_ever() -> None:
        while True:
            svc.enqueue("mail", payload=b"x" * 1000)

    with pytest.raises(StorageFull):
        enqueue_for_ever()


def test_lines_for_which_there_is_no_room_are_left_out(storage: LmdbStorage, clock: ManualClock) -> None:
    svc = JobService(storage, defaults=JobOptions(log_status_change=True))
    svc.enqueue("mail")
    [job] = svc.reserve("mail")
    job.log("while there is room")
    fill(svc)
    before = list(svc.logs(job.id))
    job.log("x" * 2_000)
    job.done("a result")
    assert list(svc.logs(job.id)) == before
    assert (svc.status(job.id), svc.get(job.id).result) == (Status.DONE, None)
    svc.clear("mail")
    svc.prune(clock.after(1))
    svc.enqueue("mail")
    assert len(lines(storage)) == 1


def test_lines_are_no_reason_to_refuse_a_job(storage: LmdbStorage) -> None:
    svc = JobService(storage, defaults=JobOptions(log_status_change=True))
    svc.enqueue_many([NewJob("mail", payload=b"x" * 500) for _ in range(800)])
    told = len(lines(storage))
    assert told == 800
    for job in svc.jobs("mail", n=100, timeout=0):
        job.log("y" * 2_000)
        job.done()
    assert svc.stats("mail").now[Status.DONE] == 800
    assert told < len(lines(storage)) < 800 * 4, "there was room for some of them"


def test_a_line_that_cannot_be_read_is_said_and_hinders_nothing_else(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    svc.enqueue_many([NewJob("mail")] * 2)
    first, second = svc.reserve("mail", 2)
    first.log("good")
    second.log("good")
    environment = storage._environment
    with environment.env.begin(write=True) as txn:
        txn.put(line_key(1, 0), b"\xffnonsense", db=environment.dbs.logs)
    with pytest.raises(StorageCorrupt, match="a line of the log of job 1 cannot be read: format 255 is unknown"):
        svc.logs(1)
    first.log("one more")
    assert len(svc.logs(2)) == 1
    first.done()
    svc.delete(1)
    assert lines(storage) == [(2, 0)]


def test_a_directory_from_before_there_were_logs(tmp_path: Path, clock: ManualClock) -> None:
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as svc:
        svc.enqueue_many([NewJob("mail"), NewJob("mail", lease=7)])
    with lmdb.open(str(tmp_path / "jobs"), max_dbs=20, lib_version=0) as env:
        policies = env.open_db(b"policies")
        with env.begin(write=True) as txn:
            txn.drop(env.open_db(b"logs", txn=txn))
            for key, data in list(txn.cursor(policies)):
                if data.startswith(b"{"):
                    fields = json.loads(data)
                    del fields["log_status_change"]
                    txn.put(key, json.dumps(fields).encode(), db=policies)
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as svc:
        svc.enqueue("mail")
        jobs = svc.reserve("mail", 3)
        assert [job.options for job in jobs] == [JobOptions(), JobOptions(lease=7), JobOptions()]
        jobs[1].log("now there are")
        assert [len(svc.logs(job.id)) for job in jobs] == [0, 1, 0]
        svc.done(jobs)
