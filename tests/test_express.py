"""The Express of a storage does what its transactions do: the same verbs leave the same queue, call by call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobq import Job, JobOptions, JobService, LeaseLost, Limits
from jobq.clock import SystemClock
from jobq.ports import NotPlain, Storage
from jobq.repos import LmdbStorage, MemoryStorage
from jobq.testing.invariants import check_invariants, dump
from tests.clocks import ManualClock

OPTIONS = [
    JobOptions(lease=5, keep_done=20),
    JobOptions(lease=2, max_retries=1, keep_done=0),
    JobOptions(lease=5, keep_done=3, log_status_change=True),
    JobOptions(lease=9, keep_done=None, keep_dead=4),
]
LIMITS = Limits(done=2)

Storages = Callable[[str, ManualClock], Storage]


@pytest.fixture(params=["memory", "lmdb", "volatile"])
def storages(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storages]:
    opened: list[Storage] = []

    def open_one(name: str, clock: ManualClock) -> Storage:
        topics = "memory" if request.param == "volatile" else None
        opened.append(
            MemoryStorage(clock=clock)
            if request.param == "memory"
            else LmdbStorage(tmp_path / name, sync="off", topics=topics, clock=clock)
        )
        return opened[-1]

    yield open_one
    for storage in opened:
        storage.close()


class Walk:
    """One queue, and the verbs that a random walk over it calls."""

    def __init__(self, storage: Storage, clock: ManualClock, *, is_express: bool) -> None:
        self.svc = JobService(storage, limits=LIMITS)
        self.clock = clock
        self.storage = storage
        self.held: list[Job] = []
        if not is_express:
            self.svc._express = None

    def step(self, chance: random.Random) -> object:
        """One call; returns what it gave, as far as two queues can have it in common."""
        topic = chance.choice(["a", "b"])
        what = chance.choices(["enqueue", "reserve", "settle", "wait", "pause"], [6, 6, 6, 3, 1])[0]
        if what == "enqueue":
            delay = chance.choice([None, None, 4])
            key = chance.choice([None, None, None, "k"])
            options = chance.choice(OPTIONS)
            payload = bytes(chance.randrange(3))
            return self.svc.enqueue(
                topic, chance.randrange(2), payload, delay=delay, unique_key=key, on_duplicate="keep", options=options,
                headers=chance.choice([None, {"n": str(chance.random())}]),
            )  # fmt: skip
        if what == "reserve":
            topics = chance.choice([["a"], ["b", "a"]])
            got = self.svc.reserve(topics, lease=chance.choice([None, 3]))
            self.held += got
            return [(job.id, job.attempt, job.payload, job.deadline, job.headers) for job in got]
        if what == "settle":
            return self._settle(chance)
        if what == "wait":
            self.clock.advance(chance.choice([1, 2, 5]))
        elif chance.random() < 0.3:
            self.svc.pause(topic)
        else:
            self.svc.resume(topic)
        return what

    def _settle(self, chance: random.Random) -> object:
        if not self.held:
            return None
        job = self.held.pop(chance.randrange(len(self.held)))
        verb = chance.choice(["done", "result", "with", "retry", "release", "reject", "cancel"])
        try:
            if verb == "done":
                self.svc.done(job)
            elif verb == "result":
                job.done({"n": 1})
            elif verb == "with":
                with job:
                    pass
            elif verb == "retry":
                job.retry(error="why")
            elif verb == "release":
                job.release(chance.choice([0, 2]))
            elif verb == "reject":
                job.reject("bad")
            else:
                job.cancel("no")
        except LeaseLost:
            return "lost", job.id
        return verb, job.id, job.settled


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_with_and_without_the_express_is_the_same(storages: Storages, seed: int) -> None:
    clocks = ManualClock(), ManualClock()
    one, other = (
        Walk(storages(name, clock), clock, is_express=name == "one")
        for name, clock in zip(("one", "other"), clocks, strict=True)
    )
    chances = random.Random(seed), random.Random(seed)
    for number in range(150):
        assert one.step(chances[0]) == other.step(chances[1]), f"step {number}"
        if number % 25 == 0:
            assert dump(one.storage) == dump(other.storage), f"after step {number}"
    assert dump(one.storage) == dump(other.storage)
    check_invariants(one.storage)


def test_plain_calls_take_the_express_and_others_do_not(storages: Storages) -> None:
    clock = ManualClock()
    storage = storages("jobs", clock)
    svc = JobService(storage)
    refused: list[str] = []
    taken: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def call(*arguments: object) -> object:
                try:
                    given = getattr(storage, name)(*arguments)
                except NotPlain:
                    refused.append(name)
                    raise
                taken.append(name)
                return given

            return call

    svc._express = Watched()  # type: ignore[assignment]
    svc.enqueue("t")
    svc.reserve("t")[0].done()
    svc.enqueue("t", delay=5)
    svc.reserve("t")
    clock.advance(5)
    svc.reserve("t")[0].retry()
    svc.enqueue("t", unique_key="k")
    svc.enqueue("t", log_status_change=True)
    assert taken == ["add", "take", "settle", "add", "settle"]
    assert refused == ["take", "take"]


def test_a_storage_without_an_express_works_as_well() -> None:
    class Plain:
        def __init__(self, storage: MemoryStorage) -> None:
            self._storage = storage

        def __getattr__(self, name: str) -> object:
            if name == "express":
                raise AttributeError(name)
            return getattr(self._storage, name)

    with closing(JobService(Plain(MemoryStorage(clock=SystemClock())))) as svc:  # type: ignore[arg-type]
        svc.enqueue("t", payload="hello")
        [job] = svc.reserve("t")
        job.done()
        assert svc.stats("t").done == 1
