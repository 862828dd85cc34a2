"""The contract of `watch`: who waits for a job does not sleep through it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from jobq.errors import ServiceClosed
from jobq.job import Job
from jobq.model.requests import NewJob
from jobq.ports import Storage
from jobq.service import JobService
from jobq.testing.clock import ManualClock
from jobq.testing.contract.scenes import PATIENCE, OpenStorage, begin

Event = Callable[[JobService, ManualClock], object]

EVENTS: dict[str, Event] = {
    "enqueue": lambda svc, _: svc.enqueue("t", priority=9),
    "nearer due time": lambda svc, _: svc.enqueue("t", delay=5),
    "reschedule": lambda svc, clock: svc.reschedule(svc.find("delayed", topic="t")[0].id, clock.after(-1)),
    "reset": lambda svc, _: svc.reset(svc.find("delayed", topic="t")[0].id),
    "resume": lambda svc, _: svc.resume("paused"),
}
"""What gives a waiter of the topics t and paused a job, or one that is due sooner, in the queue of `a_queue`."""


FINISHES: dict[str, Callable[[JobService, Job], object]] = {
    "done": lambda svc, job: svc.done(job),
    "done and deleted": lambda svc, job: svc.done(job),
    "canceled": lambda svc, job: svc.cancel(job.id),
    "dead": lambda svc, job: svc.reject(job),
}
"""How a job comes to be finished, or to go."""


class WatchingContract:
    """A watch is begun before a reserve that may find nothing; what comes after that ends its wait."""

    @pytest.fixture
    def waiting(self, clock: ManualClock) -> Waiting:
        """Calls that wait in other threads."""
        return Waiting(clock)

    @pytest.mark.parametrize("event", EVENTS)
    @pytest.mark.parametrize("by_another", [False, True], ids=["same storage", "another opening"])
    def test_what_comes_between_the_watch_and_the_wait_is_not_slept_through(
        self, open_storage: OpenStorage, clock: ManualClock, event: str, by_another: bool
    ) -> None:
        storage = open_storage()
        a_queue(storage)
        with storage.watch(["t", "paused"]) as watch:
            svc = JobService(open_storage() if by_another else storage)
            begin(lambda: EVENTS[event](svc, clock)).result(PATIENCE)
            before = clock.steady()
            watch.wait(600)
        assert clock.steady() == before

    @pytest.mark.parametrize("event", EVENTS)
    @pytest.mark.parametrize("by_another", [False, True], ids=["same storage", "another opening"])
    def test_a_waiting_thread_is_woken(
        self, open_storage: OpenStorage, clock: ManualClock, waiting: Waiting, event: str, by_another: bool
    ) -> None:
        storage = open_storage()
        a_queue(storage)
        wait = waiting.on(storage, ["t", "paused"], 600)
        EVENTS[event](JobService(open_storage() if by_another else storage), clock)
        wait.result(PATIENCE)

    def test_a_wait_ends_when_its_time_is_up(
        self, open_storage: OpenStorage, clock: ManualClock, waiting: Waiting
    ) -> None:
        wait = waiting.on(open_storage(), ["t"], 2.5)
        clock.advance(2.5)
        wait.result(PATIENCE)

    def test_a_wait_ends_soon_after_the_wall_clock_was_set(
        self, open_storage: OpenStorage, clock: ManualClock, waiting: Waiting
    ) -> None:
        wait = waiting.on(open_storage(), ["t"], 600)
        clock.step_wall(3600)
        clock.advance(2)
        wait.result(PATIENCE)

    @pytest.mark.parametrize("how", FINISHES)
    @pytest.mark.parametrize("by_another", [False, True], ids=["same storage", "another opening"])
    def test_who_waits_for_what_finishes_is_woken(
        self, open_storage: OpenStorage, waiting: Waiting, how: str, by_another: bool
    ) -> None:
        storage = open_storage()
        svc = JobService(open_storage() if by_another else storage)
        svc.enqueue_many([NewJob("t", keep_done=0 if how == "done and deleted" else 60)] * 2)
        first, second = svc.reserve("t", 2)
        with storage.watch(["u", "t"], finished=True) as watch:
            begin(lambda: FINISHES[how](svc, first)).result(PATIENCE)
            watch.wait(600)
        wait = waiting.on(storage, ["u", "t"], 600, finished=True)
        FINISHES[how](svc, second)
        wait.result(PATIENCE)

    def test_wake_ends_the_wait_that_runs_or_else_the_next_one(
        self, open_storage: OpenStorage, clock: ManualClock, waiting: Waiting
    ) -> None:
        storage = open_storage()
        with storage.watch(["t"]) as watch:
            watch.wake()
            watch.wake()
            watch.wait(600)
            call = begin(lambda: watch.wait(600))
            waiting.asleep()
            assert not call.done()
            watch.wake()
            call.result(PATIENCE)
            assert clock.steady() == storage.clock.steady()

    def test_a_watch_that_nobody_waits_on_is_no_hindrance(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        with storage.watch(["t", "u"]), storage.watch(["t"]):
            JobService(storage).enqueue("t")
        JobService(storage).enqueue("t")
        assert len(JobService(storage).reserve("t", 5)) == 2

    def test_close_wakes_who_waits(self, open_storage: OpenStorage, waiting: Waiting) -> None:
        storage = open_storage()
        wait = waiting.on(storage, ["t"], 600)
        storage.close()
        wait.result(PATIENCE)

    # -- with a service

    @pytest.mark.parametrize("timeout", [600, None])
    def test_close_ends_a_waiting_reserve_with_service_closed(
        self, open_storage: OpenStorage, waiting: Waiting, timeout: float | None
    ) -> None:
        svc = JobService(open_storage())
        call = waiting.reserve(svc, "t", timeout=timeout)
        svc.close()
        with pytest.raises(ServiceClosed):
            call.result(PATIENCE)

    def test_a_waiting_reserve_gets_what_comes(self, open_storage: OpenStorage, waiting: Waiting) -> None:
        svc, other = JobService(open_storage()), JobService(open_storage())
        call = waiting.reserve(svc, ["t", "u"], timeout=None)
        job_id = other.enqueue("u")
        assert [job.id for job in call.result(PATIENCE)] == [job_id]

    def test_every_waiter_gets_a_job_if_there_are_enough(self, open_storage: OpenStorage, waiting: Waiting) -> None:
        svc, other = JobService(open_storage()), JobService(open_storage())
        calls = [waiting.reserve(one, "t") for one in (svc, other, svc)]
        enqueued = [svc.enqueue("t") for _ in calls]
        assert sorted(job.id for call in calls for job in call.result(PATIENCE)) == enqueued

    def test_a_job_that_the_first_to_wake_leaves_behind_wakes_another(
        self, open_storage: OpenStorage, waiting: Waiting
    ) -> None:
        """Should only one be woken for one job, then it must not be lost with him if he does not take it."""
        storage = open_storage()
        leaves = waiting.on(storage, ["t"], 600)
        svc = JobService(open_storage())
        call = waiting.reserve(svc, "t")
        job_id = svc.enqueue("t")
        assert [job.id for job in call.result(PATIENCE)] == [job_id]
        svc.enqueue("t")
        leaves.result(PATIENCE)

    def test_a_waiter_wakes_when_a_delayed_job_is_due(
        self, open_storage: OpenStorage, clock: ManualClock, waiting: Waiting
    ) -> None:
        svc = JobService(open_storage())
        later = svc.enqueue("t", delay=0.9)
        call = waiting.reserve(svc, "t")
        sooner = svc.enqueue("t", delay=0.25)
        waiting.asleep()
        clock.advance(0.25)
        assert [job.id for job in call.result(PATIENCE)] == [sooner]
        call = waiting.reserve(svc, "t")
        clock.advance(0.65)
        assert [job.id for job in call.result(PATIENCE)] == [later]

    def test_a_waiter_wakes_when_a_lease_is_over(
        self, open_storage: OpenStorage, clock: ManualClock, waiting: Waiting
    ) -> None:
        svc = JobService(open_storage())
        svc.enqueue("t", lease=0.5)
        [lost] = svc.reserve("t")
        call = waiting.reserve(svc, "t")
        clock.advance(0.5)
        assert [(job.id, job.attempt) for job in call.result(PATIENCE)] == [(lost.id, 2)]


class Waiting:
    """Calls in threads of their own, each begun and asleep before the test goes on."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def on(self, storage: Storage, topics: list[str], timeout: float, *, finished: bool = False) -> Future[None]:
        """Begin a wait on a watch."""

        def wait() -> None:
            with storage.watch(topics, finished=finished) as watch:
                watch.wait(timeout)

        call = begin(wait)
        self.asleep()
        return call

    def reserve(self, svc: JobService, topics: str | list[str], timeout: float | None = 600) -> Future[list[Job]]:
        """Begin a reserve that finds nothing."""
        call = begin(lambda: svc.reserve(topics, timeout=timeout))
        self.asleep()
        return call

    def asleep(self) -> None:
        """Return once one more wait on the clock has begun."""
        assert self._clock.sleeping.acquire(timeout=PATIENCE), "it does not wait by the clock that it was given"


def a_queue(storage: Storage) -> None:
    """A job of topic t that is due in an hour, and one of a topic that is paused."""
    svc = JobService(storage)
    svc.enqueue("t", delay=3600)
    svc.enqueue("paused")
    svc.pause("paused")
