"""Worker: runs handlers for the jobs of topics."""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, overload

from jobq import inputs
from jobq.errors import JobqError
from jobq.job import Job
from jobq.model.times import Seconds
from jobq.service import JobService
from jobq.worker import checks
from jobq.worker.calling import surrounded
from jobq.worker.executors import Kind
from jobq.worker.handlers import Around, Function, Handlers, default_name
from jobq.worker.moments import Moments
from jobq.worker.observer import Observer
from jobq.worker.setup import Setup
from jobq.worker.signals import stopping_by_signals
from jobq.worker.sources import HandlerSource, clerk, sources
from jobq.worker.stage import Stage
from jobq.worker.work import Work

if TYPE_CHECKING:
    from jobq.aio import AsyncJob

F = TypeVar("F", bound="Callable[[Job], Any] | Callable[[AsyncJob], Coroutine[Any, Any, Any]]")


class Worker:
    """Reserves the jobs of topics, runs a handler for each, and settles it by how the handler ended.

    svc: the queue. topics: one or several, served in the order given. concurrency: how many jobs run at once, 1 to
    10,000. executor: "thread", or "process" for handlers that need Python's lock for long, which are run by child
    processes and have to be importable. lease: seconds (0.1 or more) for which jobs are reserved, and renewed
    after each third of it. grace: seconds that running jobs have to end once the worker was told to stop. observer:
    what is told of each moment; one or several. around: what is run around each handler, in its thread or task: it
    takes what the handler takes, and returns a context manager, whose exceptions are as the handler's. max_jobs: how
    many jobs a child process runs before it is replaced; None for no end. tasks: a Tasks, or several, whose tasks it
    runs, too; those that are not bound to a queue yet are bound to this one.

    A handler that returns has done its job, and what it returns is kept as the result if it is a JSON value. It may
    raise Done, Retry, Release, Reject or Cancel; any other exception retries the job after its backoff.

    `with worker:` starts it in the background, and stops it at the end of the block.
    """

    def __init__(
        self,
        svc: JobService,
        topics: str | Iterable[str],
        *,
        concurrency: int = 1,
        executor: Kind = "thread",
        lease: Seconds = 30,
        grace: Seconds = 30,
        observer: Observer | Iterable[Observer] | None = None,
        around: Around | None = None,
        max_jobs: int | None = None,
        tasks: HandlerSource | Iterable[HandlerSource] = (),
    ) -> None:
        checks.service(svc)
        observers = checks.observers(observer)
        checks.around(around)
        self._svc = svc
        self._setup = Setup.of(
            topics=topics, concurrency=concurrency, executor=executor, lease=lease, grace=grace, max_jobs=max_jobs
        )
        self._moments = Moments(observers, svc.clock)
        self._around = around
        self._sources = sources(tasks)
        self._handlers = Handlers()
        self._lock = threading.Lock()
        self._stage: Stage | None = None

    def __repr__(self) -> str:
        setup = self._setup
        topics = ", ".join(map(repr, setup.topics))
        return f"<Worker of {topics}: {setup.concurrency} × {setup.executor}, {self._svc!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Worker cannot be pickled: make one in the process that runs it")

    def __enter__(self) -> Self:
        """Start it, as `start` does."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and wait for that."""
        self.stop()

    @property
    def service(self) -> JobService:
        """The queue whose jobs it runs."""
        return self._svc

    @property
    def is_running(self) -> bool:
        """Whether it runs, in whichever thread."""
        stage = self._stage
        return stage is not None and stage.pid == os.getpid()

    @property
    def lost_slots(self) -> int:
        """How many handlers were given up and run still, as threads cannot be stopped. Others took their slots."""
        stage = self._stage
        return 0 if stage is None or stage.hand is None else stage.hand.lost_slots

    def configure(
        self,
        *,
        topics: str | Iterable[str] | None = None,
        concurrency: int | None = None,
        executor: Kind | None = None,
        lease: Seconds | None = None,
        grace: Seconds | None = None,
        max_jobs: int | None = None,
    ) -> None:
        """Change what it was made with, before it runs; what is not given, or None, stays as it is.

        Arguments as of Worker; executor="thread" ends max_jobs. Raises TypeError and ValueError for what is not
        allowed, and changes nothing then; JobqError while it runs.
        """
        given: dict[str, Any] = {"topics": topics, "concurrency": concurrency, "executor": executor}
        given |= {"lease": lease, "grace": grace, "max_jobs": max_jobs}
        with self._lock:
            if self.is_running:
                raise JobqError(f"{self!r} runs: stop it before it is changed")
            self._setup = self._setup.changed({name: value for name, value in given.items() if value is not None})

    def observe(self, observer: Observer) -> None:
        """Tell one more observer of each moment, from the next run on. Raises TypeError; JobqError while it runs."""
        [checked] = checks.observers(observer)
        with self._lock:
            if self.is_running:
                raise JobqError(f"{self!r} runs: stop it before it is changed")
            self._moments = self._moments.plus(checked)

    # -- registering handlers

    @overload
    def handler(self, name: F, /) -> F: ...
    @overload
    def handler(self, name: str | None = None, *, time_limit: Seconds | None = None) -> Callable[[F], F]: ...
    def handler(self, name: F | str | None = None, *, time_limit: Seconds | None = None) -> F | Callable[[F], F]:
        """Register what handles the jobs of a name: `@worker.handler`, or `@worker.handler("name", time_limit=20)`.

        name: the jobs' name, by default that of the function. time_limit: seconds (above 0) a job may take. A coroutine
        is then cancelled and a child process killed; a thread cannot be stopped, so its job is failed, and another
        thread takes its place. The function takes the Job, a coroutine function the AsyncJob; it is returned as it is.
        Raises TypeError for what cannot handle a job, ValueError for a name that has a handler already, JobqError while
        the worker runs.
        """
        if name is not None and not isinstance(name, str):
            self._register(default_name(name), name, time_limit)
            return name

        def register(function: F) -> F:
            self._register(default_name(function) if name is None else name, function, time_limit)
            return function

        return register

    @overload
    def default(self, function: F, /) -> F: ...
    @overload
    def default(self, function: None = None, /, *, time_limit: Seconds | None = None) -> Callable[[F], F]: ...
    def default(self, function: F | None = None, /, *, time_limit: Seconds | None = None) -> F | Callable[[F], F]:
        """Register what handles the jobs of all other names: `@worker.default`. Arguments as in `handler`."""

        def register(function: F) -> F:
            self._register(None, function, time_limit)
            return function

        return register if function is None else register(function)

    def _register(self, name: str | None, function: Function, time_limit: Seconds | None) -> None:
        if self.is_running:
            raise JobqError(f"{self!r} runs: register its handlers before that")
        self._handlers.add(name, function, time_limit)

    # -- running

    def run(self, *, burst: bool = False) -> None:
        """Run jobs until it is told to stop, by `stop` or by a signal.

        In the main thread, SIGTERM and SIGINT stop it: the first ends reserving and waits up to `grace` seconds for
        what runs; then, or at the second, what still runs is given back without counting as a retry.
        burst: end as soon as nothing is left to reserve; what is delayed until later, and what another worker holds, is
        not waited for.
        Raises ConfigError if handlers are missing or cannot be run, JobqError if it runs already; ServiceClosed if the
        service was closed meanwhile. Storage errors are observed and waited out.
        """
        inputs.flag(burst, "burst")
        stage = Stage(self._svc.clock, self._moments)
        try:
            self._claim(stage)
            with stopping_by_signals(stage.inbox.press):
                self._work(stage).run(burst=burst)
        finally:
            self._leave(stage)

    def start(self) -> None:
        """Run it in a thread of its own, until `stop`, or until the program ends. Raises what `run` raises at once."""
        stage = Stage(self._svc.clock, self._moments)
        at_exit = partial(self.stop)  # its own, as the next run may begin before this one has unregistered it
        try:
            self._claim(stage)
            if self._setup.executor == "process":
                importlib.import_module("multiprocessing.util")  # ends children at exit: registered before, it is last
            atexit.register(at_exit)
            work = partial(self._work_in_background, stage, at_exit)
            threading.Thread(target=work, name="jobq-worker", daemon=True).start()
        except BaseException:
            atexit.unregister(at_exit)
            self._leave(stage)
            raise

    def stop(self, *, wait: bool = True, force: bool = False) -> None:
        """Stop it, from any thread, as a signal does; if it does not run, do nothing.

        wait: return when it has stopped; not in a handler, which it would wait for. force: as the second signal: give
        back at once what still runs.
        """
        inputs.flag(wait, "wait")
        inputs.flag(force, "force")
        stage = self._stage
        if stage is not None and stage.pid == os.getpid():  # a forked child has none of its threads
            stage.inbox.stop(2 if force else 1)
            if wait and not stage.is_inside():
                stage.wait()

    def _claim(self, stage: Stage, *, is_inline: bool = False) -> None:
        with self._lock:
            if self.is_running:
                raise JobqError(f"{self!r} runs already: stop it first, or make another one")
            tasks = [task for one in self._sources for task in one.for_worker(self._svc)]
            topics = {task.topic for task in tasks}
            if topics and topics.isdisjoint(self._setup.topics):
                self._moments.serves_no_task(self, topics)
            stage.handlers = self._handlers.joined(tasks)
            stage.clerk = clerk(self._sources, self._svc)
            stage.handlers.check(is_for_processes=self._setup.executor == "process", around=self._around)
            if is_inline or self._setup.executor == "thread":
                stage.handlers = stage.handlers.each(partial(surrounded, around=self._around))
            self._stage = stage

    def _leave(self, stage: Stage) -> None:
        if self._stage is stage:
            self._stage = None
        stage.end()

    def _work_in_background(self, stage: Stage, at_exit: Callable[[], None]) -> None:
        try:
            with suppress(Exception):  # it is logged and observed, and there is nobody to raise it to
                self._work(stage).run(burst=False)
        finally:
            self._leave(stage)
            atexit.unregister(at_exit)

    def _drain(self, most: int) -> int:
        """See jobq.testing.drain."""
        stage = Stage(self._svc.clock, self._moments)
        try:
            self._claim(stage, is_inline=True)
            return self._work(stage).run_dry(most)
        finally:
            self._leave(stage)

    def _work(self, stage: Stage) -> Work:
        return Work(self, self._svc, self._setup, self._moments, self._around, stage)
