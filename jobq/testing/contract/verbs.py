"""Each verb of a JobService does over this storage what it does over every other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from datetime import timedelta
from typing import Any

import pytest

from jobq.errors import DuplicateJob, InvalidStatus, JobNotFound, LeaseLost, TopicFull
from jobq.job import Job
from jobq.model.options import JobOptions, Limits
from jobq.model.requests import NewJob
from jobq.model.status import CancelReason, Status
from jobq.outcomes import Done, Reject, Release, Retry
from jobq.service import JobService
from jobq.testing.clock import ManualClock
from jobq.testing.contract.scenes import PATIENCE, OpenStorage, begin
from jobq.testing.invariants import check_invariants

OPTIONS = JobOptions(max_retries=2, min_backoff=10, max_backoff=15, lease=100, keep_done=50)


class VerbsContract:
    """A scenario for each verb; the invariants hold at the end of each."""

    @pytest.fixture
    def svc(self, open_storage: OpenStorage) -> Iterator[JobService]:
        """A service over the storage under test."""
        storage = open_storage()
        yield JobService(storage, defaults=OPTIONS, limits=Limits(depth=50))
        check_invariants(storage, [("t", "k")])

    # -- producing

    def test_enqueue(self, svc: JobService, clock: ManualClock) -> None:
        now = svc.enqueue("t", -3, json={"to": "ada"}, name="mail", unique_key="k", lease=7)
        later = svc.enqueue("t", delay=timedelta(minutes=1), payload="text")
        info = svc.get(now)
        assert (info.status, info.priority, info.name, info.unique_key) == (Status.READY, -3, "mail", "k")
        assert (info.options.lease, info.created_at, info.run_at) == (7, clock.now(), clock.now())
        assert (svc.status(later), svc.get(later).run_at) == (Status.DELAYED, clock.after(60))
        assert [svc.payload(now), svc.payload(later)] == [b'{"to":"ada"}', b"text"]

    def test_enqueue_with_a_held_key(self, svc: JobService, clock: ManualClock) -> None:
        first = svc.enqueue("t", payload="v1", unique_key="k")
        with pytest.raises(DuplicateJob) as duplicate:
            svc.enqueue("t", unique_key="k")
        assert duplicate.value.job_id == first
        assert svc.enqueue("t", payload="v2", unique_key="k", on_duplicate="keep") == first
        assert svc.payload(first) == b"v1"
        assert svc.enqueue("t", 5, "v3", delay=9, unique_key="k", on_duplicate="replace") == first
        info = svc.get(first)
        assert (svc.payload(first), info.priority, info.run_at) == (b"v3", 5, clock.after(9))
        assert svc.lookup("t", "k") == first

    def test_enqueue_many_is_all_or_none(self, svc: JobService) -> None:
        ids = svc.enqueue_many([NewJob("t", unique_key="k"), NewJob("u", 1), NewJob("t")])
        assert [svc.get(job_id).topic for job_id in ids] == ["t", "u", "t"]
        with pytest.raises(DuplicateJob):
            svc.enqueue_many([NewJob("new"), NewJob("t", unique_key="k")])
        with pytest.raises(TopicFull):
            svc.enqueue_many([NewJob("new")] * 51)
        assert svc.topics() == ["t", "u"]

    # -- consuming

    def test_reserve(self, svc: JobService, clock: ManualClock) -> None:
        last, first, second = svc.enqueue_many([NewJob("t", 1), NewJob("t", -1), NewJob("t")])
        other = svc.enqueue("u", -9, "payload", delay=1)
        assert [job.id for job in svc.reserve(["t", "u"], 2)] == [first, second]
        clock.advance(1)
        jobs = svc.reserve(["t", "u"], 5, lease=8)
        assert [(job.id, job.payload, job.attempt) for job in jobs] == [(last, b"", 1), (other, b"payload", 1)]
        assert {job.deadline for job in jobs} == {clock.after(8)}
        assert svc.get(other).reserved_at == clock.now()
        assert svc.reserve(["t", "u"]) == []

    def test_jobs(self, svc: JobService) -> None:
        ids = svc.enqueue_many([NewJob("t")] * 5)
        seen = []
        for job in svc.jobs("t", n=2, timeout=0):
            with job:
                seen.append(job.id)
            if len(seen) == 3:
                break
        assert seen == ids[:3]
        assert svc.stats("t").now == dict.fromkeys(Status, 0) | {Status.DONE: 3, Status.READY: 2}

    def test_a_lease_that_is_over(self, svc: JobService, clock: ManualClock) -> None:
        job_id = svc.enqueue("t")
        for attempt in (1, 2, 3):
            job = take(svc)
            assert job.attempt == attempt
            clock.advance(100)
        assert svc.reserve("t") == []
        with pytest.raises(LeaseLost):
            job.done()
        info = svc.get(job_id)
        assert (info.status, info.cancel_reason) == (Status.CANCELED, CancelReason.EXHAUSTED)
        assert (svc.stats("t").expired, svc.stats("t").dead) == (3, 1)

    def test_reserve_with_linger(self, svc: JobService, clock: ManualClock) -> None:
        first, second, third = svc.enqueue_many([NewJob("t"), NewJob("t", delay=2), NewJob("t", delay=90_000)])
        call = begin(lambda: svc.reserve("t", 3, linger=5))
        assert clock.sleeping.acquire(timeout=PATIENCE)
        while not call.done():
            clock.advance(1)
            wait([call], timeout=0.01)
        assert [job.id for job in call.result()] == [first, second]
        assert svc.status(third) is Status.DELAYED

    # -- settling

    def test_done(self, svc: JobService, clock: ManualClock) -> None:
        job, kept = given(svc, unique_key="k"), given(svc, keep_done=0)
        clock.advance(2)
        svc.done([job, kept], {"pages": 3})
        info = svc.get(job.id)
        assert (info.status, info.result, info.finished_at) == (Status.DONE, {"pages": 3}, clock.now())
        assert svc.lookup("t", "k") is None
        with pytest.raises(JobNotFound):
            svc.get(kept.id)
        assert (svc.stats("t").done, svc.stats("t").mean_run) == (2, 2.0)

    def test_retry(self, svc: JobService, clock: ManualClock) -> None:
        job = given(svc)
        for backoff in (10, 15):
            job.retry(error="no route")
            info = svc.get(job.id)
            assert (info.status, info.run_at, info.last_error) == (Status.DELAYED, clock.after(backoff), "no route")
            clock.advance(backoff)
            job = take(svc)
        svc.retry(job, 5)
        assert [info.id for info in svc.dead_letters("t")] == [job.id]
        assert (svc.stats("t").retried, svc.stats("t").dead) == (2, 1)

    def test_release(self, svc: JobService, clock: ManualClock) -> None:
        one, other = given(svc), given(svc)
        one.release()
        svc.release(other, 5)
        assert [svc.status(job.id) for job in (one, other)] == [Status.READY, Status.DELAYED]
        assert svc.get(one.id).retry_count == 0
        clock.advance(5)
        assert [job.attempt for job in svc.reserve("t", 2)] == [2, 2]

    def test_reject(self, svc: JobService) -> None:
        job = given(svc, unique_key="k")
        job.reject("broken", reason=CancelReason.UNHANDLED)
        info = svc.get(job.id)
        assert (info.status, info.cancel_reason, info.last_error) == (Status.CANCELED, CancelReason.UNHANDLED, "broken")
        assert (svc.dead_letters(), svc.lookup("t", "k")) == ([info], None)

    def test_extend(self, svc: JobService, clock: ManualClock) -> None:
        job = given(svc)
        clock.advance(99)
        job.extend(20)
        assert job.deadline == svc.get(job.id).deadline == clock.after(20)
        clock.advance(19)
        assert svc.reserve("t") == []
        clock.advance(1)
        assert take(svc).attempt == 2

    def test_exchange(self, svc: JobService) -> None:
        jobs = [given(svc, name=name) for name in ("done", "retry", "release", "reject", "lost")]
        svc.cancel(jobs[4].id)
        outcomes = [Done(1, then=NewJob("u", name="next")), Retry(delay=0), Release(), Reject("bad"), Done()]
        exchange = svc.exchange(zip(jobs, outcomes, strict=True), enqueue=NewJob("t", -1, name="new"), topics="t", n=9)
        assert [job.name for job in exchange.jobs] == ["new", "retry", "release"]
        assert [svc.get(job_id).name for job_id in exchange.ids] == ["next", "new"]
        assert exchange.lost == jobs[4:]
        assert [svc.status(job.id).value for job in jobs] == ["done", "reserved", "reserved", "canceled", "canceled"]

    def test_log(self, svc: JobService, clock: ManualClock) -> None:
        job = given(svc, log_status_change=True)
        clock.advance(1)
        job.log("half done")
        job.done()
        assert [line.message for line in svc.logs(job.id)] == [
            *("new -> ready", "ready -> reserved (attempt 1)", "half done", "reserved -> done"),
        ]
        assert svc.logs(job.id)[2].at == clock.now()
        with pytest.raises(LeaseLost):
            job.log("too late")

    # -- looking

    def test_wait_for(self, svc: JobService) -> None:
        job = given(svc)
        with pytest.raises(TimeoutError):
            svc.wait_for(job.id, 0)
        call = begin(lambda: svc.wait_for(job.id, None))
        job.done("result")
        assert call.result(PATIENCE).result == "result"
        assert svc.wait_for(job.id, 0).status is Status.DONE

    def test_find_pages_through_every_status(self, svc: JobService) -> None:
        a_job_in_every_status(svc)
        svc.enqueue_many([NewJob("t", number % 3 - 1) for number in range(10)])
        for status in Status:
            whole = svc.find(status)
            assert whole, status
            paged = []
            after = None
            while found := svc.find(status, after=after, limit=2):
                paged += found
                after = found[-1]
            assert paged == whole
        assert [info.priority for info in svc.find("ready", topic="t")] == [-1] * 4 + [0] * 3 + [1] * 3
        assert svc.find("done", topic="unknown") == []

    def test_stats_and_topics(self, svc: JobService, clock: ManualClock) -> None:
        start = clock.now()
        given(svc)
        clock.advance(4)
        svc.enqueue("t")
        clock.advance(6)
        stats = svc.stats("t")
        assert stats.now == dict.fromkeys(Status, 0) | {Status.READY: 1, Status.RESERVED: 1}
        assert (stats.enqueued, stats.reserved, stats.mean_wait, stats.oldest_ready_age) == (2, 1, 0.0, 6.0)
        assert (stats.first_enqueued_at, stats.last_enqueued_at) == (start, start + timedelta(seconds=4))
        assert (stats.first_reserved_at, stats.last_reserved_at) == (start, start)
        assert (svc.topics(), svc.stats("u").enqueued) == (["t"], 0)

    def test_next_due(self, svc: JobService, clock: ManualClock) -> None:
        assert svc.next_due("t") is None
        given(svc)
        assert svc.next_due("t") == clock.after(100)
        svc.enqueue("u", delay=30)
        assert svc.next_due(["t", "u"]) == clock.after(30)
        svc.enqueue("t")
        assert svc.next_due("t") == clock.now()

    def test_of_a_job_that_is_not_there_nothing_is_known(self, svc: JobService) -> None:
        for look in (svc.get, svc.status, svc.payload):
            with pytest.raises(JobNotFound):
                look(1)

    # -- administering

    def test_cancel(self, svc: JobService) -> None:
        held, ready = given(svc), svc.enqueue("t", unique_key="k")
        svc.cancel([held.id, ready], "no more")
        assert [(info.id, info.note) for info in svc.find("canceled")] == [(held.id, "no more"), (ready, "no more")]
        assert held.canceled()
        with pytest.raises(LeaseLost):
            held.done()
        with pytest.raises(InvalidStatus):
            svc.cancel(ready)
        assert svc.dead_letters() == []

    def test_reset(self, svc: JobService) -> None:
        job = given(svc, unique_key="k")
        job.reject("bad")
        svc.reset(job.id)
        info = svc.get(job.id)
        assert (info.status, info.reset_count, info.finished_at) == (Status.READY, 1, None)
        assert svc.lookup("t", "k") == job.id
        svc.cancel(job.id)
        svc.enqueue("t", unique_key="k")
        with pytest.raises(DuplicateJob):
            svc.reset(job.id)

    def test_reschedule(self, svc: JobService, clock: ManualClock) -> None:
        job_id = svc.enqueue("t")
        svc.reschedule(job_id, clock.after(60))
        assert svc.reserve("t") == []
        clock.advance(60)
        assert take(svc).id == job_id

    def test_delete(self, svc: JobService) -> None:
        done, waiting = given(svc), svc.enqueue("t")
        done.done()
        with pytest.raises(InvalidStatus):
            svc.delete([done.id, waiting])
        svc.delete(done.id)
        with pytest.raises(JobNotFound):
            svc.payload(done.id)
        assert svc.status(waiting) is Status.READY

    def test_prune_and_retention(self, svc: JobService, clock: ManualClock) -> None:
        for _ in range(3):
            given(svc).done()
            clock.advance(20)
        assert svc.prune() == 1, "the first one was kept for 50 seconds"
        assert svc.prune(before=clock.after(-20), topic="t") == 1
        clock.advance(50)
        svc.enqueue("t")
        take(svc)
        assert svc.find("done") == [], "a reserve sees to retention too"

    def test_clear(self, svc: JobService) -> None:
        held = given(svc)
        svc.enqueue_many([NewJob("t"), NewJob("t", delay=9), NewJob("u")])
        assert svc.clear("t") == 2
        assert svc.stats("t").now == dict.fromkeys(Status, 0) | {Status.RESERVED: 1, Status.CANCELED: 2}
        assert svc.status(held.id) is Status.RESERVED

    def test_pause_and_resume(self, svc: JobService) -> None:
        svc.enqueue("t")
        svc.pause("t")
        assert (svc.reserve("t"), svc.stats("t").paused) == ([], True)
        svc.resume("t")
        assert (len(svc.reserve("t")), svc.stats("t").paused) == (1, False)


def take(svc: JobService) -> Job:
    """Reserve the one job of topic t that is first."""
    [job] = svc.reserve("t")
    return job


def given(svc: JobService, **fields: Any) -> Job:
    """Enqueue a job of topic t and reserve it."""
    job_id = svc.enqueue("t", **fields)
    job = take(svc)
    assert job.id == job_id
    return job


def a_job_in_every_status(svc: JobService) -> None:
    """Jobs of topic t, one Reserved, Done, Canceled, dead and Delayed each."""
    given(svc)
    given(svc).done()
    given(svc).reject()
    svc.cancel(given(svc).id)
    svc.enqueue("t", delay=60)
