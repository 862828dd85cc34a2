"""Work on jobs by the batch: page views come one by one, and are counted by the dozen.

    python examples/batch_consumer.py

A consumer reserves up to 40 jobs at a time. `linger` gives a batch that is not full yet a moment to fill up, and
`exchange` settles one batch and reserves the next in the same commit: one for 40 jobs in place of 80. What cannot be
counted does not hold up the rest of its batch.
"""

import random
import threading
import time
from collections import Counter

import jobq
from jobq import Done, Job, JobService, NewJob, Reject

VIEWS = 300
PAGES = ["/", "/pricing", "/docs", "/blog"]


def visit(svc: JobService) -> None:
    """What visitors do: a few views at a time, now and then a broken one."""
    rest = VIEWS
    while rest:
        some = min(rest, random.randint(1, 25))
        svc.enqueue_many([NewJob("views", json={"page": random.choice(PAGES)}) for _ in range(some)])
        rest -= some
        time.sleep(random.uniform(0, 0.05))
    svc.enqueue("views", payload="no JSON")


def count(job: Job, totals: Counter[str]) -> Done | Reject:
    """Count one view, and say what becomes of its job."""
    try:
        totals[job.json()["page"]] += 1
    except ValueError as error:
        return Reject(error)  # a dead letter at once: it will not get better
    return Done()


def consume(svc: JobService, visitors: threading.Thread) -> Counter[str]:
    """Count views until no visitor is left, and none of their views."""
    totals: Counter[str] = Counter()
    outcomes: list[tuple[Job, Done | Reject]] = []
    while True:
        is_over = not visitors.is_alive()  # asked before it looks: what came in between is seen to
        jobs = svc.exchange(outcomes, topics="views", n=40, timeout=0.5, linger=0.1).jobs
        if not jobs and is_over:
            return totals
        outcomes = [(job, count(job, totals)) for job in jobs]
        if jobs:
            print(f"a batch of {len(jobs):2}, {totals.total()} views in all")


def main() -> None:
    """Count while visitors come, and print the result."""
    with jobq.open("memory://") as svc:
        visitors = threading.Thread(target=visit, args=[svc])
        visitors.start()
        totals = consume(svc, visitors)
        visitors.join()
        print(", ".join(f"{page}: {views}" for page, views in totals.most_common()))
        for dead in svc.dead_letters("views"):
            print(f"not counted: {svc.payload(dead.id)!r}, as {(dead.last_error or '').splitlines()[0]}")


if __name__ == "__main__":
    main()
