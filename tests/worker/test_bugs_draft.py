"""Draft."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading

import pytest

import jobq
from jobq import Done, JobService, NewJob, Retry, Status, StorageError, Worker
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from tests.clocks import PATIENCE, ManualClock
from tests.worker.scenes import Recorder, Watched, running, wait


def test_late_ending_before_settled(queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder) -> None:
    """late outcome of a given up handler while the storage is down."""
    go, begun = threading.Event(), threading.Event()
    worker = Worker(queue, "t", observer=seen)

    @worker.handler(time_limit=5)
    def slow(job: jobq.Job) -> str:
        begun.set()
        wait(go)
        return "too late"

    id = queue.enqueue("t", name="slow")
    with running(worker):
        wait(begun)

        def fail(number: int) -> None:
            raise StorageError("down")

        watched.fail = fail
        clock.advance(5)
        seen.wait_for("worker_error")
        go.set()
        for _ in range(3):
            clock.advance(1)
        seen.wait_for("worker_error", times=2)
        watched.fail = None
        clock.advance(10)
        seen.wait_for("retried")
    assert queue.get(id).retry_count == 1
    assert seen.all("lease_lost") == []
    assert len(seen.all("retried")) == 1


def test_self_settled_running_past_beat(queue: JobService, watched: Watched, clock: ManualClock, seen: Recorder) -> None:
    worker = Worker(queue, "t", observer=seen, lease=30, concurrency=2)
    said: list[str] = []
    gate = threading.Event()
    other = threading.Event()

    @worker.handler
    async def early(job: jobq.Job) -> None:
        job.done("mine")
        gate.set()
        await asyncio.to_thread(wait, other)
        said.append("went on")

    @worker.handler
    async def second(job: jobq.Job) -> None:
        await asyncio.to_thread(wait, other)

    queue.enqueue("t", name="early")
    queue.enqueue("t", name="second")
    with running(worker):
        wait(gate)
        seen.wait_for("started", "second")
        n = watched.commits
        clock.advance(11)
        watched.wait_for_commits(n + 1)
        other.set()
        seen.wait_for("completed", "second")
        seen.wait_for("completed", "early")
    assert said == ["went on"]
    assert seen.all("lease_lost") == []


def test_contextvars_coroutines() -> None:
    queue = jobq.open("memory://")
    worker = Worker(queue, "t")
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    said: list[str] = []

    @worker.default
    async def set_it(job: jobq.Job) -> None:
        said.append(var.get())
        var.set(job.name)

    queue.enqueue_many([NewJob("t", name=str(n)) for n in range(5)])
    worker.run(burst=True)
    assert said == ["unset"] * 5


def test_inbox_wake_at(clock: ManualClock) -> None:
    """slow commit, endings in between"""
    queue = jobq.open("memory://")


def test_fork_stop() -> None:
    queue = jobq.open("memory://")
    worker = Worker(queue, "t")
    worker.default(print)
    with running(worker):
        pid = os.fork()
        if not pid:
            worker.stop()
            os._exit(0)
        done = threading.Event()
        threading.Thread(target=lambda: (os.waitpid(pid, 0), done.set()), daemon=True).start()
        if not done.wait(5):
            os.kill(pid, 9)
            pytest.fail("hangs")


def test_sys_exit_in_subtask(seen: Recorder) -> None:
    queue = jobq.open("memory://")
    worker = Worker(queue, "t", observer=seen)

    async def sub() -> None:
        raise SystemExit(3)

    @worker.handler
    async def one(job: jobq.Job) -> None:
        await asyncio.gather(sub())

    @worker.handler
    async def two(job: jobq.Job) -> None: ...

    queue.enqueue("t", name="one")
    queue.enqueue("t", name="two")
    with running(worker):
        t = seen.wait_for("completed", "two")


def test_observer_exit(seen: Recorder) -> None:
    queue = jobq.open("memory://")

    class Bad(Recorder):
        def started(self, job: jobq.Job) -> None:
            raise SystemExit(3)

    bad = Bad()
    worker = Worker(queue, "t", observer=bad)
    worker.default(lambda job: None)
    queue.enqueue("t", name="two")
    with running(worker):
        bad.wait_for("completed", "two")


def test_generator_call() -> None:
    queue = jobq.open("memory://")
    worker = Worker(queue, "t")

    class G:
        def __call__(self, job: jobq.Job):
            yield 1

    with pytest.raises(TypeError):
        worker.handler("g")(G())


def test_settled_then_raised(caplog: pytest.LogCaptureFixture) -> None:
    queue = jobq.open("memory://")
    worker = Worker(queue, "t")

    @worker.default
    def bad(job: jobq.Job) -> None:
        job.done()
        raise ValueError("after all")

    queue.enqueue("t")
    worker.run(burst=True)
    assert "after all" in caplog.text
