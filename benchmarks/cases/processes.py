"""Some processes take and acknowledge the jobs of one directory, one a call, until none is left."""

from __future__ import annotations

import time
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.peer import BATCH, Peer, Verbs

PROCESSES = 4


class Share(NamedTuple):
    """What one process did: how many jobs, from when until when."""

    jobs: int
    began: float
    ended: float


def of_one(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Jobs a second of one process."""
    return rates(peer, folder, jobs, payload, 1)


def of_four(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Jobs a second of four together, and the share of who had least, as a part of the mean."""
    return rates(peer, folder, jobs, payload, PROCESSES)


def rates(peer: Peer, folder: Path, jobs: int, payload: int, processes: int) -> dict[str, float]:
    """Fill the queue, let the processes begin at once, and see who did what."""
    fill(peer, folder, jobs, payload)
    context = get_context("spawn")
    pipes = [Pipe() for _ in range(processes)]
    workers = [context.Process(target=work, args=(peer.name, folder, theirs)) for _, theirs in pipes]
    for worker, (_, theirs) in zip(workers, pipes, strict=True):
        worker.start()
        theirs.close()  # so that what comes from a process that died is the end
    try:
        for ours, _ in pipes:
            ours.recv()
        for ours, _ in pipes:
            ours.send(None)
        shares = [Share(*ours.recv()) for ours, _ in pipes]
    except (EOFError, OSError):
        raise RuntimeError(f"one of {processes} processes ended with an error") from None
    finally:
        for worker in workers:
            worker.join()
    return summed(shares, jobs)


def summed(shares: list[Share], jobs: int) -> dict[str, float]:
    """Jobs a second in total, from the first beginning to the last end, and how even it was."""
    counts = [share.jobs for share in shares]
    if sum(counts) != jobs:
        raise RuntimeError(f"{sum(counts)} jobs were done where {jobs} waited")
    seconds = max(share.ended for share in shares) - min(share.began for share in shares)
    return {"jobs": jobs / seconds, "least": min(counts) * len(counts) / jobs}


def fill(peer: Peer, folder: Path, jobs: int, payload: int) -> None:
    """Enqueue as many."""
    opened, batch = (peer.open_batches, BATCH) if peer.open_batches else (peer.open, 1)
    assert opened is not None
    verbs = opened(folder)
    for _ in range(jobs // batch):
        verbs.enqueue([b"x" * payload] * batch if peer.open_batches else b"x" * payload)
    verbs.close()


def work(name: str, folder: Path, parent: Connection) -> None:
    """One process: tell that it is ready, wait for the start, work, tell what it did."""
    from benchmarks.peers import PEERS

    opened = PEERS[name].open
    assert opened is not None
    verbs = opened(folder)
    parent.send(None)
    parent.recv()
    done = 0
    began = ended = time.monotonic()
    while (job := _take(verbs)) is not None:
        if verbs.acknowledge is not None:
            verbs.acknowledge(job)
        done += 1
        ended = time.monotonic()
    verbs.close()
    parent.send((done, began, ended))


def _take(verbs: Verbs) -> object:
    """A job, or None: some queues raise an error of their own when they are empty, named for it."""
    try:
        return verbs.take() or None
    except Exception as problem:
        if type(problem).__name__ in ("Empty", "QueueEmpty", "IndexError"):
            return None
        raise
