"""`for job in svc.jobs(…)`: when it ends, and what becomes of jobs it had reserved and not yet yielded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from jobq import JobService, NewJob, ServiceClosed, Status
from jobq.repos import Storage, UnitOfWork
from tests.clocks import PATIENCE, ManualClock
from tests.conftest import OpenStorage
from tests.contract.scenes import enqueue_named, take

T = TypeVar("T")


def test_it_ends_when_nothing_is_left(svc: JobService) -> None:
    enqueue_named(svc, "a", "b", "c")
    seen = []
    for job in svc.jobs("t", timeout=0):
        with job:
            seen.append(job.name)
    assert seen == ["a", "b", "c"]
    assert svc.stats("t").now[Status.DONE] == 3


def test_it_ends_at_once_when_nothing_is_there(svc: JobService) -> None:
    assert list(svc.jobs("t", timeout=0)) == []


def test_jobs_enqueued_inside_are_yielded_too(svc: JobService) -> None:
    svc.enqueue("t", json=3)
    seen = []
    for job in svc.jobs("t", timeout=0):
        with job:
            seen.append(job.json())
            if job.json():
                svc.enqueue("t", json=job.json() - 1)
    assert seen == [3, 2, 1, 0]


def test_jobs_of_a_batch_come_in_order(svc: JobService) -> None:
    enqueue_named(svc, *"abcdefg")
    assert "".join(job.name for job in svc.jobs("t", n=3, timeout=0)) == "abcdefg"


def test_it_reserves_n_at_a_time(svc: JobService) -> None:
    enqueue_named(svc, *"abcde")
    reserved = [svc.stats("t").now[Status.RESERVED] for _ in svc.jobs("t", n=2, timeout=0)]
    assert reserved == [2, 2, 4, 4, 5]


def test_it_takes_several_topics_and_a_lease(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("b", name="b"), NewJob("a", name="a")])
    seen = [(job.name, job.deadline) for job in svc.jobs(["a", "b"], timeout=0, lease=8)]
    assert seen == [("a", clock.after(8)), ("b", clock.after(8))]


def test_leaving_the_loop_releases_what_was_not_yet_yielded(svc: JobService, clock: ManualClock) -> None:
    ids = enqueue_named(svc, *"abcd")
    loop = svc.jobs("t", n=3, timeout=0)
    yielded = next(loop)
    clock.advance(5)
    loop.close()
    assert [svc.status(job_id) for job_id in ids] == [
        Status.RESERVED,
        Status.READY,
        Status.READY,
        Status.READY,
    ]
    assert [svc.get(job_id).retry_count for job_id in ids] == [0, 0, 0, 0]
    assert [svc.get(job_id).attempt for job_id in ids] == [1, 1, 1, 0]
    yielded.done()


def test_break_releases_what_was_not_yet_yielded(svc: JobService) -> None:
    ids = enqueue_named(svc, *"abc")
    for job in svc.jobs("t", n=3, timeout=0):
        job.done()
        break
    assert [svc.status(job_id) for job_id in ids] == [Status.DONE, Status.READY, Status.READY]


def test_an_error_in_the_loop_releases_what_was_not_yet_yielded(svc: JobService) -> None:
    ids = enqueue_named(svc, *"abc")

    def work() -> None:
        for job in svc.jobs("t", n=3, timeout=0):
            with job:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [svc.status(job_id) for job_id in ids] == [Status.READY] * 3


def test_one_lost_meanwhile_does_not_keep_the_others(svc: JobService) -> None:
    ids = enqueue_named(svc, *"abc")
    loop = svc.jobs("t", n=3, timeout=0)
    next(loop)
    svc.cancel(ids[1])
    loop.close()
    assert [svc.status(job_id) for job_id in ids] == [Status.RESERVED, Status.CANCELED, Status.READY]


def test_leaving_the_loop_of_a_closed_service_is_no_error(svc: JobService) -> None:
    enqueue_named(svc, "a", "b")
    loop = svc.jobs("t", n=2, timeout=0)
    next(loop)
    svc.close()
    loop.close()


def test_going_on_with_the_loop_of_a_closed_service_raises(svc: JobService) -> None:
    enqueue_named(svc, "a", "b")
    loop = svc.jobs("t", timeout=0)
    next(loop)
    svc.close()
    with pytest.raises(ServiceClosed):
        next(loop)


def test_a_loop_that_never_began_reserved_nothing(svc: JobService) -> None:
    enqueue_named(svc, "a")
    svc.jobs("t", timeout=0)
    assert take(svc).attempt == 1


def test_the_topics_may_come_from_an_iterator(svc: JobService) -> None:
    svc.enqueue_many([NewJob(topic) for topic in "abab"])
    assert [job.topic for job in svc.jobs(iter(["b", "a"]), timeout=0)] == ["b", "b", "a", "a"]


def test_what_is_not_allowed_is_refused_by_the_call_itself(svc: JobService) -> None:
    with pytest.raises(ValueError, match="n must be from 1"):
        svc.jobs("t", n=0)


class Overtaken:
    """A storage in whose transactions another thread's verb gets in first, once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.url, self.identity, self.clock = storage.url, storage.identity, storage.clock
        self.view, self.watch = storage.view, storage.watch
        self.info = storage.info
        self.backup, self.compact, self.close = storage.backup, storage.compact, storage.close
        self.by: Callable[[], object] | None = None

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        if (verb := self.by) is not None:
            self.by = None
            other = threading.Thread(target=verb)
            other.start()
            other.join(PATIENCE)
        result: T = self._storage.transact(body, **how)
        return result


def test_what_two_threads_give_back_at_once_is_given_back_and_raises_nothing(open_storage: OpenStorage) -> None:
    storage = Overtaken(open_storage())
    svc = JobService(storage)
    enqueue_named(svc, "a", "b", "c")
    loop = iter(svc.jobs("t", n=3, timeout=0))
    next(loop)
    storage.by = lambda: svc.enqueue("u")
    loop.close()
    assert svc.stats("t").now[Status.READY] == 2
    assert svc.stats("u").enqueued == 1
