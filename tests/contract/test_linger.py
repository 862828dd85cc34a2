"""`linger`: once there is a first job, waiting a little longer fills the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from jobq import Done, Job, JobService, NewJob, ServiceClosed, Status, StorageError
from tests.clocks import PATIENCE, ManualClock
from tests.conftest import OpenStorage
from tests.contract.refusing import DURATION, NAN, Case, refused
from tests.contract.scenes import enqueue_named, given, names, take

T = TypeVar("T")


class Lingering:
    """Calls in a thread of their own, asleep before the test goes on."""

    def __init__(self, pool: ThreadPoolExecutor, clock: ManualClock) -> None:
        self._pool = pool
        self._clock = clock

    def begin(self, call: Callable[..., T], *arguments: object, **named: object) -> Future[T]:
        """Begin a call that waits."""
        future = self._pool.submit(call, *arguments, **named)
        self.asleep()
        return future

    def asleep(self) -> None:
        """Wait until the thread sleeps and nothing has called it; its own commits may call it before it does."""
        begun: Callable[..., bool] = self._clock.sleeping.acquire
        assert begun(timeout=PATIENCE)
        while all(event.is_set() for _, event in self._sleepers()):
            assert begun(timeout=PATIENCE)

    def _sleepers(self) -> list[Any]:
        with self._clock._lock:
            return list(self._clock._sleepers)

    def idle(self) -> bool:
        """Whether no wait has begun since the last that was looked for."""
        return not self._clock.sleeping.acquire(blocking=False)


@pytest.fixture
def lingering(clock: ManualClock) -> Iterator[Lingering]:
    with ThreadPoolExecutor(2) as pool:
        yield Lingering(pool, clock)


def got(call: Future[list[Job]]) -> list[str]:
    return names(call.result(PATIENCE))


# -- how long ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"linger": 0}, {"linger": 0.0}, {"linger": timedelta()}])
def test_without_it_a_batch_is_what_is_there(svc: JobService, lingering: Lingering, how: dict[str, Any]) -> None:
    enqueue_named(svc, "a", "b")
    assert names(svc.reserve("t", 3, 60, **how)) == ["a", "b"]
    assert lingering.idle()


def test_a_full_batch_needs_no_wait(svc: JobService, lingering: Lingering) -> None:
    enqueue_named(svc, "a", "b", "c")
    assert names(svc.reserve("t", 2, linger=60)) == ["a", "b"]
    assert names(svc.reserve("t", linger=60)) == ["c"]
    assert lingering.idle()


def test_it_returns_as_soon_as_the_batch_is_full(svc: JobService, lingering: Lingering) -> None:
    svc.enqueue("t", name="a")
    call = lingering.begin(svc.reserve, "t", 3, linger=60)
    svc.enqueue("t", name="b")
    lingering.asleep()
    assert not call.done()
    svc.enqueue("t", name="c")
    assert got(call) == ["a", "b", "c"]


def test_it_returns_what_came_until_then(svc: JobService, lingering: Lingering, clock: ManualClock) -> None:
    svc.enqueue("t", name="a")
    call = lingering.begin(svc.reserve, "t", 3, linger=0.75)
    svc.enqueue("t", name="b")
    lingering.asleep()
    clock.advance(0.749999)
    assert not call.done()
    clock.advance(0.000001)
    assert got(call) == ["a", "b"]
    svc.enqueue("t", name="c")
    assert take(svc).name == "c"


def test_it_lingers_for_longer_than_one_nap(svc: JobService, lingering: Lingering, clock: ManualClock) -> None:
    svc.enqueue("t", name="a")
    call = lingering.begin(svc.reserve, "t", 3, linger=timedelta(seconds=5))
    clock.advance(4)
    lingering.asleep()
    assert not call.done()
    svc.enqueue("t", name="b")
    lingering.asleep()
    clock.advance(1)
    assert got(call) == ["a", "b"]


def test_it_takes_no_more_than_asked_for(svc: JobService, lingering: Lingering) -> None:
    svc.enqueue("t", name="a")
    call = lingering.begin(svc.reserve, "t", 3, linger=60)
    enqueue_named(svc, "b", "c", "d", "e")
    assert got(call) == ["a", "b", "c"]
    assert svc.stats("t").now[Status.READY] == 2


def test_the_timeout_counts_for_the_first_job_alone(svc: JobService, lingering: Lingering, clock: ManualClock) -> None:
    call = lingering.begin(svc.reserve, "t", 2, timeout=1, linger=0.9)
    clock.advance(0.875)
    svc.enqueue("t", name="a")
    lingering.asleep()
    clock.advance(0.75)
    assert not call.done()
    svc.enqueue("t", name="b")
    assert got(call) == ["a", "b"]


def test_without_a_first_job_the_timeout_ends_it(svc: JobService, lingering: Lingering, clock: ManualClock) -> None:
    call = lingering.begin(svc.reserve, "t", 2, timeout=0.5, linger=60)
    clock.advance(0.5)
    assert got(call) == []
    assert svc.reserve("t", 2, linger=60) == []


# -- what it takes -----------------------------------------------------------------------------------------------------


def test_a_job_that_comes_due_meanwhile_is_taken_then(
    svc: JobService, lingering: Lingering, clock: ManualClock
) -> None:
    svc.enqueue("t", name="a")
    svc.enqueue("t", name="due", delay=0.25)
    call = lingering.begin(svc.reserve, "t", 2, linger=0.75)
    clock.advance(0.25)
    jobs = call.result(PATIENCE)
    assert names(jobs) == ["a", "due"]
    assert svc.get(jobs[1].id).reserved_at == clock.now()


def test_a_lease_that_ends_meanwhile_is_taken_over(svc: JobService, lingering: Lingering, clock: ManualClock) -> None:
    given(svc, name="lost", lease=0.25)
    svc.enqueue("t", name="a")
    call = lingering.begin(svc.reserve, "t", 2, linger=0.75)
    clock.advance(0.25)
    assert got(call) == ["a", "lost"]


def test_it_takes_from_all_topics(svc: JobService, lingering: Lingering) -> None:
    svc.enqueue("b", name="b")
    call = lingering.begin(svc.reserve, ["a", "b"], 3, linger=60)
    svc.enqueue_many([NewJob("b", name="second b"), NewJob("a", name="a")])
    assert got(call) == ["b", "a", "second b"]


def test_each_job_has_its_lease_from_its_reservation(svc: JobService, lingering: Lingering, clock: ManualClock) -> None:
    svc.enqueue("t", payload="first")
    call = lingering.begin(svc.reserve, "t", 2, linger=0.75, lease=10)
    begun = clock.now()
    clock.advance(0.5)
    svc.enqueue("t", payload="second")
    first, second = call.result(PATIENCE)
    assert [(job.text, (job.deadline - begun).total_seconds()) for job in (first, second)] == [
        ("first", 10),
        ("second", 10.5),
    ]
    assert (first._lease, second._lease) == (10 * 10**9, 10 * 10**9)
    svc.done([first, second])


def test_it_ends_when_half_of_the_shortest_lease_is_over(
    svc: JobService, lingering: Lingering, clock: ManualClock
) -> None:
    svc.enqueue("t", name="a", lease=99)
    call = lingering.begin(svc.reserve, "t", 3, linger=60)
    svc.enqueue("t", name="b", lease=1.5)
    lingering.asleep()
    clock.advance(0.749999)
    assert not call.done()
    clock.advance(0.000001)
    jobs = call.result(PATIENCE)
    assert names(jobs) == ["a", "b"]
    svc.done(jobs)


def test_a_job_that_was_lost_and_taken_again_meanwhile_is_given_once(
    svc: JobService, lingering: Lingering, clock: ManualClock
) -> None:
    """As when the process was stopped for longer than the lease."""
    svc.enqueue("t", name="a", lease=4)
    call = lingering.begin(svc.reserve, "t", 3, linger=60)
    clock.advance(10)
    [job] = call.result(PATIENCE)
    assert (job.name, job.attempt) == ("a", 2)
    job.done()


def test_exchange_settles_at_once_and_lingers_then(svc: JobService, lingering: Lingering) -> None:
    enqueue_named(svc, "done", "a")
    job = take(svc)
    call = lingering.begin(
        svc.exchange, [(job, Done("x"))], enqueue=NewJob("u", name="new"), topics="t", n=2, linger=60
    )
    assert (svc.get(job.id).result, take(svc, "u").name) == ("x", "new")
    svc.enqueue("t", name="b")
    exchange = call.result(PATIENCE)
    assert (names(exchange.jobs), len(exchange.ids), exchange.lost) == (["a", "b"], 1, [])


def test_exchange_waits_for_a_first_job_and_lingers_then(
    svc: JobService, lingering: Lingering, clock: ManualClock
) -> None:
    call = lingering.begin(svc.exchange, topics="t", n=2, timeout=60, linger=0.5)
    svc.enqueue("t", name="a")
    lingering.asleep()
    clock.advance(0.5)
    assert names(call.result(PATIENCE).jobs) == ["a"]


def test_exchange_without_topics_does_not_linger(svc: JobService, lingering: Lingering) -> None:
    svc.enqueue("t")
    assert svc.exchange(enqueue=NewJob("t"), n=5, linger=60).jobs == []
    assert lingering.idle()


# -- when it is broken off ---------------------------------------------------------------------------------------------


def test_a_service_that_is_closed_meanwhile_gives_what_was_taken(svc: JobService, lingering: Lingering) -> None:
    svc.enqueue("t", name="a")
    call = lingering.begin(svc.reserve, "t", 2, linger=60)
    svc.close()
    [job] = call.result(PATIENCE)
    assert job.name == "a"
    with pytest.raises(ServiceClosed):
        job.done()


def interrupted(*_: object) -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("verb", ["reserve", "exchange"])
def test_ctrl_c_meanwhile_gives_back_what_was_taken(
    svc: JobService, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    ids = enqueue_named(svc, "a", "b")
    monkeypatch.setattr(clock, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(svc, verb)(topics="t", n=3, linger=60)
    infos = [svc.get(job_id) for job_id in ids]
    assert [(info.status, info.retry_count, info.attempt) for info in infos] == [(Status.READY, 0, 1)] * 2


def test_ctrl_c_after_more_jobs_came_gives_back_all(
    svc: JobService, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = enqueue_named(svc, "a")

    def enqueue_once(*_: object) -> bool:
        monkeypatch.setattr(clock, "wait", interrupted)
        ids.extend(enqueue_named(svc, "b"))
        return True

    monkeypatch.setattr(clock, "wait", enqueue_once)
    with pytest.raises(KeyboardInterrupt):
        svc.reserve("t", 3, linger=60)
    assert [(svc.status(job_id), svc.get(job_id).attempt) for job_id in ids] == [(Status.READY, 1)] * 2


def test_what_cannot_be_given_back_at_once_is_given_back_by_the_next_verb(
    open_storage: OpenStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage()
    svc = JobService(storage)
    [job_id] = enqueue_named(svc, "a")

    def fails(*_: object, **__: object) -> object:
        raise StorageError("the disk is gone")

    def interrupted_without_a_disk(*_: object) -> bool:
        monkeypatch.setattr(storage, "transact", fails)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(clock, "wait", interrupted_without_a_disk)
        with pytest.raises(KeyboardInterrupt):
            svc.reserve("t", 2, linger=60)
    monkeypatch.undo()
    assert svc.status(job_id) is Status.RESERVED
    svc.enqueue("u")
    assert svc.status(job_id) is Status.READY


def test_a_failure_meanwhile_goes_up_and_the_jobs_back(
    open_storage: OpenStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage()
    svc = JobService(storage)
    [job_id] = enqueue_named(svc, "a")
    transact: Callable[..., Any] = storage.transact
    calls = iter([transact])

    def fails_at_the_second(*arguments: Any, **named: Any) -> Any:
        call = next(calls, None)
        if call is None:
            monkeypatch.setattr(storage, "transact", transact)
            raise StorageError("once")
        return call(*arguments, **named)

    monkeypatch.setattr(storage, "transact", fails_at_the_second)
    with pytest.raises(StorageError, match="once"):
        svc.reserve("t", 2, linger=60)
    assert svc.status(job_id) is Status.READY


# -- bad input ---------------------------------------------------------------------------------------------------------

LINGERS: list[Case] = [
    (-1, ValueError, "linger must be 0 or more seconds, not -1"),
    (NAN, ValueError, "linger must be a finite number of seconds, not nan"),
    ("5", TypeError, f"linger {DURATION}str"),
    (None, TypeError, f"linger {DURATION}NoneType"),
    (True, TypeError, f"linger {DURATION}bool"),
]


@pytest.mark.parametrize(("linger", "error", "message"), LINGERS)
def test_lingering_with_bad_input(full: JobService, linger: Any, error: type[Exception], message: str) -> None:
    held = given(full)
    refused(
        full,
        error,
        message,
        lambda: full.reserve("ready", 2, linger=linger),
        lambda: full.exchange([(held, Done())], topics="ready", n=2, linger=linger),
        lambda: full.exchange([(held, Done())], linger=linger),
    )
