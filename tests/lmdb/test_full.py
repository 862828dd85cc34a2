"""When the map or the disk is full: new jobs are refused, and those that are there can be finished."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobq import JobOptions, JobService, Limits, NewJob, Status, StorageFull
from jobq.repos.lmdb import LmdbStorage
from tests.clocks import ManualClock
from tests.invariants import check_invariants

SIZE = 2**20
PAYLOAD = b"x" * 1000


@pytest.fixture
def storage(tmp_path: Path, clock: ManualClock) -> Iterator[LmdbStorage]:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", max_size=SIZE, clock=clock)
    yield storage
    storage.close()


def fill(svc: JobService) -> list[int]:
    """Enqueue until it is refused."""
    ids: list[int] = []

    def enqueue_for_ever() -> None:
        while True:
            ids.append(svc.enqueue("mail", payload=PAYLOAD))

    with pytest.raises(StorageFull, match="has reached its max_size of 1048576 bytes: finish or delete jobs"):
        enqueue_for_ever()
    return ids


def test_a_full_queue_refuses_jobs_and_changes_nothing(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    ids = fill(svc)
    assert SIZE // 2 < len(ids) * len(PAYLOAD) < SIZE
    before = svc.stats("mail")
    with pytest.raises(StorageFull):
        svc.enqueue_many([NewJob("other", payload=PAYLOAD), NewJob("mail")])
    assert (svc.stats("mail"), svc.topics()) == (before, ["mail"])
    check_invariants(storage)


def test_all_jobs_of_a_full_queue_can_be_finished(storage: LmdbStorage, clock: ManualClock) -> None:
    svc = JobService(storage)
    ids = fill(svc)
    for job in svc.jobs("mail", n=10, timeout=0):
        if job.id % 4 == 0:
            job.done()
        elif job.id % 4 == 1:
            job.reject("no")
        elif job.id % 4 == 2:
            job.cancel("no")
        else:
            job.retry(0) if job.attempt == 1 else job.done()
    now = svc.stats("mail").now
    assert (now[Status.DONE] + now[Status.CANCELED]) == len(ids)
    check_invariants(storage)


def test_there_is_room_again_once_jobs_are_gone(storage: LmdbStorage) -> None:
    svc = JobService(storage, defaults=JobOptions(keep_done=0))
    first = len(fill(svc))
    for job in svc.jobs("mail", n=10, timeout=0):
        job.done()
    assert svc.topics() == []
    second = len(fill(svc))
    assert abs(first - second) <= first // 20, "the pages of finished jobs are used again"


def test_a_full_queue_drops_results_and_errors_rather_than_refuse(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    ids = fill(svc)
    result = "r" * 100_000
    for job in svc.reserve("mail", 50):
        job.done(result)
    for job in svc.reserve("mail", 50):
        job.reject("e" * 8000)
    kept = [svc.get(job_id) for job_id in ids[:100]]
    assert {info.status for info in kept} == {Status.DONE, Status.CANCELED}
    assert {info.result for info in kept} == {None}
    assert {info.last_error for info in kept} == {None}
    check_invariants(storage)


def test_an_almost_full_disk_refuses_jobs_and_finishes_others(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = JobService(storage, limits=Limits(payload=SIZE))
    svc.enqueue("mail")
    left = SimpleNamespace(f_bavail=10_000, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: left)
    big = b"x" * 100_000  # more than the file has free, so that it grows
    svc.enqueue("mail", payload=big)
    left.f_bavail = 10  # seen by the next call, as the file has grown since the last look
    with pytest.raises(StorageFull, match="has 40960 bytes left, and 1048576 are kept for settling jobs"):
        svc.enqueue("mail", payload=big)
    count = svc.stats("mail").enqueued
    for job in svc.reserve("mail", 5):
        job.done()
    left.f_bavail = 10_000
    svc.enqueue("mail", payload=big)
    assert svc.stats("mail").enqueued == count + 1


def test_a_larger_max_size_gives_room(storage: LmdbStorage, tmp_path: Path, clock: ManualClock) -> None:
    first = len(fill(JobService(storage)))
    storage.close()
    with JobService(LmdbStorage(tmp_path / "jobs", max_size=2 * SIZE, clock=clock)) as svc:
        svc.enqueue_many([NewJob("mail", payload=PAYLOAD) for _ in range(first // 2)])
        assert svc.stats("mail").enqueued == first + first // 2
