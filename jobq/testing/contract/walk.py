"""A random walk of verbs: whatever happens in whatever order, the storage holds what memory would hold."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from jobq.errors import JobqError
from jobq.job import Job
from jobq.model.options import JobOptions, Limits
from jobq.model.requests import NewJob
from jobq.model.status import Status
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry
from jobq.repos.memory import MemoryStorage
from jobq.service import JobService
from jobq.testing.clock import ManualClock
from jobq.testing.contract.scenes import OpenStorage
from jobq.testing.invariants import check_invariants

STEPS = 200
TOPICS = ["a", "b"]
KEYS = ["k", "l"]
OPTIONS = JobOptions(
    max_retries=1, min_backoff=1, max_backoff=3, lease=20, keep_done=30, keep_canceled=30, keep_dead=60
)


class WalkContract:
    """The same verbs over the storage under test and over memory give the same, step by step."""

    @pytest.mark.parametrize("seed", range(6))
    def test_whatever_happens_it_is_as_in_memory(
        self, open_storage: OpenStorage, clock: ManualClock, seed: int
    ) -> None:
        storage, other = open_storage(), open_storage()
        reference_clock = ManualClock(clock.now())
        walk = Walk([JobService(storage, **SETTINGS), JobService(other, **SETTINGS)], clock, seed)
        reference = Walk([JobService(MemoryStorage(clock=reference_clock), **SETTINGS)], reference_clock, seed)
        for step in range(STEPS):
            assert walk.step() == reference.step(), f"step {step} of seed {seed}"
            if step % 10 == 0:
                check_invariants(storage, [(topic, key) for topic in TOPICS for key in KEYS])
        check_invariants(storage, [(topic, key) for topic in TOPICS for key in KEYS])
        assert seen(walk.services[0]) == seen(walk.services[1]) == seen(reference.services[0])


SETTINGS: dict[str, Any] = {"defaults": OPTIONS, "limits": Limits(depth=30, done=10)}


class Walk:
    """Verbs drawn by a seed, over one of several services each; walks of one seed do the same."""

    def __init__(self, services: list[JobService], clock: ManualClock, seed: int) -> None:
        self.services = services
        self._clock = clock
        self._random = Random(seed)
        self._which = Random(seed + 1)
        self._held: list[Job] = []

    def step(self) -> object:
        """Do something; what it gave, or the error it raised."""
        self._clock.advance(self._random.choice([0, 0, 0.5, 2, 25]))
        verb = self._random.choice(VERBS)
        try:
            return verb.__name__, plain(verb(self, self._which.choice(self.services)))
        except JobqError as error:
            return verb.__name__, type(error), str(error)

    # -- the verbs

    def enqueue(self, svc: JobService) -> object:
        """One new job."""
        return svc.enqueue_many([self._new()])

    def enqueue_many(self, svc: JobService) -> object:
        """Several new jobs, or none if one of them is refused."""
        return svc.enqueue_many([self._new() for _ in range(self._random.randint(2, 6))])

    def reserve(self, svc: JobService) -> object:
        """Take up to four jobs."""
        jobs = svc.reserve(self._random.sample(TOPICS, self._random.randint(1, 2)), self._random.randint(1, 4))
        self._held += jobs
        return jobs

    def exchange(self, svc: JobService) -> object:
        """Settle some, enqueue one, take others."""
        settled = [(job, self._outcome()) for job in self._drop(self._random.randint(0, 3))]
        exchange = svc.exchange(settled, enqueue=self._new(), topics=TOPICS, n=2)
        self._held += exchange.jobs
        return exchange.jobs, exchange.ids, exchange.lost

    def settle(self, svc: JobService) -> object:
        """Settle one job, whose reservation may be over."""
        exchange = svc.exchange([(job, self._outcome()) for job in self._drop(1)])
        return exchange.ids, exchange.lost

    def extend(self, svc: JobService) -> None:
        """Hold some jobs for longer."""
        svc.extend(self._held[-2:], self._random.choice([1, 40]))

    def administer(self, svc: JobService) -> None:
        """Cancel, reset, delete or reschedule jobs, in whatever status they are."""
        ids = [info.id for info in svc.find(self._random.choice(list(Status)), limit=5)]
        chosen = self._random.sample(ids, min(len(ids), 2))
        at = self._clock.after(self._random.choice([-5, 0, 5]))
        verbs: list[Callable[[], None]] = [
            lambda: svc.cancel(chosen),
            lambda: svc.reset(chosen),
            lambda: svc.delete(chosen),
            lambda: svc.reschedule(chosen, at),
        ]
        self._random.choice(verbs)()

    def administer_topic(self, svc: JobService) -> object:
        """Pause, resume, clear or prune a topic."""
        topic = self._random.choice(TOPICS)
        verbs: list[Callable[[str], object]] = [svc.pause, svc.resume, svc.resume, svc.clear]
        verbs.append(lambda name: svc.prune(topic=name))
        return self._random.choice(verbs)(topic)

    def look(self, svc: JobService) -> object:
        """Ask for the next due time and the counters."""
        return svc.next_due(TOPICS), [svc.stats(topic) for topic in TOPICS], svc.topics()

    # -- draws

    def _new(self) -> NewJob:
        random = self._random
        return NewJob(
            random.choice(TOPICS),
            random.randint(-2, 2),
            random.randbytes(random.choice([0, 5, 3_000])),
            delay=random.choice([None, None, 0, 1.5, 10]),
            unique_key=random.choice([None, None, *KEYS]),
            on_duplicate=random.choice(["raise", "keep", "replace"]),
            headers=random.choice([None, {"n": str(random.random())}]),
            keep_done=random.choice([0, 30, None]),
        )

    def _outcome(self) -> Outcome:
        random = self._random
        outcomes: list[Outcome] = [Done(then=self._new()), Retry(error="e"), Reject("bad"), Cancel("no")]
        return random.choice([Done({"n": random.random()}), Release(1, then=self._new()), *outcomes])

    def _drop(self, n: int) -> list[Job]:
        n = min(n, len(self._held))
        return [self._held.pop(self._random.randrange(len(self._held))) for _ in range(n)]


VERBS = [
    *(Walk.enqueue, Walk.enqueue_many, Walk.reserve, Walk.reserve, Walk.exchange, Walk.exchange, Walk.settle),
    *(Walk.settle, Walk.extend, Walk.administer, Walk.administer, Walk.administer_topic, Walk.look),
]


def plain(value: Any) -> Any:
    """What a verb gave, with handles told by what they are of."""
    if isinstance(value, Job):
        return value.id, value.attempt, value.payload, value.deadline, value.settled, dict(value.headers)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def seen(svc: JobService) -> object:
    """All that a service shows of its jobs."""
    infos = [info for status in Status for info in svc.find(status, limit=10_000)]
    return infos, [svc.payload(info.id) for info in infos], [svc.stats(topic) for topic in svc.topics()]
