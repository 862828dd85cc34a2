"""What is run around handlers, and given to jobs, as child processes import it, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jobq
from jobq import AsyncJob, Done, Job, NewJob, Reject, Release

CURRENT: ContextVar[str] = ContextVar("CURRENT", default="none")


@contextmanager
def around(job: Job) -> Iterator[None]:
    """Notes in the log of the job how it was entered and left."""
    token = CURRENT.set(f"{job.name} of {job.topic}")
    try:
        yield
    except BaseException as error:
        job.log(f"left by {type(error).__name__}, {said(job)}")
        raise
    else:
        job.log(f"left well, {said(job)}")
    finally:
        CURRENT.reset(token)


def said(job: Job) -> str:
    return type(job.outcome).__name__


@contextmanager
def failing(job: Job) -> Iterator[None]:
    raise ValueError("no database")
    yield


asked: list[str] = []


def where(job: NewJob) -> dict[str, str]:
    """Headers of each new job; notes in this process that it was asked."""
    asked.append(job.name)
    return {"within": CURRENT.get(), "pid": str(os.getpid())}


def returns(job: Job) -> list[Any]:
    return [CURRENT.get(), job.outcome]


async def awaits(job: AsyncJob) -> list[Any]:
    return [CURRENT.get(), job.outcome]


def follows(job: Job) -> None:
    raise Done(then=[NewJob("next", name="follower", headers={"own": "1"})])


def follows_at_once(job: Job) -> None:
    job.done(then=NewJob("next", name="follower"))


def releases(job: Job) -> None:
    raise Release(60)


def cancels(job: Job) -> None:
    raise jobq.Cancel("enough")


def retries(job: Job) -> None:
    raise jobq.Retry(60)


def rejects(job: Job) -> None:
    raise Reject("bad")


def fails(job: Job) -> None:
    raise KeyError("gone")


HANDLERS: list[Callable[[Any], Any]] = [returns, follows, releases, cancels, retries, rejects, fails]
