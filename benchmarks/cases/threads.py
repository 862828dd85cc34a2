"""Threads of one process enqueue one job a call, at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks.peers.jobq import TOPIC, open_service
from benchmarks.peers.peer import Peer
from benchmarks.stopwatch import seconds_of
from jobq import JobService


def of_one(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """One thread."""
    return rates(peer, folder, jobs, payload, 1)


def of_sixteen(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Sixteen threads."""
    return rates(peer, folder, jobs, payload, 16)


def rates(peer: Peer, folder: Path, jobs: int, payload: int, threads: int) -> dict[str, float]:
    """Jobs a second in total."""
    with open_service(peer.url, folder) as svc:
        each = jobs // threads
        crew = [threading.Thread(target=enqueue, args=(svc, each, b"x" * payload)) for _ in range(threads)]
        return {"jobs": each * threads / seconds_of(lambda: _run(crew))}


def enqueue(svc: JobService, jobs: int, payload: bytes) -> None:
    """What each thread does."""
    for _ in range(jobs):
        svc.enqueue(TOPIC, 0, payload)


def _run(crew: list[threading.Thread]) -> None:
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
