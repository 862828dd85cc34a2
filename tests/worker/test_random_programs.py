"""Jobs that do at random what handlers can do, each compared with what should become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from jobq import (
    AsyncJob,
    Cancel,
    CancelReason,
    Done,
    Job,
    JobInfo,
    JobService,
    NewJob,
    Reject,
    Release,
    Retry,
    Status,
    Worker,
)
from jobq.repos import MemoryStorage
from tests.clocks import ManualClock
from tests.worker.scenes import Recorder

ENDS = ["return", "unkept", "done", "settle", "reject", "cancel", "taken"]
AGAIN = ["raise", "exit", "retry", "retry later", "release", "release later", "refused"]
FAILURES = ["raise", "exit", "retry", "retry later", "refused"]


class Program(NamedTuple):
    """What a job does, attempt by attempt; after these it returns."""

    name: str
    steps: list[str]
    max_retries: int | None


PROGRAMS = st.builds(
    Program,
    st.sampled_from(["function", "coroutine", "unknown"]),
    st.builds(lambda again, end: [*again, end], st.lists(st.sampled_from(AGAIN), max_size=4), st.sampled_from(ENDS)),
    st.sampled_from([None, 0, 1, 2, 50]),
)


class Fate(NamedTuple):
    """What became of a job."""

    status: Status
    reason: CancelReason | None
    attempt: int
    retry_count: int
    result: object


def fate_of(program: Program) -> Fate:
    """What should become of it."""
    if program.name == "unknown":
        return Fate(Status.CANCELED, CancelReason.UNHANDLED, 1, 0, None)
    retries = 0
    for attempt, step in enumerate(program.steps, 1):
        if step in FAILURES:
            if retries == program.max_retries:
                return Fate(Status.CANCELED, CancelReason.EXHAUSTED, attempt, retries, None)
            retries += 1
        elif step not in AGAIN:
            break
    match step:
        case "reject":
            return Fate(Status.CANCELED, CancelReason.REJECTED, attempt, retries, None)
        case "cancel" | "taken":
            return Fate(Status.CANCELED, CancelReason.REQUESTED, attempt, retries, None)
        case "unkept":
            return Fate(Status.DONE, None, attempt, retries, None)
        case _:
            return Fate(Status.DONE, None, attempt, retries, step)


def found(info: JobInfo) -> Fate:
    return Fate(info.status, info.cancel_reason, info.attempt, info.retry_count, info.result)


RAISED: dict[str, Callable[[], BaseException]] = {
    "done": lambda: Done("done", then=NewJob("followers")),
    "reject": lambda: Reject("no"),
    "cancel": lambda: Cancel("no"),
    "raise": lambda: ValueError("a failure"),
    "exit": lambda: SystemExit(1),
    "retry": lambda: Retry(0),
    "retry later": lambda: Retry(30),
    "release": Release,
    "release later": lambda: Release(45),
    "refused": lambda: Retry(-1),
}


def act(svc: JobService, job: Job) -> object:
    """Do the step of this attempt."""
    step: str = job.json()[job.attempt - 1]
    if step in RAISED:
        raise RAISED[step]()
    if step == "settle":
        job.done(step)
    if step == "taken":
        svc.cancel(job.id)
    return object() if step == "unkept" else step


@given(st.lists(PROGRAMS, max_size=12), st.sampled_from([1, 2, 5]))
def test_each_job_becomes_what_it_should(programs: list[Program], concurrency: int) -> None:
    clock, seen = ManualClock(), Recorder()
    with JobService(MemoryStorage(clock=clock)) as svc:
        worker = Worker(svc, "t", concurrency=concurrency, observer=seen)
        worker.handler("function")(lambda job: act(svc, job))

        @worker.handler
        async def coroutine(job: AsyncJob) -> object:
            await asyncio.sleep(0)
            return act(svc, job.sync)

        ids = [svc.enqueue("t", json=one.steps, name=one.name, max_retries=one.max_retries) for one in programs]
        while (due := svc.next_due("t")) is not None:
            clock.advance(max(0, (due - clock.now()).total_seconds()) + 0.001)
            worker.run(burst=True)
        fates = [fate_of(program) for program in programs]
        assert [found(svc.get(id)) for id in ids] == fates
        done = [fate for fate in fates if fate.status is Status.DONE]
        dead = [fate for fate in fates if fate.reason not in (None, CancelReason.REQUESTED)]
        assert (len(seen.all("completed")), len(seen.all("dead"))) == (len(done), len(dead))
        assert len(seen.all("retried")) == sum(fate.retry_count for fate in fates) == svc.stats("t").retried
        assert len(seen.all("enqueued")) == svc.stats("followers").enqueued
        assert sum(fate.attempt for fate in fates) == svc.stats("t").reserved
        assert seen.all("worker_error") == []
        assert svc.verify() == []
