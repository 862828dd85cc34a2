"""How soon a waiting reserve has a job that another process enqueued, and what a waiter costs while idle.

Usage: python benchmarks/waking.py [--jobs N] [--sync SYNC] [--idle SECONDS]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import jobq


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--sync", default="off")
    parser.add_argument("--idle", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        url = f"lmdb://{folder}/jobs?sync={arguments.sync}"
        with jobq.open(url) as svc:
            whole, waking = latencies(svc, url, arguments.jobs)
            print_latencies("from the call of enqueue to the return of reserve in another process", whole)
            print_latencies("from the return of enqueue", waking)
            print(f"an idle waiter uses {idle_share(url, arguments.idle):.3%} of a core")


def latencies(svc: jobq.JobService, url: str, jobs: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the call and from the return of an enqueue to the return of the reserve, at rest between."""
    ours, theirs = multiprocessing.Pipe()
    consumer = multiprocessing.get_context("spawn").Process(target=consume, args=(url, theirs), daemon=True)
    consumer.start()
    ours.recv()
    whole: list[float] = []
    waking: list[float] = []
    for _ in range(jobs):
        time.sleep(0.003)  # until it waits
        began = time.monotonic()
        svc.enqueue("mail", payload=b"x" * 100)
        returned = time.monotonic()
        got = ours.recv()
        whole.append((got - began) * 1000)
        waking.append((got - returned) * 1000)
    svc.enqueue("mail", name="stop")
    consumer.join()
    return whole, waking


def consume(url: str, theirs: Connection) -> None:
    """Reserve one job at a time, and tell when."""
    with jobq.open(url) as svc:
        theirs.send(None)
        while True:
            [job] = svc.reserve("mail", timeout=None)
            theirs.send(time.monotonic())
            job.done()
            if job.name == "stop":
                return


def idle_share(url: str, seconds: float) -> float:
    """The share of a core that a process uses while it waits in vain."""
    ours, theirs = multiprocessing.Pipe()
    waiter = multiprocessing.get_context("spawn").Process(target=wait_in_vain, args=(url, seconds, theirs))
    waiter.start()
    used: float = ours.recv()
    waiter.join()
    return used / seconds


def wait_in_vain(url: str, seconds: float, theirs: Connection) -> None:
    """Wait, and tell how much time of the processor it took."""
    with jobq.open(url) as svc:
        svc.reserve("nothing", timeout=0.1)
        began = time.process_time()
        svc.reserve("nothing", timeout=seconds)
        theirs.send(time.process_time() - began)


def print_latencies(name: str, took: list[float]) -> None:
    """Print median, p99 and the worst."""
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    print(f"{name}: median {statistics.median(took):.3f} ms, p99 {p99:.3f} ms, worst {took[-1]:.1f} ms")


if __name__ == "__main__":
    main()
