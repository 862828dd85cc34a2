"""Registering handlers, and what a Worker is made with."""

from __future__ import annotations

import functools
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import jobq
from jobq import AsyncJob, ConfigError, InvalidTopic, Job, JobqError, JobService, Observer, Status, Worker
from tests.worker.scenes import running


def handle(job: Job) -> str:
    return f"handled {job.name}"


class Method:
    """Objects that handle jobs."""

    def __call__(self, job: Job) -> str:
        return "called"

    def method(self, job: Job) -> str:
        return "bound"

    def not_enough(self) -> None: ...


class Coroutine:
    async def __call__(self, job: AsyncJob) -> str:
        return "awaited"


def results(svc: JobService, worker: Worker, *names: str) -> list[Any]:
    """Run a job of each name; their results, or why there are none."""
    ids = [svc.enqueue("t", name=name) for name in names]
    worker.run(burst=True)
    return [svc.get(id).result or svc.get(id).last_error for id in ids]


@pytest.fixture
def svc() -> Iterator[JobService]:
    """Nothing here depends on the storage."""
    with jobq.open("memory://") as svc:
        yield svc


@pytest.fixture
def worker(svc: JobService) -> Worker:
    return Worker(svc, "t")


def test_handlers_are_found_by_name(svc: JobService, worker: Worker) -> None:
    @worker.handler
    def plain(job: Job) -> str:
        return "by the function's name"

    @worker.handler()
    def empty(job: Job) -> str:
        return "by the function's name, too"

    @worker.handler("other", time_limit=timedelta(seconds=5))
    def named(job: Job) -> str:
        return "by its own name"

    @worker.handler("")
    def nameless(job: Job) -> str:
        return "without a name"

    assert results(svc, worker, "plain", "empty", "other", "") == [
        "by the function's name",
        "by the function's name, too",
        "by its own name",
        "without a name",
    ]
    assert plain.__name__ == "plain"
    assert named.__name__ == "named"


def test_a_function_may_handle_several_names(svc: JobService, worker: Worker) -> None:
    assert worker.handler("a")(handle) is handle
    assert worker.handler("b")(handle) is handle
    assert results(svc, worker, "a", "b") == ["handled a", "handled b"]


def test_the_default_handles_all_other_names(svc: JobService, worker: Worker) -> None:
    worker.handler("a")(lambda job: "its own")
    assert worker.default(handle) is handle
    assert results(svc, worker, "a", "b", "") == ["its own", "handled b", "handled "]


def test_a_default_may_have_a_time_limit(svc: JobService, worker: Worker) -> None:
    assert worker.default(time_limit=5)(handle) is handle
    assert results(svc, worker, "b") == ["handled b"]


def test_callables_of_every_kind_are_handlers(svc: JobService, worker: Worker) -> None:
    async def coroutine(job: AsyncJob, said: str) -> str:
        return said

    def with_more(job: Job, said: str = "by default", *rest: Any) -> str:
        return said

    handlers: dict[str, Callable[[Any], Any]] = {
        "object": Method(),
        "bound method": Method().method,
        "async object": Coroutine(),
        "partial": functools.partial(with_more, said="bound before"),
        "async partial": functools.partial(coroutine, said="bound and awaited"),
        "partial object": functools.partial(Coroutine()),
        "more": with_more,
        "lambda": lambda job: "lambda",
    }
    for name, handler in handlers.items():
        worker.handler(name)(handler)
    worker.handler(Method().method)
    assert results(svc, worker, *handlers, "method") == [
        "called",
        "bound",
        "awaited",
        "bound before",
        "bound and awaited",
        "awaited",
        "by default",
        "lambda",
        "bound",
    ]


def test_a_partial_has_the_name_of_its_function(svc: JobService, worker: Worker) -> None:
    worker.handler(functools.partial(functools.partial(handle)))
    assert results(svc, worker, "handle") == ["handled handle"]


def generator(job: Job) -> Iterator[int]:
    yield 1


async def async_generator(job: AsyncJob) -> AsyncIterator[int]:
    yield 1


class GeneratorObject:
    def __call__(self, job: Job) -> Iterator[int]:
        yield 1


def nothing_taken() -> None: ...


def too_many_bound(text: str) -> None: ...


def too_much(job: Job, more: str) -> None: ...


