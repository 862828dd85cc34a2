"""Running a worker's handlers in a test."""

from __future__ import annotations

from jobq import inputs
from jobq.worker import Worker


def drain(worker: Worker, *, most: int = 10_000) -> int:
    """Run the jobs that are Ready, in this thread and one after the other, and return how many that were.

    All is as when the worker runs, in the order in which one worker would take them, but that nothing is timed: a time
    limit stops nothing, and child processes are not begun. What becomes Ready meanwhile is run, too; what is delayed is
    not: advance the clock, and drain again.
    most: 1 to a million jobs, after which it raises AssertionError, as a job that is given back each time has no end.
    Raises what storage and service raise; ConfigError if the worker has no handlers, JobqError if it runs already.
    """
    if not isinstance(worker, Worker):
        raise TypeError(f"drain takes a Worker, not {type(worker).__name__}")
    return worker._drain(inputs.whole(most, "most", least=1, most=1_000_000))
