"""Tasks: the registry of a program's tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar, Unpack, overload

from jobq import inputs
from jobq.errors import ConfigError
from jobq.job import Job
from jobq.model.options import JobOptions, OptionOverrides
from jobq.model.times import Seconds
from jobq.service import JobService
from jobq.tasks.binding import Binding, ServiceQueue
from jobq.tasks.clerk import Clerk
from jobq.tasks.codec import Codec, JsonCodec
from jobq.tasks.schedule import Schedule, schedule_of
from jobq.tasks.schedules import Schedules
from jobq.tasks.task import Task
from jobq.tasks.ticks import Missed, checked_spec

if TYPE_CHECKING:
    from jobq.aio import AsyncJob, AsyncJobService

P = ParamSpec("P")
R = TypeVar("R")


class _Anything:
    """A type that no parameter is annotated with: what takes one takes any object."""


class TaskDecorator(Protocol):
    """What `tasks.task(…)` returns: it makes a task of a function."""

    # A first parameter that takes anything at all: types cannot tell whether it is for the job.
    @overload
    def __call__(self, function: Callable[Concatenate[_Anything, ...], R], /) -> Task[..., R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Job, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncJob, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., R], /) -> Task[..., R]:
        """Register the function."""
        ...


class Tasks:
    """The tasks of a program, or of a part of it; they are given to a Worker, which runs them.

    topic: where their jobs are enqueued, "" for "default". codec: how arguments travel, by default as JSON.

    Making one opens nothing: `bind` says later to which queue its tasks are enqueued.
    """

    def __init__(self, topic: str = "", *, codec: Codec | None = None) -> None:
        if codec is not None and not (hasattr(codec, "dumps") and hasattr(codec, "loads")):
            raise TypeError(f"codec must have dumps(args, kwargs) and loads(data), as {type(codec).__name__} has not")
        self._topic = inputs.topic(topic)
        self._codec: Codec = JsonCodec() if codec is None else codec
        self._binding = Binding()
        self._by_name: dict[str, Task[..., Any]] = {}
        self._schedules: dict[str, Schedule] = {}

    def __repr__(self) -> str:
        return f"<Tasks of topic {self._topic!r}: {', '.join(sorted(self._by_name)) or 'none'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Tasks cannot be pickled: import the module that has them")

    def __iter__(self) -> Iterator[Task[..., Any]]:
        return iter(list(self._by_name.values()))

    def get(self, name: str) -> Task[..., Any] | None:
        """The task of this name; None if there is none."""
        return self._by_name.get(name)

    # -- the queue

    def bind(self, svc: JobService | AsyncJobService) -> None:
        """Say to which queue the tasks are enqueued, instead of the one before. Raises TypeError for no service."""
        self._binding.queue = ServiceQueue(svc)

    @property
    def service(self) -> JobService | None:
        """The queue to which they are bound; None while there is none, or it was closed."""
        return self._binding.service

    def for_worker(self, svc: JobService) -> list[Task[..., Any]]:
        """The tasks, for a worker of this queue that begins; they are bound to it, unless they are to an open one."""
        self._binding.adopt(svc)
        return list(self)

    def clerk_for(self, svc: JobService, others: Iterable[object]) -> Clerk:
        """Who sees to the schedules of these tasks and of others, for a worker that begins. Raises ConfigError."""
        schedules: dict[str, Schedule] = {}
        for one in (self, *others):
            for name, schedule in one._schedules.items() if isinstance(one, Tasks) else ():
                if schedules.setdefault(name, schedule) is not schedule:
                    raise ConfigError(f"there are two schedules named {name!r}: give one of them another name=")
        return Clerk(svc, schedules)

    # -- registering

    @overload
    def task(self, function: Callable[Concatenate[_Anything, ...], R], /) -> Task[..., R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Job, P], R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[AsyncJob, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        topic: str | None = None,
        priority: int = 0,
        time_limit: Seconds | None = None,
        options: JobOptions | None = None,
        **overrides: Unpack[OptionOverrides],
    ) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
        """Make a task of a function: `@tasks.task`, or `@tasks.task(max_retries=5)`.

        name: by which workers find it, by default module and qualified name of the function. topic: instead of that of
        these tasks. priority, options and overrides: of its jobs, as in JobService.enqueue. time_limit: seconds (above
        0) that one may take; see Worker.handler.
        The function's arguments have to be such as the codec can write. A first parameter annotated `jobq.Job`, or for
        a coroutine function `jobq.AsyncJob`, is given the job, and is no argument of `enqueue`.
        Raises TypeError for what cannot be a task, ValueError for a name that another task has.
        """
        return partial(self._add, **settings) if function is None else self._add(function, **settings)

    def every(
        self,
        spec: str | Seconds,
        *,
        timezone: str = "UTC",
        name: str | None = None,
        missed: Missed = "last",
        grace: Seconds = 60,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        overlap: bool = True,
        tick_as: str | None = None,
    ) -> TaskDecorator:
        """Enqueue a task at each tick: `@tasks.every("*/5 * * * *")`, over a function or over a task.

        spec: cron text, which needs `jobq[cron]`; or seconds (0.01 or more), which tick at their whole multiples since
        1970. timezone: by whose clocks cron text is read. name: of the schedule, by default that of the task; one queue
        has one of a name. missed: which ticks to enqueue for of those that were due while no worker ran: "last", only
        the last one; "all"; or "skip", none that is more than `grace` seconds late. args, kwargs: of the task. overlap:
        False enqueues nothing while a job of this schedule is unfinished. tick_as: the parameter that is given the tick
        as text, in ISO 8601.
        Raises TypeError and ValueError for what is not allowed, ConfigError if the package for cron text is missing.
        """
        checked = checked_spec(spec, timezone)
        settings: dict[str, Any] = {"timezone": timezone, "name": name, "missed": missed, "grace": grace, "args": args}
        settings |= {"kwargs": kwargs, "overlap": overlap, "tick_as": tick_as}

        def register(function: Any, /) -> Any:
            is_new = not isinstance(function, Task)
            task = Task(function, self._binding, self._codec, self._topic) if is_new else function
            schedule = schedule_of(task, checked, **settings)
            if schedule.name in self._schedules:
                raise ValueError(f"there is a schedule named {schedule.name!r} already: give one of them another name=")
            if is_new:
                self._register(task)
            self._schedules[schedule.name] = schedule
            return task

        return register

    @property
    def schedules(self) -> Schedules:
        """The schedules of the queue to which these tasks are bound. Raises ConfigError if they are bound to none."""
        return Schedules(self._binding.get("tasks.schedules").service, self._schedules)

    def _add(self, function: Callable[..., Any], /, *, topic: str | None = None, **settings: Any) -> Task[..., Any]:
        where = self._topic if topic is None else topic
        return self._register(Task(function, self._binding, self._codec, where, **settings))

    def _register(self, task: Task[..., Any]) -> Task[..., Any]:
        other = self._by_name.setdefault(task.name, task)
        if other is not task:
            raise ValueError(
                f"there is a task named {task.name!r} already, {other.function!r}: give one of them another name="
            )
        return task