def keyword(job: Job, *, more: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (generator, "test_registration.generator is a generator, so calling it runs nothing"),
        (async_generator, "is a generator"),
        (functools.partial(generator), "is a generator"),
        (GeneratorObject(), "is a generator"),
        (nothing_taken, "cannot be called with a job alone: too many positional arguments"),
        (Method().not_enough, "cannot be called with a job alone"),
        (too_much, "cannot be called with a job alone: missing a required argument: 'more'"),
        (keyword, "cannot be called with a job alone: missing a required"),
        (functools.partial(too_many_bound, "x"), "cannot be called with a job alone"),
        (None, "a handler must be a function of a job, not NoneType"),
        ("handle", "a handler must be a function of a job, not str"),
    ],
)
def test_what_cannot_handle_a_job_is_refused(worker: Worker, function: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        worker.handler("a")(function)
    if function is not None:
        with pytest.raises(TypeError, match=why):
            worker.default(function)
    with pytest.raises(ConfigError, match="this worker has no handlers"):
        worker.run()


def test_who_has_no_name_has_to_be_given_one(worker: Worker) -> None:
    functions: list[Any] = [lambda job: None, Method(), 5, functools.partial(Method())]
    for function in functions:
        with pytest.raises(TypeError, match="has no name to register it by"):
            worker.handler(function)


@pytest.mark.parametrize(
    ("name", "time_limit", "error"),
    [
        ("n" * 256, None, ValueError),
        ("\ud800", None, ValueError),
        ("a", 0, ValueError),
        ("a", -1, ValueError),
        ("a", float("nan"), ValueError),
        ("a", "5", TypeError),
        ("a", True, TypeError),
    ],
)
def test_bad_arguments_of_a_handler_register_nothing(
    worker: Worker, name: str, time_limit: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        worker.handler(name, time_limit=time_limit)(handle)
    with pytest.raises(ConfigError):
        worker.run(burst=True)


def test_a_name_has_one_handler(svc: JobService, worker: Worker) -> None:
    worker.handler("a")(handle)
    worker.default(handle)
    with pytest.raises(ValueError, match=r"jobs named 'a' have a handler already: .*test_registration\.handle"):
        worker.handler("a")(lambda job: "another")
    with pytest.raises(ValueError, match=r"there is a default handler already: .*test_registration\.handle"):
        worker.default(lambda job: "another")
    assert results(svc, worker, "a", "b") == ["handled a", "handled b"]


def test_a_worker_without_handlers_does_not_run(svc: JobService, worker: Worker) -> None:
    id = svc.enqueue("t")
    for begin in (worker.run, worker.start):
        with pytest.raises(ConfigError, match=r"no handlers: register a function with @worker\.handler or"):
            begin()
        assert not worker.is_running
    assert svc.status(id) is Status.READY
    worker.stop()


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"topics": []}, ValueError, "at least one topic"),
        ({"topics": "no spaces"}, InvalidTopic, "not allowed"),
        ({"topics": ["a", 5]}, TypeError, "topic"),
        ({"topics": None}, TypeError, "topics"),
        ({"topics": b"t"}, TypeError, "topic"),
        ({"concurrency": 0}, ValueError, "concurrency must be from 1 to 10000, not 0"),
        ({"concurrency": 10_001}, ValueError, "concurrency"),
        ({"concurrency": 2.0}, TypeError, "concurrency"),
        ({"concurrency": True}, TypeError, "concurrency"),
        ({"executor": "fibers"}, ValueError, "executor must be 'thread' or 'process', not 'fibers'"),
        ({"executor": None}, ValueError, "executor"),
        ({"lease": 0}, ValueError, "lease"),
        ({"lease": -1}, ValueError, "lease"),
        ({"lease": None}, TypeError, "lease"),
        ({"lease": float("inf")}, ValueError, "lease"),
        ({"grace": -1}, ValueError, "grace"),
        ({"grace": "30"}, TypeError, "grace"),
        ({"observer": object()}, TypeError, "observer must be a jobq.Observer"),
        ({"observer": Observer}, TypeError, "observer must be a jobq.Observer"),
        ({"observer": [Observer(), None]}, TypeError, "observer must be a jobq.Observer.* not NoneType"),
        ({"max_jobs": 5}, ValueError, "max_jobs is for executor='process'"),
        ({"max_jobs": 0, "executor": "process"}, ValueError, "max_jobs"),
        ({"max_jobs": 1.5, "executor": "process"}, TypeError, "max_jobs"),
        ({"svc": "memory://"}, TypeError, "a Worker takes a JobService, not str"),
    ],
)
def test_bad_arguments_of_a_worker(
    svc: JobService, arguments: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        Worker(**{"svc": svc, "topics": "t", **arguments})
    assert svc.topics() == []


@pytest.mark.parametrize("flag", [1, None, "yes"])
def test_flags_are_bools(worker: Worker, flag: Any) -> None:
    worker.default(handle)
    with pytest.raises(TypeError, match="burst"):
        worker.run(burst=flag)
    with pytest.raises(TypeError, match="wait"):
        worker.stop(wait=flag)
    with pytest.raises(TypeError, match="force"):
        worker.stop(force=flag)
    assert not worker.is_running


def test_a_worker_runs_once_at_a_time(svc: JobService, worker: Worker) -> None:
    worker.default(handle)
    with running(worker):
        assert worker.is_running
        for begin in (worker.run, worker.start):
            with pytest.raises(JobqError, match=r"<Worker of 't': 1 × thread, .*> runs already: stop it first"):
                begin()
    assert not worker.is_running


def test_a_worker_that_stopped_can_run_again(svc: JobService, worker: Worker) -> None:
    worker.default(handle)
    for _ in range(3):
        with running(worker):
            svc.wait_for(svc.enqueue("t"), None)
        assert results(svc, worker, "again") == ["handled again"]


def test_handlers_are_registered_before_it_runs(svc: JobService, worker: Worker) -> None:
    worker.handler("a")(handle)
    with running(worker):
        for register in (worker.handler("b"), worker.default):
            with pytest.raises(JobqError, match="runs: register its handlers before that"):
                register(handle)
    assert results(svc, worker, "a", "b")[0] == "handled a"
    assert results(svc, worker, "b")[0].startswith("no handler for jobs named 'b'")
    worker.handler("b")(handle)
    assert results(svc, worker, "b") == ["handled b"]


def test_a_worker_says_what_it_is_and_cannot_be_pickled(svc: JobService) -> None:
    worker = jobq.Worker(svc, ["high", "default", "high"], concurrency=8)
    assert repr(worker) == f"<Worker of 'high', 'default': 8 × thread, {svc!r}>"
    with pytest.raises(TypeError, match="make one in the process that runs it"):
        pickle.dumps(worker)


def test_a_worker_can_be_configured_before_it_runs(svc: JobService) -> None:
    worker = Worker(svc, "t", concurrency=2, executor="process", max_jobs=5)
    assert worker.service is svc
    worker.configure(topics=["u", "v"], concurrency=8)
    assert repr(worker) == "<Worker of 'u', 'v': 8 × process, <JobService of memory://>>"
    worker.configure()
    assert repr(worker) == "<Worker of 'u', 'v': 8 × process, <JobService of memory://>>"
    worker.configure(executor="thread", lease=timedelta(seconds=5), grace=0)
    worker.default(handle)
    for topic in ("t", "u"):
        svc.enqueue(topic)
    worker.run(burst=True)
    assert (svc.stats("t").done, svc.stats("u").done) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"concurrency": 0}, ValueError, "concurrency must be from 1 to 10000, not 0"),
        ({"concurrency": 3, "lease": 0.01}, ValueError, "the lease of a worker must be at least 0.1 seconds"),
        ({"concurrency": 3, "topics": []}, ValueError, "topics must name at least one topic"),
        ({"concurrency": 3, "topics": "a b"}, InvalidTopic, "topic 'a b' is not allowed"),
        ({"concurrency": 3, "executor": "fork"}, ValueError, "executor must be 'thread' or 'process', not 'fork'"),
        ({"concurrency": 3, "grace": "5"}, TypeError, "grace"),
        ({"concurrency": 3, "max_jobs": 5}, ValueError, "max_jobs is for executor='process'"),
        ({"executor": "thread", "max_jobs": 5}, ValueError, "max_jobs is for executor='process'"),
    ],
)
def test_a_wrong_setting_leaves_a_worker_as_it_was(
    worker: Worker, arguments: dict[str, Any], error: type[Exception], why: str
) -> None:
    before = repr(worker)
    with pytest.raises(error, match=why):
        worker.configure(**arguments)
    assert repr(worker) == before


def test_a_worker_that_runs_is_not_changed(svc: JobService, worker: Worker) -> None:
    worker.default(handle)
    with running(worker), pytest.raises(JobqError, match="runs: stop it before it is changed"):
        worker.configure(concurrency=2)
    worker.configure(concurrency=2)
    assert "2 × thread" in repr(worker)
