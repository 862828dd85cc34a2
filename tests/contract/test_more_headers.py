"""headers=… of a service gives each new job headers beside its own, in the context of whoever enqueues it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest

import jobq
from jobq import ConfigError, Done, JobService, NewJob, Release, Retry
from tests.conftest import OpenService
from tests.contract.scenes import given, take, unchanged

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="none")


class Numbers:
    """Numbers the jobs that it is asked for, and says in which request they are enqueued."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, job: NewJob) -> dict[str, str]:
        self.asked.append(job.name)
        return {"n": str(len(self.asked)), "request": REQUEST.get()}


@pytest.fixture
def more() -> Numbers:
    return Numbers()


@pytest.fixture
def svc(open_service: OpenService, more: Numbers) -> JobService:
    return open_service(headers=more)


@pytest.fixture(autouse=True)
def _request() -> Iterator[None]:
    token = REQUEST.set("r-1")
    yield
    REQUEST.reset(token)


def test_each_new_job_is_asked_for_once(svc: JobService, more: Numbers) -> None:
    svc.enqueue("t", name="a")
    svc.enqueue_many([NewJob("t", name="b"), NewJob("t", name="c", unique_key="k")])
    svc.exchange(enqueue=NewJob("t", name="d"))
    given(svc, "u", name="e").done(then=[NewJob("t", name="f")])
    given(svc, "u", name="g").release(60, then=NewJob("t", name="h"))
    with given(svc, "u", name="i"):
        raise Done(then=NewJob("t", name="j"))
    assert more.asked == list("abcdefghij")
    numbers = {job.name: job.headers["n"] for job in svc.reserve("t", 20)}
    assert numbers == {name: str(position) for position, name in enumerate(more.asked, 1) if name in "abcdfhj"}


def test_its_own_headers_go_first(svc: JobService) -> None:
    assert given(svc, headers={"n": "own", "x": "y"}).headers == {"n": "own", "x": "y", "request": "r-1"}


@pytest.mark.parametrize("nothing", [None, {}])
def test_it_may_give_none(open_service: OpenService, nothing: dict[str, str] | None) -> None:
    svc = open_service(headers=lambda job: nothing)
    assert given(svc).headers == {}
    assert given(svc, headers={"a": "b"}).headers == {"a": "b"}


@pytest.mark.parametrize("outcome", [Done, Release])
def test_jobs_that_follow_are_asked_for_where_the_outcome_was_made(svc: JobService, outcome: Any) -> None:
    job = given(svc, "u")

    def handler() -> Any:
        REQUEST.set("r-2")
        return outcome(then=[NewJob("t"), NewJob("t")])

    ended = copy_context().run(handler)
    svc.exchange([(job, ended)])
    assert [one.headers["request"] for one in svc.reserve("t", 2)] == ["r-2", "r-2"]
    assert REQUEST.get() == "r-1"


def test_a_replaced_job_gets_other_ones(svc: JobService) -> None:
    svc.enqueue("t", unique_key="k")
    svc.enqueue("t", unique_key="k", on_duplicate="replace")
    assert take(svc).headers["n"] == "2"


def test_a_job_that_is_enqueued_twice_is_asked_for_twice(svc: JobService) -> None:
    job = NewJob("t")
    svc.enqueue_many([job, job])
    svc.enqueue_many([job])
    assert [one.headers["n"] for one in svc.reserve("t", 3)] == ["1", "2", "3"]
    assert job.headers is None


def test_a_swap_asks_too(svc: JobService) -> None:
    id = svc.enqueue("t", payload="a", unique_key="k")
    assert svc._swap(id, b"a", NewJob("t", payload="b", unique_key="k"))
    assert take(svc).headers["n"] == "2"


def test_an_error_of_it_enqueues_nothing(open_service: OpenService) -> None:
    def fail(job: NewJob) -> Mapping[str, str]:
        raise RuntimeError("no context")

    svc = open_service(headers=fail)
    with unchanged(svc), pytest.raises(ConfigError, match=r"headers\(job\) failed: RuntimeError: no context") as raised:
        svc.enqueue("t")
    assert isinstance(raised.value.__cause__, RuntimeError)
    job = open_service().enqueue("u")
    with take(svc, "u"):
        raise Done(then=NewJob("t"))
    assert (svc.status(job), svc.get(job).retry_count) == ("delayed", 1)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("a=b", TypeError, r"the service's headers\(job\) must return a mapping of str to str, not str"),
        ({"a": 1}, TypeError, "headers must be a mapping of str to str, and 'a' is str to int"),
        ({"": "a"}, ValueError, "the name of a header must not be empty"),
        ({"a": "x" * 4_000}, ValueError, "headers must have at most 4000 bytes as JSON"),
    ],
)
def test_what_it_gives_is_checked(open_service: OpenService, given: Any, error: type[Exception], message: str) -> None:
    svc = open_service(headers=lambda job: given)
    with unchanged(svc), pytest.raises(error, match=message):
        svc.enqueue("t")


async def awaited(**how: Any) -> object:
    return await jobq.open_async("memory://", **how)


@pytest.mark.parametrize("opened", [partial(jobq.open, "memory://"), lambda **how: asyncio.run(awaited(**how))])
def test_headers_of_one_job_are_no_function(opened: Callable[..., Any]) -> None:
    message = r"headers must be a function .*, not dict: those of one job are given to enqueue"
    with pytest.raises(TypeError, match=message):
        opened(headers={"a": "b"})


def test_retries_keep_what_was_given_at_first(svc: JobService, more: Numbers) -> None:
    first = given(svc)
    svc.exchange([(first, Retry(0))])
    assert take(svc).headers == first.headers
    assert more.asked == [""]
