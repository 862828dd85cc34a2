"""AsyncJobService: the verbs of JobService, awaited. What they do is written there, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, NamedTuple, NoReturn, ParamSpec, Self, TypeVar

from jobq import inputs
from jobq.aio.crew import Crew, crew_of, taken_from
from jobq.aio.handles import plain, plain_pairs
from jobq.aio.handover import Report
from jobq.aio.job import AsyncJob
from jobq.aio.listening import AsyncListener
from jobq.aio.pool import Pool
from jobq.aio.wishes import EndWish, JobsWish
from jobq.errors import LeaseLost, ServiceClosed
from jobq.job import Job
from jobq.model.options import Limits
from jobq.model.requests import NewJob
from jobq.model.times import Seconds, duration
from jobq.model.views import Exchange, JobInfo, MoveProgress
from jobq.outcomes import Outcome
from jobq.ports import Clock
from jobq.service import JobService

P = ParamSpec("P")
T = TypeVar("T")

TURNS = 3
"""Turns of the loop before a service is closed, in which calls that were cancelled just now see what they leave."""


def _awaited(
    verb: Callable[Concatenate[JobService, P], T],
) -> Callable[Concatenate[AsyncJobService, P], Coroutine[Any, Any, T]]:
    """The same verb, awaited."""

    @wraps(verb)
    async def run(self: AsyncJobService, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._crew().pool.run(verb, self._svc, *args, **kwargs)

    return run


def _settling(
    verb: Callable[Concatenate[JobService, Job | Iterable[Job], P], None],
) -> Callable[Concatenate[AsyncJobService, AsyncJob | Iterable[AsyncJob], P], Coroutine[Any, Any, None]]:
    """The same verb of handles, awaited."""

    @wraps(verb)
    async def run(
        self: AsyncJobService, jobs: AsyncJob | Iterable[AsyncJob], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        try:
            await self._crew().pool.run(verb, self._svc, plain(jobs), *args, **kwargs)
        except LeaseLost as lost:
            lost.jobs = self._handles(lost.jobs)
            raise

    return run  # type: ignore[return-value]  # mypy does not see that `jobs` may be given by position


class Wanted(NamedTuple):
    """What a call wants to reserve. timeout (None: for ever) and linger are in nanoseconds."""

    topics: tuple[str, ...]
    n: int
    lease: Seconds | None
    timeout: int | None
    linger: int


class AsyncJobService:
    """A queue for coroutines: the verbs of JobService under the same names, awaited. See there what each does.

    svc: the queue, which code that does not await may use as well; closing this closes it. Verbs run in threads, up to
    16; however many coroutines wait in `reserve`, `exchange`, `jobs` or `wait_for`, one thread more waits for all.

    A verb that is cancelled was either not begun, or is carried out: which of the two is not told. Jobs that a
    cancelled `reserve`, `exchange` or `jobs` has taken are given back at once.
    """

    def __init__(self, svc: JobService) -> None:
        if not isinstance(svc, JobService):
            raise TypeError(
                f"AsyncJobService takes a JobService, not {type(svc).__name__}: for a URL, await jobq.open_async(url)"
            )
        self._svc = svc

    @property
    def sync(self) -> JobService:
        """The queue for code that does not await; its verbs block."""
        return self._svc

    def __repr__(self) -> str:
        return f"<Async{repr(self._svc)[1:]}"

    def __reduce__(self) -> NoReturn:
        self._svc.__reduce__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the service and its storage; coroutines and threads that wait in any of its verbs get ServiceClosed."""
        try:
            for _ in range(TURNS):
                await asyncio.sleep(0)
        finally:
            await Pool().finish(self._svc.close)

    # -- producing

    enqueue = _awaited(JobService.enqueue)
    enqueue_many = _awaited(JobService.enqueue_many)

    # -- consuming

    async def reserve(
        self,
        topics: str | Iterable[str],
        n: int = 1,
        timeout: Seconds | None = 0.0,
        *,
        lease: Seconds | None = None,
        linger: Seconds = 0.0,
    ) -> list[AsyncJob]:
        """See JobService. If it is cancelled, what it took is given back."""
        names = inputs.topics(topics)
        wanted = _wanted(names, n, lease, timeout, linger)
        jobs = await self._taken(partial(self._svc.reserve, names, n, lease=lease), list)
        return self._handles(await self._wait(jobs, wanted))

    def jobs(
        self,
        topics: str | Iterable[str],
        *,
        n: int = 1,
        timeout: Seconds | None = None,
        lease: Seconds | None = None,
    ) -> AsyncGenerator[AsyncJob, None]:
        """Yield reserved jobs one by one, `async for job in asvc.jobs(topics)`. See JobService."""
        names = inputs.topics(topics)
        self._svc.jobs(names, n=n, timeout=timeout, lease=lease)  # refuses what is wrong at once
        return self._yield_jobs(partial(self.reserve, names, n, timeout, lease=lease))

    done = _settling(JobService.done)
    retry = _settling(JobService.retry)
    release = _settling(JobService.release)
    reject = _settling(JobService.reject)
    extend = _settling(JobService.extend)

    async def exchange(
        self,
        outcomes: Iterable[tuple[AsyncJob, Outcome]] = (),
        *,
        enqueue: NewJob | Iterable[NewJob] = (),
        topics: str | Iterable[str] = (),
        n: int = 1,
        timeout: Seconds | None = 0.0,
        lease: Seconds | None = None,
        linger: Seconds = 0.0,
    ) -> Exchange[AsyncJob]:
        """See JobService. If it is cancelled, what it reserved is given back."""
        names = inputs.topics_or_none(topics)
        wanted = _wanted(names, n, lease, timeout, linger)
        verb = partial(self._svc.exchange, plain_pairs(outcomes), enqueue=enqueue, topics=names, n=n, lease=lease)
        done = await self._taken(verb, lambda exchange: exchange.jobs)
        jobs = await self._wait(done.jobs, wanted) if names else []
        return Exchange(self._handles(jobs), done.ids, self._handles(done.lost))

    @asynccontextmanager
    async def listen(self, topics: str | Iterable[str]) -> AsyncIterator[AsyncListener]:
        """See JobService. It has a thread of its own."""
        pool, listening = self._crew().pool, self._svc.listen(topics)
        leave = partial(listening.__exit__, None, None, None)
        listener = await pool.take(listening.__enter__, lambda _: leave())
        try:
            yield AsyncListener(listener)
        finally:
            await pool.finish(leave)

    @property
    def url(self) -> str:
        """Where the queue is, for people to read: it has no password, and need not open it."""
        return self._svc.url

    @property
    def limits(self) -> Limits:
        """What the service accepts."""
        return self._svc.limits

    @property
    def clock(self) -> Clock:
        """The clock of this machine by which the queue waits."""
        return self._svc.clock

    # -- looking

    status = _awaited(JobService.status)
    get = _awaited(JobService.get)
    payload = _awaited(JobService.payload)
    logs = _awaited(JobService.logs)

    async def wait_for(self, id: int, timeout: Seconds | None) -> JobInfo:
        """See JobService."""
        end = self._end(inputs.timeout(timeout))
        info = await self.get(id)
        while info.finished_at is None and (end is None or self.clock.steady() < end):
            wish = EndWish(info.topic, id, end)
            self._crew().ends.add(wish)
            await wish.granted()
            info = await self.get(id)  # which is not finished if it was reset before this look
        return info if info.finished_at is not None else await self._crew().pool.run(self._svc.wait_for, id, 0)

    lookup = _awaited(JobService.lookup)
    find = _awaited(JobService.find)
    dead_letters = _awaited(JobService.dead_letters)
    topics = _awaited(JobService.topics)
    stats = _awaited(JobService.stats)
    next_due = _awaited(JobService.next_due)
    info = _awaited(JobService.info)

    # -- administering

    cancel = _awaited(JobService.cancel)
    reset = _awaited(JobService.reset)
    reschedule = _awaited(JobService.reschedule)
    delete = _awaited(JobService.delete)
    prune = _awaited(JobService.prune)
    clear = _awaited(JobService.clear)
    pause = _awaited(JobService.pause)
    resume = _awaited(JobService.resume)
    verify = _awaited(JobService.verify)
    backup = _awaited(JobService.backup)
    compact = _awaited(JobService.compact)

    async def move_to(
        self,
        other: AsyncJobService,
        *,
        take: bool = False,
        progress: Callable[[MoveProgress], object] | None = None,
    ) -> MoveProgress:
        """See JobService. `progress` is called in a thread. If this is cancelled, the move ends with its next batch."""
        if not isinstance(other, AsyncJobService):
            raise TypeError(f"move_to takes the AsyncJobService to move the jobs to, not {type(other).__name__}")
        report = Report(inputs.function(progress, "progress"))
        try:
            return await self._crew().pool.run(self._svc.move_to, other._svc, take=take, progress=report)
        finally:
            report.is_unwanted = True

    # -- pieces

    def _crew(self) -> Crew:
        return crew_of(self._svc)

    def _handles(self, jobs: Iterable[Job]) -> list[AsyncJob]:
        pool = self._crew().pool
        return [AsyncJob(job, pool) for job in jobs]

    def _end(self, patience: int | None) -> int | None:
        return None if patience is None else self.clock.steady() + patience

    async def _taken(self, verb: Callable[[], T], jobs_of: Callable[[T], list[Job]]) -> T:
        """What a verb that reserves returns; if this is cancelled, the jobs are given back."""
        return await self._crew().pool.take(verb, lambda taken: self._svc._abandon(jobs_of(taken)))

    async def _wait(self, jobs: list[Job], wanted: Wanted) -> list[Job]:
        """Wait for a first job, if there is none, and then for more."""
        taken = list(jobs)
        try:
            if not taken and wanted.timeout != 0:
                taken += await self._wish(wanted, wanted.n, self._end(wanted.timeout))
            if taken and wanted.linger:
                with suppress(ServiceClosed):  # what was taken cannot be given back any more: the caller has it
                    await self._fill_up(taken, wanted)
        except BaseException:
            self._crew().give_back(taken)
            raise
        # By id, as a job whose lease ran out in spite of all may have been taken a second time.
        return list({job.id: job for job in taken}.values())

    async def _fill_up(self, taken: list[Job], wanted: Wanted) -> None:
        """Wait for the jobs that are missing, until half of a lease is over at most."""
        now = self.clock.steady()
        end = now + min(wanted.linger, *(job._lease // 2 for job in taken))
        while len(taken) < wanted.n and now < end:
            more = await self._wish(wanted, wanted.n - len(taken), end)
            now = self.clock.steady()
            end = min([end, *(now + job._lease // 2 for job in more)])
            taken += more

    async def _wish(self, wanted: Wanted, n: int, end: int | None) -> list[Job]:
        crew = self._crew()
        wish = JobsWish(wanted.topics, n, wanted.lease, end, crew.give_back)
        crew.jobs.add(wish)
        return await wish.granted()

    async def _yield_jobs(
        self, reserve: Callable[[], Coroutine[Any, Any, list[AsyncJob]]]
    ) -> AsyncGenerator[AsyncJob, None]:
        with self._crew().ahead() as ahead:
            while jobs := await reserve():
                ahead.extend(jobs)
                while (job := taken_from(ahead)) is not None:
                    yield job


def _wanted(topics: tuple[str, ...], n: int, lease: Seconds | None, timeout: Seconds | None, linger: Seconds) -> Wanted:
    return Wanted(topics, n, lease, inputs.timeout(timeout), duration(linger, "linger"))
