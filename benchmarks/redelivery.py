"""How soon the job of a worker that is killed (SIGKILL) is given to another worker, against the lease.

A lease is renewed each third of it, so that between two thirds and the whole of it are left when the worker is killed,
at a random moment here. What is shown is the time from the signal to the call of the handler in the other process.

Usage: python benchmarks/redelivery.py [--leases SECONDS …] [--kills N] [--sync SYNC]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import jobq


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--sync", default="off")
    arguments = parser.parse_args()
    for lease in arguments.leases:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            took = sorted(redeliveries(f"lmdb://{folder}/jobs?sync={arguments.sync}", lease, arguments.kills))
        print(
            f"lease {lease:g} s, {len(took)} kills: redelivered after median {statistics.median(took):.2f} s, "
            f"least {took[0]:.2f} s, most {took[-1]:.2f} s"
        )


def redeliveries(url: str, lease: float, kills: int) -> list[float]:
    """Seconds from each kill to the next begin of the job. The worker that has the job is killed each time."""
    took: list[float] = []
    with jobq.open(url) as svc:
        svc.enqueue("work", name="stay", max_retries=None)
        holder, begun = start_worker(url, lease)
        begun.recv()
        for _ in range(kills):
            other, other_begun = start_worker(url, lease)
            time.sleep(lease * (1 + random.random()))  # some renewals later
            killed_at = time.monotonic()
            holder.kill()
            took.append(other_begun.recv() - killed_at)
            holder.join()
            holder = other
        holder.kill()
        holder.join()
    return took


def start_worker(url: str, lease: float) -> tuple[SpawnProcess, Connection]:
    """A process with a worker that is ready, and what tells when its handler is called."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(url, lease, theirs), daemon=True)
    process.start()
    ours.recv()
    return process, ours


def work(url: str, lease: float, begun: Connection) -> None:
    """Run a worker whose handler tells when it is called, and stays."""
    with jobq.open(url) as svc:
        worker = jobq.Worker(svc, "work", lease=lease)

        @worker.handler
        def stay(job: jobq.Job) -> None:
            begun.send(time.monotonic())
            time.sleep(1_000)

        begun.send(0.0)
        worker.run()


if __name__ == "__main__":
    main()
