"""What a job that waits in memory takes there."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.jobq import TOPIC, open_service
from benchmarks.peers.peer import Peer
from benchmarks.smaps import resident
from jobq import JobService


def bytes_a_job(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Bytes beyond the payload: what the process grew by, and what Python asked for."""
    with open_service(peer.url, folder) as svc:
        svc.enqueue(TOPIC)
        grown = growth(svc, resident, jobs, payload)
        tracemalloc.start()
        traced = growth(svc, lambda: tracemalloc.get_traced_memory()[0], jobs, payload)
        return {"resident": grown, "traced": traced}


def growth(svc: JobService, measure: Callable[[], int], jobs: int, payload: int) -> float:
    """By how many bytes a job a measure grows, beyond its payload."""
    gc.collect()
    before = measure()
    for number in range(jobs):
        svc.enqueue(TOPIC, 0, number.to_bytes(payload, "big"))
    gc.collect()
    return (measure() - before) / jobs - payload
