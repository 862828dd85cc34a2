"""Three kinds of jobs, told apart by their names: one is done, one is tried again, one is moved to the dead letters.

    python examples/job_handlers.py

The worker runs in the background, as many jobs at once as there are processors, and is stopped when all are finished.
An observer is told of each moment; it overrides those that it wants to know of.
"""

import logging
import os
import tempfile
from typing import Any

import jobq
from jobq import CancelReason, Job, JobService, Observer, Reject, Retry, Worker

TOPIC = "test"


class Diary(Observer):
    """Derives from Observer, whose methods do nothing, and overrides what it needs."""

    def completed(self, job: Job, result: Any) -> None:
        """A job is done."""
        print(f"{job.name} is done at attempt {job.attempt}, with the result {result}")

    def retried(self, job: Job, error: object, delay: float) -> None:
        """A job failed, and is tried again."""
        print(f"{job.name} is retried in {delay:g} s: {error}")

    def dead(self, job: Job, error: object, reason: CancelReason) -> None:
        """A job is a dead letter."""
        print(f"{job.name} is a dead letter ({reason}): {error}")

    def worker_error(self, error: BaseException) -> None:
        """The worker met with trouble, such as a full disk. It waits, and tries again."""
        print(f"worker: {error}")


def complete_me(job: Job) -> Any:
    """What a handler returns is kept as the result of its job."""
    return job.json()


def retry_me(job: Job) -> None:
    """Say when to try again; without a delay that is up to the job's backoff."""
    if job.retry_count == 0:
        raise Retry(job.json()["after"], error="some error")


def move_to_dlq(job: Job) -> None:
    """A dead letter is kept, to be looked at; `svc.reset(id)` has it tried again."""
    raise Reject("cannot be handled")


def play(svc: JobService, delay: float = 1) -> None:
    """Enqueue a job of each kind, and one that nobody handles, and work until all of them are finished."""
    worker = Worker(svc, TOPIC, concurrency=os.cpu_count() or 1, observer=Diary())
    for function in (complete_me, retry_me, move_to_dlq):
        worker.handler(function)  # by its name; @worker.handler("another name") is the long form
    worker.start()
    try:
        ids = [
            svc.enqueue(TOPIC, name="complete_me", json={"simpleJson": 1}, unique_key="my-own-id", delay=delay),
            svc.enqueue(TOPIC, name="retry_me", json={"after": delay}),
            svc.enqueue(TOPIC, name="move_to_dlq"),
            svc.enqueue(TOPIC, name="nobody_knows_me"),
        ]
        for id in ids:
            svc.wait_for(id, timeout=30)
    finally:
        worker.stop()  # waits for what runs
    print(f"{svc.stats(TOPIC).done} done, {len(svc.dead_letters(TOPIC))} dead letters")


def main() -> None:
    """Play it in a directory of its own, which is removed in the end."""
    logging.getLogger("jobq.worker").setLevel(logging.CRITICAL)  # what fails is in the Diary
    with tempfile.TemporaryDirectory(prefix="handlers-") as folder:
        try:
            svc = jobq.open(f"lmdb://{folder}/queue")
        except jobq.ConfigError as problem:
            print(f"{problem}\nSo the jobs are in memory, and would not outlive this process.")
            svc = jobq.open("memory://")
        with svc:
            play(svc)


if __name__ == "__main__":
    main()
