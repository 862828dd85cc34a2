"""A worker whose handlers fork, and end in the fork, too: `python -m tests.worker.forking thread|process`."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Literal, cast

import jobq
from jobq import AsyncJob, Job, Worker


def forks(job: Job) -> int | None:
    """The exit status of a fork that leaves in the way that the payload names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads, since Python 3.12
        pid = os.fork()
    if pid == 0:
        print("fork", job.text)
        leave(job.text)
        return None
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def leave(how: str) -> None:
    if how == "exit":
        sys.exit()
    if how == "status":
        sys.exit(7)
    if how == "text":
        sys.exit("farewell")
    if how == "error":
        raise ValueError("wrong")


async def forks_softly(job: AsyncJob) -> int | None:
    return forks(job.sync)


def other(job: Job) -> int:
    return os.getpid()


def main(executor: Literal["thread", "process"], name: str) -> None:
    svc = jobq.open("memory://")
    worker = Worker(svc, "t", executor=executor)
    for handler in (forks, forks_softly, other):
        worker.handler(handler)
    ids = []
    for how in ("return", "exit", "status", "text", "error"):
        ids.append(svc.enqueue("t", payload=how, name=name))
        svc.enqueue("t", name="other")
    worker.run(burst=True)
    print("statuses", *[svc.get(id).result for id in ids])
    print("done", svc.stats("t").done, flush=True)


if __name__ == "__main__":
    main(cast(Literal["thread", "process"], sys.argv[1]), sys.argv[2])
