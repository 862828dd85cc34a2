"""jobq itself, on each storage."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jobq
from benchmarks.peers.peer import BATCH, Peer, Survives, TaskTimes, Verbs
from benchmarks.stopwatch import Laps, seconds_of
from jobq import JobService, NewJob

TOPIC = "bench"


def open_service(url: str, folder: Path) -> JobService:
    """The service of a URL, in which {} stands for the folder."""
    return jobq.open(url.format(folder))


def open_one(url: str, folder: Path) -> Verbs:
    """One job a call."""
    svc = open_service(url, folder)
    return Verbs(partial(svc.enqueue, TOPIC, 0), partial(svc.reserve, TOPIC), svc.done, svc.close)


def open_batches(url: str, folder: Path) -> Verbs:
    """A hundred a call."""
    svc = open_service(url, folder)

    def enqueue(payloads: list[bytes]) -> None:
        svc.enqueue_many([NewJob(TOPIC, 0, payload) for payload in payloads])

    return Verbs(enqueue, partial(svc.reserve, TOPIC, BATCH), svc.done, svc.close)


def run_tasks(url: str, folder: Path, jobs: int) -> TaskTimes:
    """Tasks through a Worker of 8 threads."""
    with open_service(url, folder) as svc:
        laps = Laps(jobs)
        tasks = jobq.Tasks(TOPIC)

        @tasks.task(name="nothing")
        def nothing(number: int) -> None:
            laps.lap()

        tasks.bind(svc)
        enqueueing = seconds_of(lambda: [nothing.enqueue(number) for number in range(jobs)])
        jobq.Worker(svc, TOPIC, tasks=tasks, concurrency=8).run(burst=True)
        return TaskTimes(enqueueing, laps.seconds())


def peer(name: str, url: str, survives: Survives, *, processes: bool = False, note: str = "") -> Peer:
    """jobq on one storage."""
    return Peer(
        name=f"jobq {name}",
        package="jobq",
        survives=survives,
        acknowledges=True,
        priority=True,
        delay=True,
        lease=True,
        processes=processes,
        note=note,
        url=url,
        open=partial(open_one, url),
        open_batches=partial(open_batches, url),
        run_tasks=partial(run_tasks, url),
    )


_LAST_COMMIT = "power loss may undo the last commit, and no more"
_ASIDE = "topics=memory: where jobs wait is in memory, for one process"

PEERS = [
    peer("memory", "memory://", Survives.NOTHING),
    peer("lmdb off", "lmdb://{}/jobs?sync=off", Survives.KILL, processes=True),
    peer("lmdb off, topics in memory", "lmdb://{}/jobs?sync=off&topics=memory", Survives.KILL, note=_ASIDE),
    peer("lmdb normal", "lmdb://{}/jobs?sync=normal", Survives.KILL, processes=True, note=_LAST_COMMIT),
    peer("lmdb full", "lmdb://{}/jobs?sync=full", Survives.POWER_LOSS, processes=True),
    peer("lmdb full, topics in memory", "lmdb://{}/jobs?sync=full&topics=memory", Survives.POWER_LOSS, note=_ASIDE),
]
