"""A report that is made on schedule, and the calendar of its schedule, run through ahead of time.

    python examples/scheduled_report.py

It is due at nine in Paris on working days. As nobody wants to wait for that here, a second schedule makes it five times
a second, until there are three. Then a clock that stands still is moved by hand through a week in which the clocks of
Paris are set forward: that is how a program's own tests look at its schedules.
"""

import tempfile
import threading
from datetime import UTC, datetime
from typing import Any

import jobq
from jobq import Job, JobService, Observer, Tasks, Worker
from jobq.testing import ManualClock, QueueForTests, drain

SOLD = {"apples": 3, "pears": 4}

tasks = Tasks("reports")  # bound later: by its worker, or by tasks.bind(svc)


@tasks.every("0 9 * * MON-FRI", timezone="Europe/Paris", tick_as="due")
@tasks.every(0.2, name="often", kwargs={"title": "So far"}, tick_as="due")
@tasks.task(name="report", max_retries=5)
def report(due: str, title: str = "Report of the day") -> str:
    """Make the report that was due then; it may be late."""
    made = datetime.fromisoformat(due)
    return f"{title}, {made:%a %d %b %H:%M:%S %z}: {sum(SOLD.values())} sold"


class Printer(Observer):
    """Prints what the tasks return."""

    def __init__(self) -> None:
        self.printed = threading.Semaphore(0)

    def completed(self, job: Job, result: Any) -> None:
        """A report is made."""
        print(result)
        self.printed.release()


def for_real(svc: JobService) -> None:
    """Run a worker, of which there may be several in several processes: each tick is enqueued once all the same."""
    printer = Printer()
    with Worker(svc, "reports", tasks=tasks, observer=printer):
        for _ in range(3):
            printer.printed.acquire()
    tasks.schedules.remove("often")
    for info in tasks.schedules.list():
        print(f"{info.name} waits for its tick, {info.spec!r} in {info.timezone}")


def ahead_of_time() -> None:
    """Run through eight days within a moment."""
    with QueueForTests(clock=ManualClock(datetime(2026, 3, 26, tzinfo=UTC))) as queue:
        tasks.bind(queue)
        worker = Worker(queue, "reports", tasks=tasks, observer=Printer())
        drain(worker)  # installs the schedules
        tasks.schedules.pause("often")
        for _ in range(8):
            queue.clock.advance(24 * 3600)
            drain(worker)


def main() -> None:
    """Play it in a directory of its own, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="reports-") as folder:
        try:
            svc = jobq.open(f"lmdb://{folder}/queue")
        except jobq.ConfigError as problem:
            print(f"{problem}\nSo the jobs are in memory, and would not outlive this process.")
            svc = jobq.open("memory://")
        with svc:
            for_real(svc)
    ahead_of_time()


if __name__ == "__main__":
    main()
