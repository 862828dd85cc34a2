"""When the map or the disk is full: new jobs are refused, and those that are there can be finished."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobq import JobOptions, JobService, Limits, NewJob, Status, StorageFull
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE, ManualClock

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


def test_headers_are_kept_where_a_note_has_no_room(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    headers = {"h": "x" * 1_000}
    svc.enqueue_many([NewJob("first", headers=headers) for _ in range(20)])
    fill(svc)
    for job in svc.reserve("first", 20):
        job.done("r" * 10_000)
    ended = svc.find(Status.DONE, topic="first")
    assert [info.headers for info in ended] == [headers] * 20
    assert None in [info.result for info in ended]
    check_invariants(storage)


def test_headers_count_as_what_fills_a_queue(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    ids: list[int] = []

    def enqueue_for_ever() -> None:
        while True:
            key = None if len(ids) % 2 else f"{len(ids)}"  # in turns by the express and without it
            ids.append(svc.enqueue("mail", headers={"h": "x" * 3_900}, unique_key=key))

    with pytest.raises(StorageFull, match="has reached its max_size"):
        enqueue_for_ever()
    assert 100 < len(ids) < SIZE // 3_900
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
    left = SimpleNamespace(f_blocks=10_000, f_bavail=10_000, f_frsize=4096)
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


def test_the_room_of_deleted_jobs_is_used_while_the_disk_is_almost_full(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JobService(LmdbStorage(tmp_path / "large", clock=clock, sync="normal")) as svc:
        ids = svc.enqueue_many([NewJob("mail", payload=PAYLOAD)] * 3000)
        svc.enqueue("mail")
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=10_000, f_bavail=10, f_frsize=4096))
        more = [NewJob("mail", payload=PAYLOAD)] * 1000
        with pytest.raises(StorageFull, match="bytes left"):
            svc.enqueue_many(more)
        svc.cancel(ids)
        svc.delete(ids)
        assert len(svc.enqueue_many(more)) == 1000


def test_a_larger_max_size_gives_room(storage: LmdbStorage, tmp_path: Path, clock: ManualClock) -> None:
    first = len(fill(JobService(storage)))
    storage.close()
    with JobService(LmdbStorage(tmp_path / "jobs", max_size=2 * SIZE, clock=clock)) as svc:
        svc.enqueue_many([NewJob("mail", payload=PAYLOAD) for _ in range(first // 2)])
        assert svc.stats("mail").enqueued == first + first // 2


def test_one_large_batch_is_refused_before_it_eats_the_headroom(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    svc.enqueue("mail")
    with pytest.raises(StorageFull):
        svc.enqueue_many([NewJob("mail", payload=b"x" * 8_000) for _ in range(200)])
    assert svc.stats("mail").enqueued == 1
    assert svc.clear("mail") == 1


def test_results_that_do_not_fit_are_dropped_and_the_jobs_done(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    svc.enqueue_many([NewJob("mail") for _ in range(100)])
    jobs = svc.reserve("mail", 100)
    svc.done(jobs[:1], "r" * 1_000)
    svc.done(jobs[1:], "r" * 500_000)
    assert svc.stats("mail").now[Status.DONE] == 100
    assert [svc.get(job.id).result for job in jobs[:2]] == ["r" * 1_000, None]


def test_a_result_is_dropped_where_the_disk_is_almost_full(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JobService(LmdbStorage(tmp_path / "large", clock=clock, sync="off")) as svc:
        svc.enqueue("mail")
        [job] = svc.reserve("mail")
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=10_000, f_bavail=10, f_frsize=4096))
        job.done("r" * 900_000)
        assert (svc.status(job.id), svc.get(job.id).result) == ("done", None)


def test_a_map_that_the_address_space_made_smaller_keeps_its_headroom(tmp_path: Path) -> None:
    script = (
        "import resource, jobq, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (300 * 2**20, 300 * 2**20))\n"
        "svc = jobq.open(sys.argv[1])\n"
        "try:\n"
        "    while True: svc.enqueue_many([jobq.NewJob('t', payload=b'x' * 500_000)] * 4)\n"
        "except jobq.StorageFull as full: print('max_size' in str(full))\n"
        "left = svc.stats('t').enqueued\n"
        "print(left > 100, svc.clear('t') == left)\n"
    )
    url = f"lmdb://{tmp_path}/jobs?sync=off"
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("True\nTrue True\n", "")
