"""How soon a waiting reserve has its job, and what waiting costs."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from benchmarks.peers.jobq import TOPIC, open_service
from benchmarks.peers.peer import Peer
from jobq import JobService

REST = 0.002
"""Seconds between two jobs, in which the consumer comes to wait again."""


def same_process(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Seconds from the call of enqueue to the return of a reserve in another thread."""

    def enqueue(svc: JobService) -> float:
        began = time.time()
        svc.enqueue(TOPIC, 0, b"x" * payload)
        return began

    return in_threads(peer, folder, jobs, enqueue)


def delayed(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Seconds from when a delayed job is due to the return of a reserve in another thread."""
    chance = random.Random(1)

    def enqueue(svc: JobService) -> float:
        job_id = svc.enqueue(TOPIC, 0, b"x" * payload, delay=chance.uniform(0.005, 0.025))
        return svc.get(job_id).run_at.timestamp()

    return in_threads(peer, folder, jobs, enqueue)


def in_threads(peer: Peer, folder: Path, jobs: int, enqueue: Callable[[JobService], float]) -> dict[str, float]:
    """Enqueue one job after the other; how much later than what `enqueue` gives they come."""
    got: SimpleQueue[float] = SimpleQueue()
    with open_service(peer.url, folder) as svc:
        consumer = threading.Thread(target=consume, args=(svc, jobs, got.put))
        consumer.start()
        late: list[float] = []
        for _ in range(jobs):
            time.sleep(REST)
            expected = enqueue(svc)
            late.append(got.get() - expected)
        consumer.join()
    return percentiles(late)


def consume(svc: JobService, jobs: int, tell: Callable[[float], object]) -> None:
    """Reserve one job after the other, and tell when."""
    for _ in range(jobs):
        [job] = svc.reserve(TOPIC, timeout=None)
        tell(time.time())
        job.done()


def other_process(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Seconds from the call of enqueue to the return of a reserve in another process."""
    ours, theirs = Pipe()
    late: list[float] = []
    with open_service(peer.url, folder) as svc:
        process = get_context("spawn").Process(target=consume_there, args=(peer.url, folder, jobs, theirs))
        process.start()
        ours.recv()
        for _ in range(jobs):
            time.sleep(REST)
            began = time.time()
            svc.enqueue(TOPIC, 0, b"x" * payload)
            late.append(ours.recv() - began)
        process.join()
    return percentiles(late)


def consume_there(url: str, folder: Path, jobs: int, parent: Connection) -> None:
    """What the other process does."""
    with open_service(url, folder) as svc:
        parent.send(0.0)
        consume(svc, jobs, parent.send)


def idle(peer: Peer, folder: Path, seconds: int, payload: int) -> dict[str, float]:
    """The share of a core that a process uses while it waits in vain."""
    with open_service(peer.url, folder) as svc:
        svc.reserve(TOPIC, timeout=0.1)
        used, began = time.process_time(), time.monotonic()
        svc.reserve(TOPIC, timeout=seconds)
        return {"share": (time.process_time() - used) / (time.monotonic() - began)}


def percentiles(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and the greatest."""
    ranked = sorted(values)
    return {"median": statistics.median(ranked), "p99": ranked[int(len(ranked) * 0.99)], "worst": ranked[-1]}
