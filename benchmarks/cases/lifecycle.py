"""The life of a job: enqueued, taken, acknowledged; by one thread of one process."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.peers.peer import BATCH, Peer, Verbs

WAITING = 1_000
"""Jobs that wait at most: some queues slow down with the number, and a good one is emptied faster than it fills."""


def one_a_call(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Jobs a second, one a call."""
    assert peer.open is not None
    return rates(peer.open(folder), jobs, 1, b"x" * payload)


def hundred_a_call(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Jobs a second, a hundred a call."""
    assert peer.open_batches is not None
    return rates(peer.open_batches(folder), jobs, BATCH, [b"x" * payload] * BATCH)


def rates(verbs: Verbs, jobs: int, batch: int, payload: object) -> dict[str, float]:
    """Jobs a second for each verb and for all of them together."""
    spent = [0.0, 0.0, 0.0]
    for waiting in _portions(jobs // batch, WAITING // batch):
        for verb, seconds in enumerate(_portion(verbs, waiting, payload)):
            spent[verb] += seconds
    verbs.close()
    names = ("enqueue", "take", "acknowledge")
    return {"jobs": jobs / sum(spent)} | {
        name: jobs / seconds for name, seconds in zip(names, spent, strict=True) if seconds
    }


def _portions(calls: int, at_most: int) -> list[int]:
    return [at_most] * (calls // at_most) + [calls % at_most] * (calls % at_most > 0)


def _portion(verbs: Verbs, calls: int, payload: object) -> tuple[float, float, float]:
    """Seconds that so many calls of each verb take."""
    enqueue, take, acknowledge, _ = verbs
    began = time.perf_counter()
    for _ in range(calls):
        enqueue(payload)
    enqueued = time.perf_counter()
    taken = [take() for _ in range(calls)]
    took = time.perf_counter()
    if not all(taken):
        raise RuntimeError(f"{taken.count(None)} of {calls} calls gave no job")
    if acknowledge is None:
        return enqueued - began, took - enqueued, 0.0
    acknowledging = time.perf_counter()
    for job in taken:
        acknowledge(job)
    return enqueued - began, took - enqueued, time.perf_counter() - acknowledging
