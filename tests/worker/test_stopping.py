"""Stopping a worker from the program itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import jobq
from jobq import AsyncJob, Job, JobService, ServiceClosed, Status, Worker
from jobq.worker.coroutines import EventLoop
from jobq.worker.handlers import Handler
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from jobq.worker.run import Run
from tests.clocks import PATIENCE, ManualClock
from tests.worker.scenes import Recorder, pass_time, running, wait


def stop_in_background(worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=worker.stop)
    thread.start()
    return thread


@pytest.fixture
def go() -> threading.Event:
    return threading.Event()


def test_what_runs_may_end_and_nothing_else_is_begun(
    svc: JobService, seen: Recorder, go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobq.worker")
    worker = Worker(svc, "t", concurrency=2, observer=seen)
    worker.default(lambda job: wait(go))
    ids = [svc.enqueue("t", name=name) for name in "abcd"]
    with running(worker):
        seen.wait_for("started", times=2)
        worker.stop(wait=False)
        worker.stop(wait=False)
        assert worker.is_running
        go.set()
        worker.stop()
        assert not worker.is_running
    assert [svc.status(id) for id in ids] == [Status.DONE] * 2 + [Status.READY] * 2
    assert [svc.get(id).attempt for id in ids] == [1, 1, 0, 0]
    assert seen.moments[-1] == ("worker_stopped", worker)
    assert "stopping: " in caplog.text


def test_what_does_not_end_in_the_grace_is_released(
    svc: JobService, clock: ManualClock, seen: Recorder, go: threading.Event
) -> None:
    worker = Worker(svc, "t", grace=20, observer=seen)
    canceled: list[bool] = []

    @worker.default
    def slow(job: Job) -> None:
        wait(go)
        canceled.append(job.canceled())
        seen.note("ended")

    id = svc.enqueue("t", name="it")
    worker.start()
    seen.wait_for("started")
    stopping = stop_in_background(worker)
    stage = worker._stage
    assert stage is not None
    while not stage.inbox.stops:
        assert clock.sleeping.acquire(timeout=PATIENCE)
    pass_time(clock, 19.9)
    assert worker.is_running
    pass_time(clock, 0.1)
    stopping.join(PATIENCE)
    assert not worker.is_running
    info = svc.get(id)
    assert (info.status, info.attempt, info.retry_count, info.last_error) == (Status.READY, 1, 0, None)
    assert seen.of_jobs() == [("started", "it"), ("released", "it", 0.0)]
    go.set()
    seen.wait_for("ended")
    assert canceled == [True]
    assert svc.get(id) == info


@pytest.mark.parametrize("is_async", [False, True])
def test_force_gives_back_at_once_what_runs(
    svc: JobService, seen: Recorder, go: threading.Event, is_async: bool
) -> None:
    worker = Worker(svc, "t", concurrency=2, observer=seen)

    async def coroutine(job: AsyncJob) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.note("cleaned up")

    worker.default(coroutine if is_async else lambda job: wait(go))
    ids = [svc.enqueue("t") for _ in range(2)]
    worker.start()
    seen.wait_for("started", times=2)
    worker.stop(force=True)
    go.set()
    assert [(svc.status(id), svc.get(id).retry_count) for id in ids] == [(Status.READY, 0)] * 2
    assert len(seen.all("released")) == 2
    assert len(seen.all("cleaned up")) == 2 * is_async


def test_grace_of_nothing(svc: JobService, seen: Recorder, go: threading.Event) -> None:
    worker = Worker(svc, "t", grace=0, observer=seen)
    worker.default(lambda job: wait(go))
    id = svc.enqueue("t")
    worker.start()
    seen.wait_for("started")
    worker.stop()
    go.set()
    assert (svc.status(id), svc.get(id).retry_count) == (Status.READY, 0)


def test_what_waits_for_a_slot_is_given_back_at_once(
    svc: JobService, clock: ManualClock, seen: Recorder, go: threading.Event
) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.handler("quick")(lambda job: clock.advance(0.001))
    worker.handler("slow")(lambda job: wait(go))
    worker.handler("behind")(lambda job: None)
    for priority, name in enumerate(["quick"] * 20 + ["slow"] + ["behind"] * 3):
        svc.enqueue("t", priority, name=name)
    with running(worker):
        seen.wait_for("started", "slow")
        seen.wait_for("topic_empty")
        pass_time(clock, 0.01)
        seen.wait_for("completed", times=20)
        assert svc.stats("t").now[Status.RESERVED] == 4
        worker.stop(wait=False)
        seen.wait_for("released", "behind", times=3)
        assert svc.stats("t").now[Status.RESERVED] == 1
        go.set()
        worker.stop()
    assert (svc.stats("t").done, svc.stats("t").now[Status.READY]) == (21, 3)
    assert all(info.retry_count == 0 for info in svc.find("ready"))


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("force", [False, True])
def test_a_handler_may_stop_its_worker(svc: JobService, seen: Recorder, is_async: bool, force: bool) -> None:
    worker = Worker(svc, "t", observer=seen)

    def stop(job: Job) -> str:
        worker.stop(force=force)
        return "stopped it"

    async def stop_async(job: AsyncJob) -> str:
        return stop(job.sync)

    worker.default(stop_async if is_async else stop)
    ids = [svc.enqueue("t") for _ in range(2)]
    worker.run()
    assert svc.status(ids[1]) is Status.READY
    assert svc.status(ids[0]) in ((Status.DONE, Status.READY) if force else (Status.DONE,))


def test_an_observer_may_stop_the_worker(svc: JobService) -> None:
    class StopsWhenEmpty(Recorder):
        def topic_empty(self, topic: str) -> None:
            worker.stop()

    worker = Worker(svc, "t", observer=StopsWhenEmpty())
    worker.default(lambda job: None)
    ids = [svc.enqueue("t") for _ in range(5)]
    worker.run()
    assert {svc.status(id) for id in ids} == {Status.DONE}


def test_stopping_what_does_not_run_does_nothing(svc: JobService) -> None:
    worker = Worker(svc, "t")
    worker.default(lambda job: None)
    worker.stop()
    worker.stop(force=True)
    svc.enqueue("t")
    worker.run(burst=True)
    worker.stop()
    assert svc.stats("t").done == 1


def test_stopping_at_once_after_the_start(svc: JobService) -> None:
    worker = Worker(svc, "t", concurrency=4)
    worker.default(lambda job: None)
    svc.enqueue("t")
    for _ in range(20):
        worker.start()
        worker.stop()
        assert not worker.is_running
    now = svc.stats("t").now
    assert now[Status.RESERVED] == 0


def test_an_idle_worker_is_woken_to_stop(svc: JobService, clock: ManualClock, seen: Recorder) -> None:
    worker = Worker(svc, ["a", "b"], observer=seen)
    worker.default(lambda job: None)
    worker.start()
    seen.wait_for("topic_empty", "b")
    worker.stop()
    assert not worker.is_running


def test_many_threads_may_stop_it(svc: JobService, seen: Recorder, go: threading.Event) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.default(lambda job: wait(go))
    svc.enqueue("t")
    worker.start()
    seen.wait_for("started")
    threads = [stop_in_background(worker) for _ in range(8)]
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert svc.stats("t").done == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_no_thread_of_its_own_is_left(svc: JobService, is_async: bool) -> None:
    async def coroutine(job: AsyncJob) -> None: ...

    before = set(threading.enumerate())
    worker = Worker(svc, "t", concurrency=4)
    worker.default(coroutine if is_async else lambda job: None)
    for _ in range(20):
        svc.enqueue("t")
    worker.run(burst=True)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"jobq-wake"}  # the storage's own


def test_tasks_that_handlers_left_behind_are_cancelled_at_the_end(svc: JobService, seen: Recorder) -> None:
    worker = Worker(svc, "t")
    tasks: list[asyncio.Task[None]] = []

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.note("cancelled")

    @worker.default
    async def leave_one(job: AsyncJob) -> None:
        tasks.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    svc.enqueue("t")
    worker.run(burst=True)
    assert seen.moments == [("cancelled",)]


def test_a_closed_service_ends_the_worker(
    svc: JobService, seen: Recorder, go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(svc, "t", observer=seen)
    worker.default(lambda job: None)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except ServiceClosed as problem:
            errors.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    seen.wait_for("topic_empty")
    svc.close()
    thread.join(PATIENCE)
    assert len(errors) == 1
    assert [moment[0] for moment in seen.moments[-2:]] == ["worker_error", "worker_stopped"]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    worker.stop()


def test_a_coroutine_that_is_stopped_before_its_first_step_is_not_begun(seen: Recorder) -> None:
    """What the event loop is told comes in the order of the telling, but a new task takes its first step later."""
    called: list[AsyncJob] = []

    async def handle(job: AsyncJob) -> None:
        called.append(job)

    with jobq.open("memory://") as svc:
        svc.enqueue("t")
        [job] = svc.reserve("t")
        inbox = Inbox(svc.clock, Moments([seen], svc.clock))
        executor, go = EventLoop(1, inbox), threading.Event()
        executor._running_loop().call_soon_threadsafe(wait, go)
        run = Run(job, Handler(None, handle, None, is_async=True), 0)
        executor.submit(run)
        run.stopped_at = svc.clock.steady()
        executor.stop(run)
        go.set()
        inbox.wait(PATIENCE)
        [ending] = inbox.take()
        assert (ending.run, ending.outcome, ending.is_late) == (run, None, False)
        executor.close()
    assert (called, seen.moments) == ([], [])


def test_a_start_that_fails_leaves_it_stopped(svc: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker(svc, "t")
    worker.default(lambda job: None)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            worker.start()
    assert not worker.is_running
    worker.stop()
    with running(worker):
        svc.wait_for(svc.enqueue("t"), None)


def test_a_slot_that_cannot_begin_ends_the_worker_with_the_error(
    svc: JobService, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker(svc, "t", concurrency=3, observer=seen)
    worker.default(lambda job: None)
    ids = [svc.enqueue("t") for _ in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            worker.run()
    assert [(svc.status(id), svc.get(id).retry_count) for id in ids] == [(Status.READY, 0)] * 3
    assert [moment[0] for moment in seen.moments[-2:]] == ["worker_error", "worker_stopped"]
    worker.run(burst=True)
    assert [svc.status(id) for id in ids] == [Status.DONE] * 3


def test_a_coroutine_that_blocks_the_event_loop_does_not_keep_the_worker_from_stopping(
    svc: JobService, clock: ManualClock, seen: Recorder, go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobq.worker.coroutines.ENDING", 0.01)
    worker = Worker(svc, "t", observer=seen)

    @worker.default
    async def blocks(job: AsyncJob) -> None:
        wait(go)
        seen.note("ended")

    id = svc.enqueue("t")
    worker.start()
    seen.wait_for("started")
    worker.stop(wait=False, force=True)
    stage = worker._stage
    assert stage is not None
    while not stage.hand or not all(run.stopped_at for run in list(stage.hand._runs)):
        assert clock.sleeping.acquire(timeout=PATIENCE)
    pass_time(clock, 1)
    worker.stop()
    assert (svc.status(id), svc.get(id).retry_count) == (Status.READY, 0)
    go.set()
    seen.wait_for("ended")


class AtExit:
    """Stands for the module atexit. It takes nothing back before it may."""

    def __init__(self) -> None:
        self.registered: list[object] = []
        self.may = threading.Event()
        self.taken_back = threading.Semaphore(0)

    def register(self, function: object) -> None:
        self.registered.append(function)

    def unregister(self, function: object) -> None:
        wait(self.may)
        self.registered = [one for one in self.registered if one != function]
        self.taken_back.release()


def test_a_run_that_ended_does_not_take_back_what_the_next_one_registered(
    svc: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit = AtExit()
    monkeypatch.setattr("jobq.worker.worker.atexit", at_exit)
    worker = Worker(svc, "t")
    worker.default(lambda job: None)
    worker.start()
    worker.stop()
    worker.start()
    at_exit.may.set()
    assert at_exit.taken_back.acquire(timeout=PATIENCE)
    assert len(at_exit.registered) == 1
    worker.stop()
    assert at_exit.taken_back.acquire(timeout=PATIENCE)
    assert at_exit.registered == []


PROGRAM = """
import sys, threading, jobq
svc = jobq.open("memory://")
begun = threading.Event()
class Told(jobq.Observer):
    def completed(self, job, result): print("completed", flush=True)
    def released(self, job, delay): print("released", flush=True)
    def worker_stopped(self, worker): print("stopped", flush=True)
worker = jobq.Worker(svc, "t", grace=float(sys.argv[1]), observer=Told())
@worker.default
def handle(job):
    begun.set()
    threading.Event().wait(float(sys.argv[2]))
worker.start()
worker.stop()
worker.start()
svc.enqueue("t")
begun.wait()
"""


@pytest.mark.parametrize(("grace", "takes", "end"), [("30", "0.05", "completed"), ("0", "600", "released")])
def test_a_program_that_ends_stops_its_worker(tmp_path: Path, grace: str, takes: str, end: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(jobq.__file__).parent.parent)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, grace, takes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (0, [end, "stopped"])


def test_a_block_of_a_worker_starts_and_stops_it(svc: JobService) -> None:
    worker = Worker(svc, "t")
    worker.default(lambda job: None)
    with worker as same:
        assert same is worker
        assert worker.is_running
        svc.wait_for(svc.enqueue("t"), None)
    assert not worker.is_running
    with pytest.raises(KeyError, match="in the block"), worker:
        raise KeyError("in the block")
    assert not worker.is_running
