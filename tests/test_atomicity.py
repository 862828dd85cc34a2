"""A transaction is there wholly or not at all, wherever its body raises and wherever Ctrl-C breaks in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest

from jobq import Compaction, Done, Exchange, Job, JobService, NewJob, Reject, Release, Retry, Status, StorageInfo
from jobq.ports import JobRepository, Storage, TopicRepository, UnitOfWork, Watch
from jobq.repos import MemoryStorage
from jobq.testing.invariants import check_invariants, dump
from tests.clocks import ManualClock
from tests.conftest import OpenStorage

T = TypeVar("T")
Verb = Callable[[JobService, list[Job]], object]
EVERY_WRITE = {"add", "put", "delete", "discard", "put_payload", "log", "move", "tally", "pause"}


# -- what is done ----------------------------------------------------------------------------------------------------


def a_busy_queue(svc: JobService, clock: ManualClock) -> list[Job]:
    """Jobs of topic "t" in every status, some of them due or over; returns four handles, the last one's lease over."""
    for key in ("done", "canceled", "dead"):
        svc.enqueue("t", unique_key=key, keep_done=5, keep_canceled=5, keep_dead=5, log_status_change=True)
    finished = svc.reserve("t", 3)
    svc.exchange([(finished[0], Done()), (finished[2], Reject("bad"))])
    svc.cancel(finished[1].id)
    svc.enqueue_many(
        [NewJob("t", payload="held", unique_key=f"held {n}", lease=100, log_status_change=True) for n in range(3)]
    )
    svc.enqueue("t", lease=1)
    held = svc.reserve("t", 4)
    for n in range(120):
        held[0].log(f"line {n}")
    svc.enqueue("t", delay=1, priority=-1)
    svc.enqueue("t", delay=100, unique_key="delayed")
    svc.enqueue("t", payload="waits", unique_key="waits")
    svc.pause("paused")
    clock.advance(10)
    return held


def replace_and_add(svc: JobService, _: list[Job]) -> object:
    return svc.enqueue_many(
        [NewJob("t", 3, "new", unique_key="waits", on_duplicate="replace"), NewJob("t"), NewJob("u", unique_key="k")]
    )


def exchange_all(svc: JobService, held: list[Job]) -> object:
    outcomes = [(held[0], Done({"n": 1}, then=NewJob("t", unique_key="held 0"))), (held[1], Retry(error="again"))]
    return svc.exchange([*outcomes, (held[2], Release(3))], enqueue=NewJob("u"), topics=("t", "u"), n=3)


def of_status(svc: JobService, *statuses: Status) -> list[int]:
    return [info.id for status in statuses for info in svc.find(status, topic="t")]


def settle_all(svc: JobService, held: list[Job]) -> object:
    """As exchange_all, but reserving nothing, so that there is nothing to give back."""
    outcomes = [(held[0], Done("x", then=NewJob("u"))), (held[1], Retry(1)), (held[2], Release(3))]
    return svc.exchange(outcomes, enqueue=NewJob("u"))


VERBS: dict[str, Verb] = {
    "enqueue_many": replace_and_add,
    "exchange": exchange_all,
    "reserve": lambda svc, _: svc.reserve(["t"], 3),
    "done": lambda svc, held: svc.done(held, "result"),
    "retry": lambda svc, held: svc.retry(held[:2]),
    "extend": lambda svc, held: svc.extend(held, 50),
    "log": lambda _, held: held[0].log("one more"),
    "cancel": lambda svc, held: svc.cancel([*of_status(svc, Status.READY, Status.DELAYED), held[0].id], "enough"),
    "reset": lambda svc, _: svc.reset(of_status(svc, Status.DONE, Status.CANCELED, Status.DELAYED)),
    "reschedule": lambda svc, _: svc.reschedule(
        of_status(svc, Status.READY, Status.DELAYED), svc.get(1).created_at.replace(year=2030)
    ),
    "delete": lambda svc, _: svc.delete(of_status(svc, Status.DONE, Status.CANCELED)),
    "clear": lambda svc, _: svc.clear("t"),
    "pause": lambda svc, _: svc.pause("t"),
    "resume": lambda svc, _: svc.resume("paused"),
}


# -- a body that raises ----------------------------------------------------------------------------------------------


class Fuse:
    """Burns through at the k-th touch of a repository, and knows what was touched."""

    def __init__(self, k: int, error: type[BaseException]) -> None:
        self._left = k
        self._error = error
        self.touched: set[str] = set()

    def touch(self, what: str) -> None:
        if not self._left:
            raise self._error(f"at {what}")
        self._left -= 1
        self.touched.add(what)


class WiredRepository:
    """A repository that touches the fuse before each of its methods."""

    def __init__(self, inner: object, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any) -> Any:
            self._fuse.touch(name)
            return getattr(self._inner, name)(*args)

        return method


class WiredUnit:
    def __init__(self, inner: UnitOfWork, fuse: Fuse) -> None:
        self.now = inner.now
        self.jobs: JobRepository = WiredRepository(inner.jobs, fuse)
        self.topics: TopicRepository = WiredRepository(inner.topics, fuse)


