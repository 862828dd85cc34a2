"""Many delayed jobs that are due at one moment: how long the longest reserve takes, and whether the order is right."""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.peers.jobq import TOPIC
from benchmarks.peers.peer import Peer
from jobq import Job, JobService, NewJob
from jobq.repos import LmdbStorage, MemoryStorage, Storage
from jobq.testing import ManualClock

BATCH = 10_000
SINGLE = 1_000
LOOKED_AT = 50
PASSING = 0.001
"""Seconds that pass with each call."""


def at_one_moment(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Hand out the first one a call, the rest a hundred a call."""
    clock = ManualClock()
    storage: Storage = MemoryStorage(clock=clock)
    if peer.url != "memory://":
        storage = LmdbStorage(folder / "jobs", sync="off", clock=clock)
    with JobService(storage) as svc:
        delay(svc, jobs, payload)
        clock.advance(3_600)
        return drain(svc, clock, jobs)


def delay(svc: JobService, jobs: int, payload: int) -> None:
    """Enqueue jobs of ten priorities that are due in an hour."""
    chance = random.Random(1)
    for _ in range(jobs // BATCH):
        priorities = chance.choices(range(10), k=BATCH)
        svc.enqueue_many([NewJob(TOPIC, priority, b"x" * payload, delay=3_600) for priority in priorities])


def drain(svc: JobService, clock: ManualClock, expected: int) -> dict[str, float]:
    """Reserve and finish all, and look now and then whether a more urgent one was Ready."""
    took: list[float] = []
    handed_out = misplaced = 0
    while True:
        n = 1 if len(took) < SINGLE else 100
        began = time.perf_counter()
        jobs = svc.reserve(TOPIC, n)
        took.append(time.perf_counter() - began)
        if not jobs:
            p99 = sorted(took)[int(len(took) * 0.99)]
            return {"longest": max(took), "p99": p99, "missing": expected - handed_out, "misplaced": misplaced}
        handed_out += len(jobs)
        misplaced += has_misplaced(svc, jobs, look=len(took) % LOOKED_AT == 0)
        svc.done(jobs)
        clock.advance(PASSING)


def has_misplaced(svc: JobService, jobs: list[Job], *, look: bool) -> bool:
    """Whether a job came before a more urgent one, of the same call, or, if it looks, of those left behind as Ready."""
    priorities = [job.priority for job in jobs]
    left = [info.priority for info in svc.find("ready", topic=TOPIC, limit=1)] if look else []
    return priorities + left != sorted(priorities + left)
