"""around=…: what is run around each handler, in its thread or task, and its context."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import pytest

import jobq
from jobq import AsyncJob, ConfigError, Done, Job, JobService, NewJob, Status, Worker
from jobq.testing import QueueForTests, drain
from tests.worker import surroundings
from tests.worker.surroundings import CURRENT, where

Finish = Callable[[Worker], object]


def run(worker: Worker) -> None:
    worker.run(burst=True)


@pytest.fixture
def svc() -> Iterator[JobService]:
    with jobq.open("memory://", headers=where) as svc:
        yield svc


@pytest.mark.parametrize(("executor", "finish"), [("thread", run), ("process", run), ("thread", drain)])
def test_it_is_left_as_the_handler_ends(svc: JobService, executor: Any, finish: Finish) -> None:
    worker = Worker(svc, "t", executor=executor, around=surroundings.around)
    names = [worker.handler(function).__name__ for function in surroundings.HANDLERS]
    ids = dict(zip(names, svc.enqueue_many([NewJob("t", name=name) for name in names]), strict=True))
    finish(worker)
    logged = {name: [line.message for line in svc.logs(id)] for name, id in ids.items()}
    assert logged == {
        "returns": ["left well, Done"],
        "follows": ["left well, Done"],
        "releases": ["left well, Release"],
        "cancels": ["left well, Cancel"],
        "retries": ["left by Retry, Retry"],
        "rejects": ["left by Reject, Reject"],
        "fails": ["left by KeyError, Retry"],
    }
    assert svc.get(ids["returns"]).result == ["returns of t", None]
    found = {name: str(svc.status(id)) for name, id in ids.items()}
    assert found == {
        "returns": "done",
        "follows": "done",
        "releases": "delayed",
        "cancels": "canceled",
        "retries": "delayed",
        "rejects": "canceled",
        "fails": "delayed",
    }


@pytest.mark.parametrize(("executor", "finish"), [("thread", run), ("process", run), ("thread", drain)])
@pytest.mark.parametrize("handler", [surroundings.follows, surroundings.follows_at_once])
def test_jobs_that_a_handler_enqueues_are_enqueued_within(
    svc: JobService, executor: Any, finish: Finish, handler: Any
) -> None:
    surroundings.asked.clear()
    worker = Worker(svc, "t", executor=executor, around=nullable)
    worker.default(handler)
    svc.enqueue("t", name="first")
    finish(worker)
    assert surroundings.asked == (["first", "follower"] if executor == "thread" else ["first"])
    [job] = svc.reserve("next")
    assert job.headers["within"] == "first of t"
    assert (job.headers["pid"] == str(os.getpid())) == (executor == "thread")
    assert ("own" in job.headers) == (handler is surroundings.follows)


@contextmanager
def nullable(job: Job) -> Iterator[None]:
    token = CURRENT.set(f"{job.name} of {job.topic}")
    yield
    CURRENT.reset(token)


def test_where_headers_cannot_be_imported_the_parent_gives_them() -> None:
    with jobq.open("memory://", headers=lambda job: {"pid": str(os.getpid())}) as svc:
        worker = Worker(svc, "t", executor="process")
        worker.default(surroundings.follows)
        svc.enqueue("t")
        run(worker)
        [job] = svc.reserve("next")
        assert job.headers == {"own": "1", "pid": str(os.getpid())}


@pytest.mark.parametrize("finish", [run, drain])
def test_a_coroutine_runs_within(svc: JobService, finish: Finish) -> None:
    within: list[tuple[str, object]] = []

    @contextmanager
    def around(job: AsyncJob) -> Iterator[None]:
        token = CURRENT.set(job.name)
        within.append(("entered", threading.get_ident()))
        yield
        within.append((type(job.outcome).__name__, threading.get_ident()))
        CURRENT.reset(token)

    worker = Worker(svc, "t", around=around)
    worker.default(surroundings.awaits)
    id = svc.enqueue("t", name="one")
    finish(worker)
    assert svc.get(id).result == ["one", None]
    assert [what for what, _ in within] == ["entered", "Done"]
    assert within[0][1] == within[1][1] != threading.get_ident()


@pytest.mark.parametrize("finish", [run, drain])
@pytest.mark.parametrize("outcome", [None, Done(7), KeyError("gone")])
def test_what_is_around_a_coroutine_may_be_awaited(svc: JobService, finish: Finish, outcome: Exception | None) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def around(job: AsyncJob) -> AsyncIterator[None]:
        await job.log("entered")
        try:
            yield
        except KeyError:
            told.append("failed")
            raise
        else:
            told.append("left")

    worker = Worker(svc, "t", around=around)

    @worker.default
    async def handle(job: AsyncJob) -> int:
        if outcome is not None:
            raise outcome
        return 7

    id = svc.enqueue("t")
    finish(worker)
    failed = isinstance(outcome, KeyError)
    assert (told, svc.get(id).result) == (["failed" if failed else "left"], None if failed else 7)
    assert [line.message for line in svc.logs(id)] == ["entered"]


def test_a_handler_in_a_thread_can_await_nothing(svc: JobService) -> None:
    @asynccontextmanager
    async def around(job: Job) -> AsyncIterator[None]:
        yield

    worker = Worker(svc, "t", around=around)
    worker.default(surroundings.returns)
    id = svc.enqueue("t")
    run(worker)
    assert "does not support the context manager protocol" in (svc.get(id).last_error or "")


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_its_error_is_the_handlers(svc: JobService, executor: Any) -> None:
    worker = Worker(svc, "t", executor=executor, around=surroundings.failing)
    worker.default(surroundings.returns)
    id = svc.enqueue("t")
    run(worker)
    assert (svc.status(id), svc.get(id).retry_count) == (Status.DELAYED, 1)
    assert (svc.get(id).last_error or "").startswith("ValueError: no database")


def test_it_may_keep_an_error_to_itself(svc: JobService) -> None:
    class Quiet(AbstractContextManager[None]):
        def __exit__(self, *_: object) -> bool:
            return True

    worker = Worker(svc, "t", around=lambda job: Quiet())
    worker.default(surroundings.fails)
    id = svc.enqueue("t")
    run(worker)
    assert (svc.status(id), svc.get(id).result) == (Status.DONE, None)


def test_a_task_runs_within() -> None:
    tasks = jobq.Tasks(topic="t")
    seen: list[str] = []

    @tasks.task(name="one")
    def one() -> None:
        seen.append(CURRENT.get())

    with QueueForTests() as svc:
        worker = Worker(svc, "t", tasks=tasks, around=nullable)
        tasks.bind(svc)
        one.enqueue()
        drain(worker)
        one.enqueue()
        run(worker)
    assert seen == ["one of t"] * 2


def test_the_lines_of_an_error_begin_with_the_handler(svc: JobService) -> None:
    worker = Worker(svc, "t", around=surroundings.around)
    worker.default(surroundings.fails)
    id = svc.enqueue("t")
    run(worker)
    files = [line for line in (svc.get(id).last_error or "").splitlines() if "File" in line]
    assert len(files) == 1
    assert files[0].endswith("in fails")


@pytest.mark.parametrize(
    ("around", "message"),
    [
        (nullcontext(), "around must be a function that takes a job and returns a context manager, not nullcontext"),
        (lambda job: (yield), "is a generator: put @contextlib.contextmanager above it"),
        (surroundings.awaits, "awaits is a coroutine function: put @contextlib.asynccontextmanager above one"),
    ],
)
def test_what_gives_no_context_manager(svc: JobService, around: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Worker(svc, "t", around=around)


def test_child_processes_have_to_import_it(svc: JobService) -> None:
    worker = Worker(svc, "t", executor="process", around=lambda job: nullcontext())
    worker.default(surroundings.returns)
    message = "cannot be imported by a child process: with executor='process' around must be a function at the top leve"
    with pytest.raises(ConfigError, match=message):
        run(worker)


def test_a_fork_leaves_what_is_around_its_handler_to_the_worker(svc: JobService) -> None:
    left: list[int] = []

    @contextmanager
    def around(job: Job) -> Iterator[None]:
        yield
        left.append(os.getpid())
        job.log("left")

    worker = Worker(svc, "t", around=around)

    @worker.default
    def forks(job: Job) -> int:
        pid = os.fork()
        if pid == 0:
            return 0
        return os.waitpid(pid, 0)[1]

    id = svc.enqueue("t")
    drain(worker)
    assert (svc.get(id).result, left) == (0, [os.getpid()])
    assert len(svc.logs(id)) == 1


def test_a_lost_reservation_is_known_after_its_block(svc: JobService) -> None:
    svc.enqueue("t")
    [job] = svc.reserve("t")
    with job:
        svc.cancel(job.id)
    assert (job.canceled(), job.settled, job.outcome) == (True, False, None)
