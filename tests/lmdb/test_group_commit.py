"""Verbs of concurrent threads share a commit, and each has its own outcome."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from jobq import DuplicateJob, JobService, LeaseLost, NewJob, ServiceClosed, Status, StorageError, StorageFull
from jobq.ports import UnitOfWork
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE

TOO_LONG = "x" * 600
"""A topic whose name makes a key that LMDB refuses as it is written."""


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads are about to do."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.001)  # between two looks: that a thread has queued up gives no event to wait on


class Bus:
    """A storage whose leader can be kept busy while others take their seats."""

    def __init__(self, path: Path) -> None:
        self.storage = LmdbStorage(path, sync="normal")
        self.svc = JobService(self.storage)
        self.pool = ThreadPoolExecutor(40)
        self.group = self.storage._environment.group
        self._go_on = threading.Event()
        self._leader: Future[None] | None = None

    def hold(self) -> None:
        """Have a thread lead a transaction until `go`."""
        begun = threading.Event()
        self._go_on.clear()

        def body(uow: UnitOfWork) -> None:
            begun.set()
            assert self._go_on.wait(PATIENCE)

        self._leader = self.pool.submit(self.storage.transact, body)
        assert begun.wait(PATIENCE)

    def seat(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        """Call something in a thread of its own that has to queue up; returns once it does."""
        queued = len(self.group._queue) + 1
        future = self.pool.submit(call, *arguments, **named)
        until(lambda: len(self.group._queue) == queued)
        return future

    def go(self) -> int:
        """Let the leader go on, see that it comes to an end, and return the number of its commit."""
        assert self._leader is not None
        before = self.commits()
        self._go_on.set()
        self._leader.result(PATIENCE)
        return before

    def commits(self) -> int:
        """The number of the last commit."""
        return self.storage._environment.last_change()

    def close(self) -> None:
        self._go_on.set()
        self.pool.shutdown()
        check_invariants(self.storage)
        assert (list(self.group._queue), list(self.group._loners), self.group._turn) == ([], [], {})
        self.svc.close()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    bus = Bus(tmp_path / "jobs")
    yield bus
    bus.close()


def test_verbs_of_many_threads_share_a_commit(bus: Bus) -> None:
    bus.hold()
    calls = [bus.seat(bus.svc.enqueue, "t", payload=str(n)) for n in range(30)]
    before = bus.go()
    ids = [call.result(PATIENCE) for call in calls]
    assert (ids, bus.commits() - before) == (list(range(1, 31)), 1)
    assert [bus.svc.payload(id) for id in ids] == [b"%d" % n for n in range(30)]


def test_each_sees_what_those_before_it_wrote(bus: Bus) -> None:
    bus.hold()
    enqueue = bus.seat(bus.svc.enqueue, "t", payload="x")
    reserve = bus.seat(bus.svc.reserve, "t")
    again = bus.seat(bus.svc.reserve, "t")
    before = bus.go()
    [job] = reserve.result(PATIENCE)
    assert (job.id, again.result(PATIENCE), bus.commits() - before) == (enqueue.result(PATIENCE), [], 1)
    job.done()


def test_a_verb_that_raises_fails_alone(bus: Bus) -> None:
    bus.hold()
    calls = [bus.seat(bus.svc.enqueue, "t", unique_key="k") for _ in range(3)]
    last = bus.seat(bus.svc.enqueue, "t")
    before = bus.go()
    assert (calls[0].result(PATIENCE), last.result(PATIENCE), bus.commits() - before) == (1, 2, 1)
    for call in calls[1:]:
        with pytest.raises(DuplicateJob, match="held by job 1"):
            call.result(PATIENCE)


def test_an_error_while_applying_runs_the_others_again_one_by_one(bus: Bus) -> None:
    def bad(uow: UnitOfWork) -> None:
        uow.topics.pause(TOO_LONG, True)

    bus.hold()
    calls = [bus.seat(bus.svc.enqueue, "t") for _ in range(6)]
    failing = bus.seat(bus.storage.transact, bad)
    before = bus.go()
    assert sorted(call.result(PATIENCE) for call in calls) == [1, 2, 3, 4, 5, 6]
    assert bus.commits() - before == 6
    with pytest.raises(StorageError, match="MDB_BAD_VALSIZE"):
        failing.result(PATIENCE)
    assert bus.svc.stats("t").now[Status.READY] == 6


def test_an_error_that_followed_from_what_was_undone_is_not_raised(bus: Bus) -> None:
    """What a verb found in a transaction that came to nothing was never so."""
    state = {"runs": 0}

    def undone(uow: UnitOfWork) -> None:
        state["runs"] += 1
        if state["runs"] == 1:  # as if it saw another state the second time
            uow.topics.pause("t", True)
            uow.topics.pause(TOO_LONG, True)

    def sees_it(uow: UnitOfWork) -> str:
        found = uow.topics.state("t")
        if found is not None and found.paused:
            raise ValueError("paused")
        return "not paused"

    bus.hold()
    first = bus.seat(bus.storage.transact, undone)
    second = bus.seat(bus.storage.transact, sees_it)
    bus.go()
    assert (first.result(PATIENCE), second.result(PATIENCE), state) == (None, "not paused", {"runs": 2})


def test_a_full_storage_refuses_what_does_not_fit_and_nothing_else(tmp_path: Path) -> None:
    bus = Bus(tmp_path / "jobs")
    bus.svc.close()
    bus.storage = LmdbStorage(tmp_path / "jobs", max_size=2**20)
    bus.svc = JobService(bus.storage)
    bus.group = bus.storage._environment.group
    bus.hold()
    calls = [bus.seat(bus.svc.enqueue, "t", payload=b"x" * 300_000) for _ in range(4)]
    small = bus.seat(bus.svc.enqueue, "t", payload=b"x")
    bus.go()
    outcomes = [type(call.exception(PATIENCE)) for call in calls]
    assert (outcomes.count(type(None)), outcomes.count(StorageFull)) == (3, 1)
    assert bus.svc.payload(small.result(PATIENCE)) == b"x"
    bus.close()


def test_large_batches_do_not_wait_for_each_other(bus: Bus) -> None:
    bus.hold()
    calls = [bus.seat(bus.svc.enqueue_many, [NewJob("t") for _ in range(1_500)]) for _ in range(4)]
    before = bus.go()
    assert sorted(id for call in calls for id in call.result(PATIENCE)) == list(range(1, 6_001))
    assert bus.commits() - before == 2


def test_ctrl_c_in_the_leader_goes_to_its_thread_alone(bus: Bus) -> None:
    def body(uow: UnitOfWork) -> None:
        begun.set()
        until(lambda: len(bus.group._queue) == 3)
        signal.raise_signal(signal.SIGINT)

    begun = threading.Event()

    def followers() -> list[int]:
        assert begun.wait(PATIENCE)
        return [call.result(PATIENCE) for call in [bus.pool.submit(bus.svc.enqueue, "t") for _ in range(3)]]

    others = bus.pool.submit(followers)
    with pytest.raises(KeyboardInterrupt):
        bus.storage.transact(body)
    assert sorted(others.result(PATIENCE)) == [1, 2, 3]


def test_ctrl_c_in_a_leader_that_runs_the_work_of_others_undoes_it_and_they_try_again(bus: Bus) -> None:
    runs = []
    begun = threading.Event()

    def leading(uow: UnitOfWork) -> None:
        uow.topics.pause("mine", True)
        begun.set()
        until(lambda: len(bus.group._queue) == 2)

    def struck(uow: UnitOfWork) -> str:
        runs.append(threading.current_thread() is threading.main_thread())
        if runs[-1]:
            signal.raise_signal(signal.SIGINT)
        uow.topics.pause("t", True)
        return "done in the end"

    def others() -> tuple[int, str]:
        assert begun.wait(PATIENCE)
        first = bus.seat(bus.svc.enqueue, "u")
        second = bus.pool.submit(bus.storage.transact, struck)  # once it sits, the leader takes both
        return first.result(PATIENCE), second.result(PATIENCE)

    outcomes = bus.pool.submit(others)
    with pytest.raises(KeyboardInterrupt):
        bus.storage.transact(leading)
    assert outcomes.result(PATIENCE) == (1, "done in the end")
    assert runs == [True, False]
    assert bus.svc.topics() == ["t", "u"]


def test_ctrl_c_in_a_follower_that_was_not_begun_withdraws_it(bus: Bus) -> None:
    bus.hold()
    other = bus.seat(bus.svc.enqueue, "other")

    def interrupt_once_queued() -> None:
        until(lambda: len(bus.group._queue) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    bus.pool.submit(interrupt_once_queued)
    with pytest.raises(KeyboardInterrupt):
        bus.svc.enqueue("t")
    assert len(bus.group._queue) == 1
    bus.go()
    other.result(PATIENCE)
    assert bus.svc.topics() == ["other"]


def test_ctrl_c_in_a_follower_that_was_begun_gives_back_what_it_reserved(bus: Bus) -> None:
    bus.svc.enqueue("t", name="mine")
    begun, go_on = threading.Event(), threading.Event()

    def slow(uow: UnitOfWork) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    bus.hold()
    # The next leader runs what is queued: first something slow, then what the main thread wants.
    slow_call = bus.seat(bus.storage.transact, slow)

    def let_it_run() -> None:
        until(lambda: len(bus.group._queue) == 2)
        bus._go_on.set()
        assert begun.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: len(bus.group._queue) == 0 or bus.group._queue[0].thread != threading.main_thread().ident)
        go_on.set()

    driver = bus.pool.submit(let_it_run)
    with pytest.raises(KeyboardInterrupt):
        bus.svc.reserve("t")
    driver.result(PATIENCE)
    slow_call.result(PATIENCE)
    until(lambda: bus.svc.stats("t").now[Status.READY] == 1)
    info = bus.svc.find("ready", topic="t")[0]
    assert (info.name, info.retry_count) == ("mine", 0)


def test_a_leader_whose_thread_ends_leaves_nobody_waiting(bus: Bus) -> None:
    def body(uow: UnitOfWork) -> None:
        begun.set()
        until(lambda: len(bus.group._queue) == 5)
        uow.topics.pause("t", True)
        raise SystemExit

    begun = threading.Event()

    def end() -> None:
        with suppress(SystemExit):
            bus.storage.transact(body)

    leader = threading.Thread(target=end)
    leader.start()
    assert begun.wait(PATIENCE)
    calls = [bus.pool.submit(bus.svc.enqueue, "t") for _ in range(5)]
    assert sorted(call.result(PATIENCE) for call in calls) == [1, 2, 3, 4, 5]
    leader.join(PATIENCE)
    assert not leader.is_alive()
    assert not bus.svc.stats("t").paused


def test_closing_under_a_queue_refuses_who_had_not_begun(bus: Bus) -> None:
    other = LmdbStorage(bus.storage._path)
    bus.hold()
    calls = [bus.seat(bus.svc.enqueue, "t") for _ in range(3)]
    bus._go_on.set()
    bus.svc.close()
    other.close()
    outcomes = [type(call.exception(PATIENCE)) for call in calls]
    assert set(outcomes) <= {type(None), ServiceClosed}
    bus.storage = LmdbStorage(bus.storage._path)
    bus.svc = JobService(bus.storage)
    assert bus.svc.stats("t").enqueued == outcomes.count(type(None))


@contextmanager
def busy_threads(bus: Bus, n: int) -> Iterator[None]:
    """Threads that commit all the time, so that the turn to lead is hardly ever free."""
    stop = threading.Event()

    def commit() -> None:
        while not stop.is_set():
            bus.svc.enqueue("busy", keep_done=0)

    calls = [bus.pool.submit(commit) for _ in range(n)]
    try:
        yield
    finally:
        stop.set()
        for call in calls:
            call.result(PATIENCE)


@pytest.mark.parametrize("fault", ["error while applying", "leader ends"])
def test_who_has_to_try_again_is_not_starved_by_busy_threads(bus: Bus, fault: str) -> None:
    def bad(uow: UnitOfWork) -> None:
        uow.topics.pause(TOO_LONG, True)

    def ends(uow: UnitOfWork) -> None:
        begun.set()
        until(lambda: len(bus.group._queue) >= 5)
        raise SystemExit

    begun = threading.Event()
    if fault == "error while applying":
        bus.hold()
        calls = [bus.seat(bus.svc.enqueue, "t") for _ in range(5)]
        failing = bus.seat(bus.storage.transact, bad)
        with busy_threads(bus, 3):
            bus.go()
            assert sorted(call.result(PATIENCE) for call in calls)
            assert isinstance(failing.exception(PATIENCE), StorageError)
    else:
        leader = bus.pool.submit(bus.storage.transact, ends)
        assert begun.wait(PATIENCE)
        calls = [bus.pool.submit(bus.svc.enqueue, "t") for _ in range(5)]
        with busy_threads(bus, 3):
            assert isinstance(leader.exception(PATIENCE), SystemExit)
            assert sorted(call.result(PATIENCE) for call in calls)
    assert bus.svc.stats("t").enqueued == 5


def test_no_work_is_done_twice_however_threads_take_turns(bus: Bus) -> None:
    """A thread switch at any point: also between two looks at what became of a transaction."""
    calls, threads, each = 0, 8, 150
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    try:
        running = [bus.pool.submit(lambda: [bus.svc.enqueue("t") for _ in range(each)]) for _ in range(threads)]
        ids = [id for call in running for id in call.result(2 * PATIENCE)]
    finally:
        sys.setswitchinterval(interval)
    calls = threads * each
    assert (len(set(ids)), bus.svc.stats("t").enqueued, bus.svc.stats("t").now[Status.READY]) == (calls, calls, calls)


def test_a_second_ctrl_c_in_a_follower_changes_nothing(bus: Bus) -> None:
    """It waits for the outcome of its transaction, which is there in a moment, and gives back what it reserved."""
    bus.svc.enqueue("t")
    begun, go_on = threading.Event(), threading.Event()

    def slow(uow: UnitOfWork) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    struck: list[int] = []

    def strike(*_: object) -> None:
        struck.append(1)
        raise KeyboardInterrupt

    def drive() -> None:
        until(lambda: len(bus.group._queue) == 1)
        slow_calls = [bus.seat(bus.storage.transact, slow)]
        bus._go_on.set()
        assert begun.wait(PATIENCE)
        for n in (1, 2):
            os.kill(os.getpid(), signal.SIGUSR1)
            until(lambda n=n: len(struck) == n)  # type: ignore[misc]
        go_on.set()
        for call in slow_calls:
            call.result(PATIENCE)

    before = signal.signal(signal.SIGUSR1, strike)
    try:
        bus.hold()
        driver = bus.pool.submit(drive)
        with pytest.raises(KeyboardInterrupt):
            bus.svc.reserve("t")
        driver.result(PATIENCE)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert bus.svc.stats("t").now[Status.READY] == 1


def test_threads_in_a_hurry_lose_and_double_nothing(bus: Bus) -> None:
    total, workers = 600, 12
    seen: list[int] = []

    def produce(part: int) -> None:
        for n in range(part, total, workers):
            bus.svc.enqueue("t", unique_key=str(n))

    def consume() -> None:
        while len(seen) < total:
            for job in bus.svc.reserve("t", n=3, timeout=0.01):
                try:
                    job.done()
                except LeaseLost:
                    continue
                seen.append(job.id)

    calls = [bus.pool.submit(produce, part) for part in range(workers)] + [bus.pool.submit(consume) for _ in range(4)]
    for call in calls:
        call.result(2 * PATIENCE)
    assert (len(seen), len(set(seen)), bus.svc.stats("t").done) == (total, total, total)
