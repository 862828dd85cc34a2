"""A job for now, and a job for later, with any arguments; the worker handles both until it is told to stop.

    python examples/basic_scheduler.py

Nothing polls: the worker sleeps until the next job is due. Ctrl-C (or SIGTERM) stops it, as it does a worker in
production: what runs may end, and nothing is lost.
"""

import tempfile
from datetime import UTC, datetime, timedelta

import jobq
from jobq import Job, JobService, Worker

TOPIC = "namespace"
LATER = timedelta(seconds=0.5)  # a real program may say days


def schedule(svc: JobService) -> None:
    """Push a job that is due later, and one that is due at once."""
    args = {"args": "can be anything"}
    svc.enqueue(TOPIC, name="your_job_name", json=args, run_at=datetime.now(UTC) + LATER)
    svc.enqueue(TOPIC, name="your_job_name", json=args)


def your_job_name(job: Job) -> None:
    """The handler is found by the job's name. If it returns, the job is done; if it raises, it is tried again."""
    late = (datetime.now(UTC) - job.info().run_at).total_seconds()
    print(f"job {job.id} executed with {job.json()}, {late * 1000:.0f} ms after it was due", flush=True)


def main() -> None:
    """Play it in a directory of its own, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="scheduler-") as folder:
        try:
            svc = jobq.open(f"lmdb://{folder}/queue")
        except jobq.ConfigError as problem:
            print(f"{problem}\nSo the jobs are in memory, and would not outlive this process.")
            svc = jobq.open("memory://")
        with svc:
            schedule(svc)
            worker = Worker(svc, TOPIC)
            worker.handler(your_job_name)
            print("Ctrl-C stops the worker", flush=True)
            worker.run()
            print(f"stopped, {svc.stats(TOPIC).done} jobs are done")


if __name__ == "__main__":
    main()
