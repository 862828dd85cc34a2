"""What each verb takes while few jobs wait, and while ten million do; and the memory of a worker among them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import jobq
from benchmarks.peers.jobq import TOPIC, open_service
from benchmarks.peers.peer import Peer
from benchmarks.smaps import resident
from benchmarks.stopwatch import Laps, seconds_of
from jobq import Done, JobService, NewJob

FEW = 10_000
BATCH = 10_000
CALLS = 300
WORKED = 2_000


def verbs_of_ready(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Of each verb the median time among `jobs` over that among few; the greatest of these; the worker's memory."""
    for name in ("few", "many"):
        (folder / name).mkdir()
    with open_service(peer.url, folder / "few") as few, open_service(peer.url, folder / "many") as many:
        fill(few, FEW, payload)
        fill(many, jobs, payload)
        ratios = compare(few, many, jobs)
    return {"worst": max(ratios.values()), "worker_bytes": worker_bytes(peer, folder / "many")} | ratios


def fill(svc: JobService, jobs: int, payload: int) -> None:
    """Enqueue as many."""
    for _ in range(jobs // BATCH):
        svc.enqueue_many([NewJob(TOPIC, 0, b"x" * payload)] * BATCH)


def compare(few: JobService, many: JobService, jobs: int) -> dict[str, float]:
    """By verb how much longer it takes in `many`. Calls take turns, so that what else runs slows both down alike."""
    chance = random.Random(1)
    # Jobs from the second half of each queue, so that those that `reserve` takes are not among them.
    ids = zip(chance.sample(range(FEW // 2, FEW), CALLS), chance.sample(range(jobs // 2, jobs), CALLS), strict=True)
    took: dict[str, tuple[list[float], list[float]]] = {}
    for turn, (few_id, many_id) in enumerate(ids):
        for (verb, call_few), (_, call_many) in zip(calls(few, few_id), calls(many, many_id), strict=True):
            times = took.setdefault(verb, ([], []))
            in_turn = [(times[0], call_few), (times[1], call_many)]
            for spent, call in reversed(in_turn) if turn % 2 else in_turn:  # whoever is second finds code in the cache
                spent.append(seconds_of(call))
    return {verb: statistics.median(slow) / statistics.median(fast) for verb, (fast, slow) in took.items()}


def calls(svc: JobService, job_id: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every verb, as something to call; job_id is that of a waiting job."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    yield "enqueue", lambda: svc.enqueue(TOPIC, 0, b"x" * 100)
    held: list[jobq.Job] = []
    for verb in (svc.done, svc.retry, svc.release, svc.reject, svc.extend):
        yield "reserve", lambda: held.extend(svc.reserve(TOPIC))
        yield verb.__name__, partial(_call_with_last, verb, held)
    yield "exchange", lambda: held.extend(svc.exchange(topics=TOPIC).jobs)
    yield "exchange", lambda: held.extend(svc.exchange([(held.pop(), Done())], topics=TOPIC).jobs)
    yield "status", lambda: svc.status(job_id)
    yield "get", lambda: svc.get(job_id)
    yield "payload", lambda: svc.payload(job_id)
    yield "logs", lambda: svc.logs(job_id)
    yield "lookup", lambda: svc.lookup(TOPIC, "a key")
    yield "find", lambda: svc.find("ready", topic=TOPIC, limit=10)
    yield "dead_letters", lambda: svc.dead_letters(TOPIC, limit=10)
    yield "stats", lambda: svc.stats(TOPIC)
    yield "topics", svc.topics
    yield "next_due", lambda: svc.next_due(TOPIC)
    yield "pause", lambda: svc.pause(TOPIC)
    yield "resume", lambda: svc.resume(TOPIC)
    yield "reschedule", lambda: svc.reschedule(job_id, soon)
    yield "reset", lambda: svc.reset(job_id)
    yield "cancel", lambda: svc.cancel(job_id)
    yield "delete", lambda: svc.delete(job_id)


def _call_with_last(verb: Callable[[jobq.Job], object], held: list[jobq.Job]) -> None:
    verb(held.pop())


def worker_bytes(peer: Peer, folder: Path) -> float:
    """The memory of a process that has run a worker for a while, without the pages of the map that it shares."""
    ours, theirs = Pipe()
    process = get_context("spawn").Process(target=work, args=(peer.url, folder, theirs))
    process.start()
    used: int = ours.recv()
    process.join()
    return used


def work(url: str, folder: Path, parent: Connection) -> None:
    """Run some jobs, and tell how much memory that took."""
    laps = Laps(WORKED)
    with open_service(url, folder) as svc:
        worker = jobq.Worker(svc, TOPIC, concurrency=8)

        @worker.handler("")
        def nothing(job: jobq.Job) -> None:
            if not laps.all_done.is_set():
                laps.lap()

        with worker:
            laps.all_done.wait()
            parent.send(resident(without="/data.mdb"))
