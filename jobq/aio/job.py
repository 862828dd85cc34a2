"""The handle of a reserved job, for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from jobq.aio.pool import Pool
from jobq.errors import LeaseLost
from jobq.job import Job
from jobq.model.options import JobOptions
from jobq.outcomes import Outcome

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(verb: Callable[Concatenate[Job, P], T]) -> Callable[Concatenate[AsyncJob, P], Coroutine[Any, Any, T]]:
    """The same verb, awaited."""

    @wraps(verb)
    async def run(self: AsyncJob, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._pool.run(verb, self._job, *args, **kwargs)
        except LeaseLost as lost:
            lost.jobs = [self]
            raise

    return run


class AsyncJob:
    """One reservation of a job, as Job is: the same names, its verbs awaited. None of them blocks the event loop.

    As an asynchronous context manager it settles itself as Job does. That is carried out also if it is cancelled in the
    middle: a block that is left by CancelledError has given the job back.
    """

    __slots__ = ("__weakref__", "_job", "_pool")

    def __init__(self, job: Job, pool: Pool) -> None:
        self._job = job
        self._pool = pool

    def __repr__(self) -> str:
        return f"<Async{repr(self._job)[1:]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncJob) and other._job is self._job

    def __hash__(self) -> int:
        return hash(self._job)

    def __reduce__(self) -> NoReturn:
        self._job.__reduce__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return await self._pool.finish(self._job.__exit__, kind, error, trace)

    @property
    def sync(self) -> Job:
        """The same reservation for code that does not await; its verbs block."""
        return self._job

    done = _awaited(Job.done)
    retry = _awaited(Job.retry)
    release = _awaited(Job.release)
    reject = _awaited(Job.reject)
    cancel = _awaited(Job.cancel)
    extend = _awaited(Job.extend)
    log = _awaited(Job.log)
    info = _awaited(Job.info)
    canceled = _awaited(Job.canceled)

    # -- what is known without asking the storage

    @property
    def id(self) -> int:
        """See Job."""
        return self._job.id

    @property
    def topic(self) -> str:
        """See Job."""
        return self._job.topic

    @property
    def priority(self) -> int:
        """See Job."""
        return self._job.priority

    @property
    def name(self) -> str:
        """See Job."""
        return self._job.name

    @property
    def unique_key(self) -> str | None:
        """See Job."""
        return self._job.unique_key

    @property
    def payload(self) -> bytes:
        """See Job."""
        return self._job.payload

    @property
    def text(self) -> str:
        """See Job."""
        return self._job.text

    def json(self) -> Any:
        """See Job."""
        return self._job.json()

    @property
    def attempt(self) -> int:
        """See Job."""
        return self._job.attempt

    @property
    def retry_count(self) -> int:
        """See Job."""
        return self._job.retry_count

    @property
    def retries_left(self) -> int | None:
        """See Job."""
        return self._job.retries_left

    @property
    def run_at(self) -> datetime:
        """See Job."""
        return self._job.run_at

    @property
    def reserved_at(self) -> datetime:
        """See Job."""
        return self._job.reserved_at

    @property
    def deadline(self) -> datetime:
        """See Job."""
        return self._job.deadline

    @property
    def options(self) -> JobOptions:
        """See Job."""
        return self._job.options

    @property
    def headers(self) -> Mapping[str, str]:
        """See Job."""
        return self._job.headers

    @property
    def settled(self) -> bool:
        """See Job."""
        return self._job.settled

    @property
    def outcome(self) -> Outcome | None:
        """See Job."""
        return self._job.outcome
