"""Jobs enqueued one a call and run by a Worker of one thread, and the commits that LMDB counts for them."""

from __future__ import annotations

from pathlib import Path

import jobq
from benchmarks.peers.jobq import TOPIC, open_service
from benchmarks.peers.peer import Peer, library
from benchmarks.stopwatch import seconds_of


def through_worker(peer: Peer, folder: Path, jobs: int, payload: int) -> dict[str, float]:
    """Jobs a second, enqueueing included, and commits a job."""
    open_service(peer.url, folder).close()
    before = last_transaction(folder / "jobs")
    with open_service(peer.url, folder) as svc:
        worker = jobq.Worker(svc, TOPIC)

        @worker.handler("")
        def nothing(job: jobq.Job) -> None:
            pass

        def enqueue_all() -> None:
            for _ in range(jobs):
                svc.enqueue(TOPIC, 0, b"x" * payload)

        seconds = seconds_of(enqueue_all) + seconds_of(lambda: worker.run(burst=True))
        done = svc.stats(TOPIC).done
    if done != jobs:
        raise RuntimeError(f"{done} of {jobs} jobs are done")
    return {"jobs": jobs / seconds, "commits": (last_transaction(folder / "jobs") - before) / jobs}


def last_transaction(directory: Path) -> int:
    """The number of the last commit, by LMDB's own word; nobody has the directory open."""
    with library("lmdb").open(str(directory), readonly=True, lock=False, lib_version=0) as env:
        number: int = env.info()["last_txnid"]
        return number