class WiredStorage:
    """A storage whose transactions burn a fuse, at the latest when the body has done all."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.url, self.identity, self.clock = inner.url, inner.identity, inner.clock
        self.fuse = Fuse(-1, RuntimeError)

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        def wired(uow: UnitOfWork) -> T:
            result = body(WiredUnit(uow, self.fuse))
            self.fuse.touch("the end")
            return result

        result: T = self._inner.transact(wired, **how)
        return result

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        return self._inner.view(body)

    def watch(self, topics: Sequence[str], **how: Any) -> AbstractContextManager[Watch]:
        return self._inner.watch(topics, **how)

    def info(self) -> StorageInfo:
        return self._inner.info()

    def backup(self, path: Path) -> None:
        self._inner.backup(path)

    def compact(self) -> Compaction:
        return self._inner.compact()

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("verb", VERBS)
def test_a_body_that_raises_anywhere_leaves_nothing(
    open_storage: OpenStorage, clock: ManualClock, verb: str, error: type[BaseException]
) -> None:
    storage = open_storage()
    wired = WiredStorage(storage)
    svc = JobService(wired)
    held = a_busy_queue(svc, clock)
    before = dump(storage)
    for k in count():
        wired.fuse = Fuse(k, error)
        try:
            VERBS[verb](svc, held)
            break
        except error:
            assert dump(storage) == before, f"raised at use {k}"
            assert not any(job.settled for job in held)
    assert k >= 2
    assert dump(storage) != before
    check_invariants(storage)


def test_the_verbs_above_write_in_every_way(clock: ManualClock) -> None:
    touched: set[str] = set()
    for verb in VERBS.values():
        wired = WiredStorage(MemoryStorage(clock=clock))
        svc = JobService(wired)
        held = a_busy_queue(svc, clock)
        wired.fuse = Fuse(-1, RuntimeError)
        verb(svc, held)
        touched |= wired.fuse.touched
    assert touched >= EVERY_WRITE


# -- Ctrl-C while memory is written ----------------------------------------------------------------------------------


class CtrlC:
    """Raises KeyboardInterrupt at the k-th line of the storage in memory that runs within one of its functions."""

    def __init__(self, k: int, within: str) -> None:
        self._left = k
        self._within = within
        self._entered: FrameType | None = None
        self.struck = False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if "repos/memory" not in code.co_filename:
            return None
        if self._entered is None and code.co_qualname == self._within:
            self._entered = frame
        return self._line if self._entered else None

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "return" and frame is self._entered:
            self._entered = None
        if event == "line":
            if not self._left:
                self.struck = True
                raise KeyboardInterrupt
            self._left -= 1
        return self._line

    @contextmanager
    def armed(self) -> Iterator[None]:
        others = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(others)


def many_waiting(svc: JobService, _: ManualClock) -> list[Job]:
    svc.enqueue_many([NewJob("t") for _ in range(66)])
    return []


def cancel_most(svc: JobService, _: list[Job]) -> None:
    """Enough of one heap that it is rebuilt."""
    svc.cancel(range(1, 36))


def at_rest() -> tuple[ManualClock, MemoryStorage, JobService]:
    clock = ManualClock()
    storage = MemoryStorage(clock=clock)
    return clock, storage, JobService(storage)


@pytest.mark.parametrize(
    ("queue", "verb"),
    [
        *((a_busy_queue, VERBS[name]) for name in ("enqueue_many", "exchange", "log", "delete", "clear", "resume")),
        (many_waiting, cancel_most),
    ],
    ids=["enqueue_many", "exchange", "log", "delete", "clear", "resume", "rebuild"],
)
def test_ctrl_c_at_any_line_while_memory_is_written(
    queue: Callable[[JobService, ManualClock], list[Job]], verb: Verb
) -> None:
    clock, storage, svc = at_rest()
    held = queue(svc, clock)
    before = dump(storage)
    returned = verb(svc, held)
    after = dump(storage)
    if isinstance(returned, Exchange):  # whoever is interrupted never sees what it reserved, so that is given back
        svc.release(returned.jobs)
    interrupted = dump(storage)
    for k in count():
        clock, storage, svc = at_rest()
        held = queue(svc, clock)
        ctrl_c = CtrlC(k, "Store.apply")
        with ctrl_c.armed():
            verb(svc, held)
        assert dump(storage) == ((interrupted if ctrl_c.struck else after) if k else before), f"struck at line {k}"
        check_invariants(storage)
        if not ctrl_c.struck:
            break
    assert k > 10


def test_ctrl_c_while_an_interrupted_transaction_is_finished() -> None:
    """The next unit of work finishes it; if Ctrl-C breaks in there too, the one after that does."""
    clock, storage, svc = at_rest()
    settle_all(svc, a_busy_queue(svc, clock))
    after = dump(storage)
    struck = True
    for k in range(1, 10_000):
        clock, storage, svc = at_rest()
        held = a_busy_queue(svc, clock)
        with (first := CtrlC(k % 25 + 1, "Store.apply")).armed():
            settle_all(svc, held)
        with (second := CtrlC(k, "Store._fresh")).armed():
            svc.topics()
        assert first.struck
        struck = second.struck
        assert dump(storage) == after, f"struck at line {k}"
        check_invariants(storage)
        if not struck:
            break
    assert not struck
