"""A thread that waits in `reserve` wakes as soon as there is a job for it, and no sooner than it need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jobq import Done, Exchange, Job, JobInfo, JobNotFound, JobService, NewJob, Release, ServiceClosed, Status
from tests.clocks import PATIENCE, ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import given, names, take


class Waiting:
    """Calls in threads of their own, each begun and asleep before the test goes on."""

    def __init__(self, pool: ThreadPoolExecutor, clock: ManualClock) -> None:
        self._pool = pool
        self._clock = clock

    def reserve(self, svc: JobService, *arguments: object, **named: object) -> Future[list[Job]]:
        """Begin a reserve that finds nothing."""
        call: Future[list[Job]] = self._pool.submit(svc.reserve, *arguments, **named)  # type: ignore[arg-type]
        self.asleep()
        return call

    def exchange(self, svc: JobService, *arguments: object, **named: object) -> Future[Exchange[Job]]:
        """Begin an exchange that finds nothing to reserve."""
        call: Future[Exchange[Job]] = self._pool.submit(svc.exchange, *arguments, **named)  # type: ignore[arg-type]
        self.asleep()
        return call

    def wait_for(self, svc: JobService, job_id: int, timeout: float | None) -> Future[JobInfo]:
        """Begin to wait for a job that is not finished."""
        call = self._pool.submit(svc.wait_for, job_id, timeout)
        self.asleep()
        return call

    def asleep(self) -> None:
        """Wait until one more wait has begun."""
        assert self._clock.sleeping.acquire(timeout=PATIENCE)

    def idle(self) -> bool:
        """Whether no wait has begun since the last that was looked for."""
        return not self._clock.sleeping.acquire(blocking=False)


@pytest.fixture
def waiting(clock: ManualClock) -> Iterator[Waiting]:
    with ThreadPoolExecutor(4) as pool:
        yield Waiting(pool, clock)


def got(call: Future[list[Job]]) -> list[str]:
    """The names of what a waiting reserve returned."""
    return names(call.result(PATIENCE))


def test_an_enqueue_wakes_a_waiter_at_once(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    call = waiting.reserve(svc, "t", 1, 60)
    svc.enqueue("t", name="new")
    [job] = call.result(PATIENCE)
    assert (job.name, job.info().reserved_at) == ("new", clock.now())


def test_without_a_timeout_it_waits_for_ever(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    call = waiting.reserve(svc, "t", timeout=None)
    for _ in range(5):
        clock.advance(10**6)
        waiting.asleep()
    svc.enqueue("t", name="at last")
    assert got(call) == ["at last"]


def test_an_enqueue_of_another_service_wakes_a_waiter(
    svc: JobService, open_service: OpenService, waiting: Waiting
) -> None:
    other = open_service()
    call = waiting.reserve(svc, "t", timeout=60)
    other.enqueue("t", name="new")
    assert got(call) == ["new"]


def test_enqueue_many_gives_a_waiter_as_many_as_it_asked_for(svc: JobService, waiting: Waiting) -> None:
    call = waiting.reserve(svc, "t", 2, 60)
    svc.enqueue_many([NewJob("t", name=name) for name in "abc"])
    assert got(call) == ["a", "b"]
    assert take(svc).name == "c"


def test_a_waiter_returns_as_soon_as_there_is_one_job(svc: JobService, waiting: Waiting) -> None:
    call = waiting.reserve(svc, "t", 10, 60)
    svc.enqueue("t", name="one")
    assert got(call) == ["one"]


def test_a_waiter_of_several_topics_wakes_for_each(svc: JobService, waiting: Waiting) -> None:
    call = waiting.reserve(svc, ["a", "b"], 1, 60)
    svc.enqueue("b", name="b")
    assert got(call) == ["b"]


def test_an_enqueue_elsewhere_wakes_nobody(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    call = waiting.reserve(svc, "t", 1, 60)
    svc.enqueue("u")
    svc.enqueue("t", delay=120)
    assert not call.done()
    clock.advance(60)
    assert got(call) == []


def test_resume_wakes_a_waiter_at_once(svc: JobService, waiting: Waiting) -> None:
    svc.enqueue("t", name="held")
    svc.pause("t")
    call = waiting.reserve(svc, "t", 1, 60)
    svc.resume("t")
    assert got(call) == ["held"]


def test_a_delayed_job_is_handed_out_when_it_is_due(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    svc.enqueue("t", name="delayed", delay=0.75)
    call = waiting.reserve(svc, "t", 1, 60)
    clock.advance(0.749)
    assert waiting.idle()
    assert not call.done()
    clock.advance(0.001)
    [job] = call.result(PATIENCE)
    assert job.info().reserved_at == job.info().run_at == clock.now()


def test_a_job_delayed_for_long_is_handed_out_when_it_is_due(
    svc: JobService, waiting: Waiting, clock: ManualClock
) -> None:
    svc.enqueue("t", name="delayed", delay=3600.25)
    call = waiting.reserve(svc, "t", timeout=None)
    clock.advance(3600)
    waiting.asleep()
    clock.advance(0.249)
    assert waiting.idle()
    clock.advance(0.001)
    [job] = call.result(PATIENCE)
    assert job.info().reserved_at == clock.now()


def test_a_job_that_is_due_sooner_shortens_the_wait(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    svc.enqueue("t", name="later", delay=0.9)
    call = waiting.reserve(svc, "t", 1, 60)
    svc.enqueue("t", name="sooner", delay=0.25)
    waiting.asleep()
    clock.advance(0.25)
    assert got(call) == ["sooner"]


def test_a_lease_that_ends_wakes_a_waiter(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    given(svc, name="lost", lease=0.5)
    call = waiting.reserve(svc, "t", 1, 60)
    clock.advance(0.5)
    [job] = call.result(PATIENCE)
    assert (job.name, job.attempt) == ("lost", 2)


@pytest.mark.parametrize("verb", ["release", "retry", "reset", "reschedule", "replace"])
def test_whatever_makes_a_job_ready_wakes_a_waiter_at_once(
    svc: JobService, waiting: Waiting, clock: ManualClock, verb: str
) -> None:
    if verb in ("release", "retry"):
        job = given(svc, name="again")
    else:
        job_id = svc.enqueue("t", name="again", delay=600, unique_key="k")
    call = waiting.reserve(svc, "t", 1, 60)
    if verb == "release":
        job.release()
    elif verb == "retry":
        job.retry(0)
    elif verb == "reset":
        svc.reset(job_id)
    elif verb == "reschedule":
        svc.reschedule(job_id, clock.now())
    else:
        svc.enqueue("t", name="again", unique_key="k", on_duplicate="replace")
    assert got(call) == ["again"]


def test_an_exchange_wakes_a_waiter_at_once(svc: JobService, waiting: Waiting) -> None:
    job = given(svc, name="again")
    call = waiting.reserve(svc, ["t", "u"], 2, 60)
    svc.exchange([(job, Release())], enqueue=NewJob("u", name="new"))
    assert got(call) == ["again", "new"]


def test_followers_of_a_done_job_wake_a_waiter(svc: JobService, waiting: Waiting) -> None:
    job = given(svc)
    call = waiting.reserve(svc, "u", 1, 60)
    job.done(then=NewJob("u", name="next"))
    assert got(call) == ["next"]


def test_two_waiters_get_a_job_each(svc: JobService, waiting: Waiting) -> None:
    calls = [waiting.reserve(svc, "t", 1, 60) for _ in range(2)]
    svc.enqueue_many([NewJob("t", name="a"), NewJob("t", name="b")])
    assert sorted(got(calls[0]) + got(calls[1])) == ["a", "b"]


def test_of_two_waiters_and_one_job_one_sleeps_on(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    calls = [waiting.reserve(svc, "t", 1, 60) for _ in range(2)]
    svc.enqueue("t", name="first")
    assert got(calls[0]) == ["first"]
    assert waiting.idle()
    svc.enqueue("t", name="second")
    assert got(calls[1]) == ["second"]


def test_a_waiter_that_leaves_jobs_behind_wakes_the_next(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    svc.pause("t")
    calls = [waiting.reserve(svc, "t", 1, 60) for _ in range(3)]
    svc.enqueue_many([NewJob("t", name=name) for name in "abc"])
    svc.resume("t")
    assert sorted(name for call in calls for name in got(call)) == ["a", "b", "c"]


def test_a_job_that_a_waiter_was_woken_for_and_left_wakes_another(
    svc: JobService, waiting: Waiting, clock: ManualClock
) -> None:
    """Called for b, it finds a job of a, which it serves first: who waits for b alone must not sleep on."""
    both = waiting.reserve(svc, ["a", "b"], 1, 60)
    only = waiting.reserve(svc, "b", 1, 60)
    svc.exchange(enqueue=[NewJob("b", name="b"), NewJob("a", name="a")])
    assert (got(both), got(only)) == (["a"], ["b"])


def test_wait_for_returns_the_job_once_it_is_finished(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    id = svc.enqueue("t")
    call = waiting.wait_for(svc, id, None)
    job = take(svc)
    assert not call.done()
    job.done({"answer": 42})
    info = call.result(PATIENCE)
    assert (info.status, info.result, svc.wait_for(id, 0)) == (Status.DONE, {"answer": 42}, info)


def test_wait_for_sees_a_cancellation_and_a_death(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    first, second = svc.enqueue("t"), svc.enqueue("u")
    calls = [waiting.wait_for(svc, first, 60), waiting.wait_for(svc, second, 60)]
    svc.cancel(first, "no more")
    take(svc, "u").reject("bad")
    assert (calls[0].result(PATIENCE).note, calls[1].result(PATIENCE).last_error) == ("no more", "bad")


def test_wait_for_times_out(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    id = svc.enqueue("t")
    with pytest.raises(TimeoutError, match="job 1 of topic 't' is not finished, but ready"):
        svc.wait_for(id, 0)
    call = waiting.wait_for(svc, id, 5)
    clock.advance(5)
    with pytest.raises(TimeoutError):
        call.result(PATIENCE)


def test_wait_for_a_job_that_goes_is_job_not_found(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    id = svc.enqueue("t", keep_done=0)
    call = waiting.wait_for(svc, id, 60)
    take(svc).done()
    with pytest.raises(JobNotFound):
        call.result(PATIENCE)
    with pytest.raises(JobNotFound):
        svc.wait_for(id, 60)


def test_close_wakes_who_waits_for_a_job(svc: JobService, waiting: Waiting) -> None:
    call = waiting.wait_for(svc, svc.enqueue("t"), None)
    svc.close()
    with pytest.raises(ServiceClosed):
        call.result(PATIENCE)


def test_the_timeout_gives_an_empty_list(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    call = waiting.reserve(svc, "t", 1, 0.5)
    clock.advance(0.499999)
    assert not call.done()
    clock.advance(0.000001)
    assert call.result(PATIENCE) == []


def test_a_job_at_the_very_end_of_the_timeout_is_taken(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    svc.enqueue("t", name="just in time", delay=0.5)
    call = waiting.reserve(svc, "t", 1, 0.5)
    clock.advance(0.5)
    assert got(call) == ["just in time"]


def test_a_job_that_is_there_needs_no_wait(svc: JobService, waiting: Waiting) -> None:
    svc.enqueue("t", name="here")
    assert names(svc.reserve("t", 1, 60)) == ["here"]
    assert waiting.idle()


def test_no_timeout_at_all_never_waits(svc: JobService, waiting: Waiting) -> None:
    assert svc.reserve("t") == svc.reserve("t", 1, 0) == []
    assert waiting.idle()


@pytest.mark.parametrize("timeout", [60, None])
def test_close_wakes_a_waiter_with_service_closed(svc: JobService, waiting: Waiting, timeout: int | None) -> None:
    call = waiting.reserve(svc, "t", 1, timeout)
    svc.close()
    with pytest.raises(ServiceClosed):
        call.result(PATIENCE)


def test_close_of_another_service_leaves_the_waiter(
    svc: JobService, open_service: OpenService, waiting: Waiting
) -> None:
    call = waiting.reserve(svc, "t", 1, 60)
    open_service().close()
    svc.enqueue("t", name="new")
    assert got(call) == ["new"]


def test_a_step_of_the_wall_clock_brings_what_is_due_within_a_second(
    svc: JobService, waiting: Waiting, clock: ManualClock
) -> None:
    svc.enqueue("t", name="stepped", run_at=clock.after(3600))
    call = waiting.reserve(svc, "t", 1, 60)
    clock.step_wall(3600)
    clock.advance(1)
    assert got(call) == ["stepped"]


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_step_of_the_wall_clock_moves_no_timeout(
    svc: JobService, waiting: Waiting, clock: ManualClock, step: float
) -> None:
    call = waiting.reserve(svc, "t", 1, 10)
    clock.step_wall(step)
    clock.advance(9)
    waiting.asleep()
    assert not call.done()
    clock.advance(1)
    assert got(call) == []


def test_exchange_commits_before_it_waits(svc: JobService, waiting: Waiting) -> None:
    job = given(svc)
    call = waiting.exchange(svc, [(job, Done("x"))], enqueue=NewJob("u", name="new"), topics="t", timeout=60)
    assert (svc.get(job.id).result, take(svc, "u").name) == ("x", "new")
    svc.enqueue("t", name="next")
    exchange = call.result(PATIENCE)
    assert (names(exchange.jobs), len(exchange.ids), exchange.lost) == (["next"], 1, [])
    assert job.settled


def test_the_loop_goes_on_until_nothing_came_for_so_long(svc: JobService, waiting: Waiting, clock: ManualClock) -> None:
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: [job.name for job in svc.jobs("t", timeout=0.5)])
        for name in "abc":
            waiting.asleep()
            clock.advance(0.4)
            svc.enqueue("t", name=name)
        waiting.asleep()
        clock.advance(0.5)
        assert call.result(PATIENCE) == ["a", "b", "c"]


def test_close_ends_a_loop_that_waits_with_service_closed(svc: JobService, waiting: Waiting) -> None:
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: list(svc.jobs("t")))
        waiting.asleep()
        svc.close()
        with pytest.raises(ServiceClosed):
            call.result(PATIENCE)


def test_every_verb_of_a_closed_service_raises(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    svc.close()
    svc.close()
    calls: list[Callable[[], object]] = [
        lambda: svc.enqueue("t"),
        lambda: svc.enqueue_many([NewJob("t")]),
        lambda: svc.reserve("t"),
        lambda: svc.reserve("t", timeout=None),
        lambda: list(svc.jobs("t")),
        lambda: svc.done(job),
        lambda: svc.retry(job),
        lambda: svc.release(job),
        lambda: svc.reject(job),
        lambda: svc.extend(job),
        lambda: svc.exchange(topics="t"),
        lambda: svc.status(1),
        lambda: svc.get(1),
        lambda: svc.payload(1),
        lambda: svc.wait_for(1, 0),
        lambda: svc.lookup("t", "k"),
        lambda: svc.find(Status.READY),
        lambda: svc.dead_letters(),
        lambda: svc.topics(),
        lambda: svc.stats("t"),
        lambda: svc.next_due("t"),
        lambda: svc.cancel(1),
        lambda: svc.reset(1),
        lambda: svc.reschedule(1, clock.now()),
        lambda: svc.delete(1),
        lambda: svc.prune(),
        lambda: svc.prune(topic="t"),
        lambda: svc.clear("t"),
        lambda: svc.pause("t"),
        lambda: svc.resume("t"),
        lambda: job.done(),
        lambda: job.cancel(),
        lambda: job.info(),
        lambda: job.canceled(),
    ]
    for call in calls:
        with pytest.raises(ServiceClosed, match="closed: open "):
            call()


def test_a_service_is_closed_at_the_end_of_its_block(svc: JobService) -> None:
    with svc as inside:
        assert inside is svc
        svc.enqueue("t")
    with pytest.raises(ServiceClosed):
        svc.topics()


def test_a_waiter_for_whom_nothing_comes_makes_no_transaction(
    svc: JobService, waiting: Waiting, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = svc._storage
    made: list[object] = []
    call = waiting.reserve(svc, "t", 1, 60)
    for name in ("transact", "view"):
        monkeypatch.setattr(storage, name, made.append)
    for _ in range(30):
        clock.advance(1)
        waiting.asleep()
    assert made == []
    monkeypatch.undo()
    svc.enqueue("t", name="x")
    assert got(call) == ["x"]
