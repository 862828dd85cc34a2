"""Schedule a task for some seconds later, and run it; a task that fails is tried again, up to three times.

    python examples/task_scheduler.py [PAYLOAD] [DELAY]

The payload "fail" fails each time: it is retried every 2 seconds (--retry-delay), and is a dead letter in the end. The
jobs are in an LMDB directory, so that another process could as well be the one that schedules.
"""

import argparse
import logging
import tempfile

import jobq
from jobq import CancelReason, Job, JobOptions, JobService, Observer, Worker

TOPIC = "tasks"


class Narrator(Observer):
    """Says what becomes of tasks that fail. It is told once that is committed."""

    def retried(self, job: Job, error: object, delay: float) -> None:
        """A task failed, and will be tried again."""
        left = job.retries_left or 0
        print(f"⚠️ Job failed: {job.text} (retries left={left})")
        print(f"🔄 Retrying job in {delay:g}s (remaining retries={left - 1})")

    def dead(self, job: Job, error: object, reason: CancelReason) -> None:
        """A task failed, and has no retries left."""
        print(f"⚠️ Job failed: {job.text} (retries left=0)")
        print(f"❌ Job exhausted retries: {job.text}")


def options(retry_delay: float = 2) -> JobOptions:
    """Three retries, all after the same time."""
    return JobOptions(max_retries=3, min_backoff=retry_delay, max_backoff=retry_delay)


def task_worker(svc: JobService) -> Worker:
    """A worker for tasks."""
    worker = Worker(svc, TOPIC, observer=Narrator())

    @worker.default  # tasks have no names here, so this is for all of them
    def execute(job: Job) -> None:
        if job.text == "fail":
            raise RuntimeError("simulated failure")
        print(f"✅ Executed job: {job.text}")

    return worker


def play(svc: JobService, payload: str, delay: float, retry_delay: float) -> None:
    """Schedule one task, and work until it is finished, one way or the other."""
    worker = task_worker(svc)
    worker.start()  # in the background; a worker that is a program of its own calls worker.run()
    try:
        id = svc.enqueue(TOPIC, payload=payload, delay=delay, options=options(retry_delay))
        info = svc.wait_for(id, timeout=delay + 4 * retry_delay + 30)
    finally:
        worker.stop()
    print(f"Job {id} is {info.cancel_reason or info.status} at attempt {info.attempt}")


def main() -> None:
    """Play it in a directory of its own, which is removed in the end."""
    parser = argparse.ArgumentParser(description="Schedule a task for some seconds later, and run it.")
    parser.add_argument("payload", nargs="?", default="Hello from the scheduler", help='"fail" fails')
    parser.add_argument("delay", nargs="?", type=float, default=3, help="in seconds")
    parser.add_argument("--retry-delay", type=float, default=2, help="in seconds")
    arguments = parser.parse_args()
    logging.getLogger("jobq.worker").setLevel(logging.CRITICAL)  # what fails is said by the Narrator
    with tempfile.TemporaryDirectory(prefix="tasks-") as folder:
        try:
            svc = jobq.open(f"lmdb://{folder}/queue")
        except jobq.ConfigError as problem:
            print(f"{problem}\nSo the task is in memory, and would not outlive this process.")
            svc = jobq.open("memory://")
        with svc:
            play(svc, arguments.payload, arguments.delay, arguments.retry_delay)


if __name__ == "__main__":
    main()
