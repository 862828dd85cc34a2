"""A program with a worker, for tests that signal and kill it: `python -m tests.worker.program URL SETTINGS`.

SETTINGS is JSON: `worker` (arguments of the Worker), and what else the program is to do: see `main`. It writes a line
for each moment, and what handlers say.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import sys
import threading
import time
from typing import Any

import jobq
from jobq import AsyncJob, Job, Observer, Worker
from tests.worker.deeds import wait_for_file


def say(*words: object) -> None:
    """Write a line, at once, as several threads and processes do."""
    os.write(1, " ".join(map(str, (*words, "\n"))).encode())


def quick(job: Job) -> int:
    return os.getpid()


def hold(job: Job) -> None:
    """Until the file is there that the payload names."""
    say("begun", job.id, os.getpid())
    wait_for_file(job.text)


async def hold_softly(job: AsyncJob) -> None:
    say("begun", job.id, os.getpid())
    while not os.path.exists(job.text):
        await asyncio.sleep(0.005)


def outlast(job: Job) -> None:
    """Until three leases are over, as the storage says; its worker keeps it."""
    say("begun", job.id, os.getpid())
    first = job.info().deadline
    assert first is not None
    while (now := job.info().deadline) is not None and (now - first).total_seconds() < 3 * float(job.text):
        time.sleep(0.01)


def hog(job: Job) -> None:
    """Hold Python's lock for some seconds: PyDLL does not let go of it."""
    say("begun", job.id, os.getpid())
    ctypes.PyDLL(None).usleep(int(float(job.text) * 1_000_000))


def close(job: Job) -> None:
    """Close the service under the worker."""
    job._service.close()  # type: ignore[attr-defined]


class Teller(Observer):
    """Says each moment. stall: a file that has to be there before `released` returns; "" for none."""

    def __init__(self, stall: str) -> None:
        self._stall = stall

    def worker_started(self, worker: Worker) -> None:
        say("worker_started")

    def worker_stopped(self, worker: Worker) -> None:
        say("worker_stopped")

    def worker_error(self, error: BaseException) -> None:
        say("worker_error", type(error).__name__)

    def topic_empty(self, topic: str) -> None:
        say("topic_empty")

    def completed(self, job: Job, result: Any) -> None:
        say("completed", job.id)

    def released(self, job: Job, delay: float) -> None:
        say("released", job.id)
        if self._stall:
            wait_for_file(self._stall)

    def lease_lost(self, job: Job) -> None:
        say("lease_lost", job.id)


class Echo(logging.Handler):
    """Says the first word of what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        say("log", record.getMessage().partition(":")[0])


def main(url: str, settings: dict[str, Any]) -> None:
    """Run it.

    own: names and payloads of jobs to enqueue at first. without: the handler to leave out. how: "run", "burst", "start"
    (until the main program ends, which it does at once) or "thread" (run in a daemon thread, and end once a job runs).
    stall: see Teller.
    """
    logging.getLogger("jobq.worker").addHandler(Echo(logging.INFO))
    logging.getLogger("jobq.worker").setLevel(logging.INFO)
    svc = jobq.open(url)
    for name, payload in settings.get("own", []):
        svc.enqueue("t", payload=payload, name=name)
    worker = Worker(svc, "t", observer=Teller(settings.get("stall", "")), **settings.get("worker", {}))
    for handler in (quick, hold, hold_softly, outlast, hog, close) if settings.get("handlers", True) else ():
        worker.handler(handler)
    how = settings.get("how", "run")
    if how == "start":
        worker.start()
        sys.stdin.readline()
    elif how == "thread":
        threading.Thread(target=worker.run, daemon=True).start()
        sys.stdin.readline()
    else:
        worker.run(burst=how == "burst")
    say("main ends")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
