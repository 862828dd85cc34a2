"""Processes of the tests: `python -m tests.lmdb.actors produce|consume URL …`."""

from __future__ import annotations

import os
import sys

import jobq
from jobq import NewJob


def produce(url: str, count: str) -> None:
    """Enqueue `count` jobs, some by themselves and some in batches."""
    with jobq.open(url) as svc:
        left = int(count)
        while left:
            batch = min(left, left % 5 + 1)
            if batch == 1:
                svc.enqueue("work", left % 3, name="one")
            else:
                svc.enqueue_many([NewJob("work", left % 3, name="many") for _ in range(batch)])
            left -= batch


def consume(url: str, log: str) -> None:
    """Write down each job that is delivered, then settle it in one way or another, until killed."""
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with jobq.open(url) as svc:
        print("ready", flush=True)
        while True:
            jobs = svc.reserve("work", n=4, timeout=None, lease=0.3)
            for job in jobs:
                os.write(out, b"%d\n" % job.id)
            try:
                svc.release([job for job in jobs if job.id % 7 == 0 and job.attempt == 1])
                svc.done([job for job in jobs if not job.settled])
            except jobq.LeaseLost:
                print("lost", flush=True)


if __name__ == "__main__":
    {"produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:])
