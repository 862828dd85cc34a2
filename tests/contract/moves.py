"""Two storages of each kind to move jobs between, a queue with all there is, and what can be seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count, product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jobq import Cancel, JobOptions, JobService, NewJob, Reject, Release, Retry
from jobq.model.records import Place
from jobq.model.views import Compaction, JobLog, StorageInfo
from jobq.ports import Clock, UnitOfWork, Watch
from jobq.repos import MemoryStorage, Storage
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants
from tests.clocks import ManualClock
from tests.contract.scenes import STATES, Snapshot, put, snapshot, take

T = TypeVar("T")

KINDS = ["memory", "lmdb", "volatile"]
PAIRS = [f"{source} to {target}" for source, target in product(KINDS, KINDS)]
PLAIN_PAIRS = [pair for pair in PAIRS if "volatile" not in pair]


class Places:
    """Where the storages of a test are; each name is one, and opening it again opens the same jobs."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        self.opened: list[Storage] = []

    def open(self, kind: str, name: str) -> Storage:
        storage: Storage
        if kind == "memory":
            storage = MemoryStorage(f"{self.path}/{name}", clock=self.clock)
        else:
            topics = "memory" if kind == "volatile" else None
            storage = LmdbStorage(self.path / name, sync="off", topics=topics, clock=self.clock)
        self.opened.append(storage)
        return storage

    def close(self) -> None:
        for storage in self.opened:
            storage.close()
        self.opened.clear()


class Pair(NamedTuple):
    """The two storages of a move."""

    source: Storage
    target: Storage

    def services(self) -> tuple[JobService, JobService]:
        return JobService(self.source), JobService(self.target)

    def check(self) -> None:
        """See that the invariants hold in both."""
        for storage in self:
            check_invariants(storage)
            assert JobService(storage).verify() == []


@contextmanager
def pairs(kinds: str, path: Path, clock: Clock) -> Iterator[Callable[[], Pair]]:
    """Opens new pairs of two kinds, "memory to lmdb" for instance, each in place of the one before."""
    numbers = count()
    source, target = kinds.split(" to ")
    places = Places(path, clock)

    def new() -> Pair:
        places.close()
        number = next(numbers)
        return Pair(places.open(source, f"{number}-source"), places.open(target, f"{number}-target"))

    yield new
    places.close()


# -- a queue -----------------------------------------------------------------------------------------------------------


def fill(svc: JobService, clock: ManualClock, *, jobs: int = 0) -> None:
    """Jobs in every state but Reserved, with all that a job can have, in topics some of which are paused.

    jobs: how many plain ones besides.
    """
    for state in STATES:
        if state != "reserved":
            put(svc, state)
            clock.advance(1)
    odd = JobOptions(lease=3, max_retries=None, jitter=0.5, keep_done=None, keep_dead=7, log_status_change=True)
    with_key = svc.enqueue("odd", -5, b"x" * 100_000, name="name", unique_key="k", options=odd)
    job = take(svc, "odd")
    for number in range(130):
        job.log(f"line {number}")
    job.retry(60, error="again")
    svc.enqueue("odd", 32_767, "payload", unique_key="l", delay=1, options=odd)
    reset, deleted = svc.enqueue_many([NewJob("odd", unique_key="m"), NewJob("odd")])
    svc.cancel([reset, deleted], "a note")
    svc.reset(reset)
    assert svc.lookup("odd", "k") == with_key
    svc.enqueue_many([NewJob("plain", number % 3, b"%d" % number) for number in range(jobs)])
    svc.pause("odd")
    svc.pause("paused")
    svc.enqueue("gone", keep_done=0)
    take(svc, "gone").done()
    clock.advance(2)
    svc.delete(deleted)


class World(NamedTuple):
    """All that a service shows, and where the jobs stand."""

    seen: Snapshot
    logs: dict[int, JobLog]
    places: dict[int, Place]


def world(svc: JobService) -> World:
    seen = snapshot(svc)
    infos = {job_id: info for job_id, (info, _, _) in seen.jobs.items()}
    return World(seen, {id: svc.logs(id) for id in infos}, {id: info._place for id, info in infos.items()})


def is_bare(svc: JobService) -> bool:
    """Whether nothing at all is left."""
    return svc.topics() == [] and world(svc) == World(Snapshot({}, []), {}, {})


def settle_differently(svc: JobService, topics: Sequence[str]) -> list[int]:
    """Consume what is Ready, in one way or another; returns the ids."""
    jobs = svc.reserve(topics, 100)
    outcomes = [Retry(), Release(), Reject("no"), Cancel()]
    svc.exchange([(job, outcomes[number % 4]) for number, job in enumerate(jobs)])
    return [job.id for job in jobs]


# -- stepping through a move -------------------------------------------------------------------------------------------


class Stepped:
    """A storage that calls a function before and after each of its transactions and views."""

    def __init__(self, inner: Storage, step: Callable[[], object]) -> None:
        self.inner, self._step = inner, step
        self.url, self.identity, self.clock = inner.url, inner.identity, inner.clock

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        self._step()
        result: T = self.inner.transact(body, **how)
        self._step()
        return result

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        self._step()
        result = self.inner.view(body)
        self._step()
        return result

    def watch(self, topics: Sequence[str], **how: Any) -> AbstractContextManager[Watch]:
        return self.inner.watch(topics, **how)

    def backup(self, path: Path) -> None:
        self.inner.backup(path)

    def compact(self) -> Compaction:
        return self.inner.compact()

    def info(self) -> StorageInfo:
        return self.inner.info()

    def close(self) -> None:
        self.inner.close()


class Steps:
    """Does something once, at the k-th step of the two storages together."""

    def __init__(self, pair: Pair, k: int, act: Callable[[], object]) -> None:
        self.left, self._act = k, act
        self.has_acted = False
        self.source, self.target = (JobService(Stepped(storage, self._step)) for storage in pair)

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.has_acted = True
            self._act()
