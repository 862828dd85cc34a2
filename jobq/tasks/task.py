"""Task: a function that can be enqueued."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from jobq import inputs
from jobq.job import Job
from jobq.model.options import JobOptions, OptionOverrides, with_overrides
from jobq.model.requests import NewJob, OnDuplicate
from jobq.model.times import LONGEST, Seconds, duration
from jobq.tasks.arguments import Arguments
from jobq.tasks.binding import Binding
from jobq.tasks.codec import Codec
from jobq.tasks.naming import task_name

if TYPE_CHECKING:
    from jobq.aio import AsyncJob

P = ParamSpec("P")
R = TypeVar("R")


class Enqueuer(Generic[P]):
    """Enqueues a task in one way: at one priority, after one delay …, as `Task.options` was told."""

    def __init__(self, arguments: Arguments, binding: Binding, keywords: dict[str, Any]) -> None:
        self._arguments = arguments
        self._binding = binding
        self._keywords = keywords

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._keywords['name']}>"

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        """Enqueue a call with these arguments and return the job's id. See Task.enqueue."""
        return self._binding.get(self._keywords["name"]).enqueue(self.new_job(*args, **kwargs))

    async def enqueue_async(self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        """The same, without blocking the event loop."""
        return await self._binding.get(self._keywords["name"]).enqueue_async(self.new_job(*args, **kwargs))

    def new_job(self, /, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """The call as a NewJob. See Task.new_job."""
        return NewJob(payload=self._arguments.encoded(args, kwargs), **self._keywords)


class Task(Generic[P, R]):
    """A function that can be enqueued, to be run by a Worker; made by `@tasks.task`. Calling it runs it here and now.

    function: the function itself. name: by which workers find it. topic, priority: of its jobs unless `options` says
    otherwise. time_limit: seconds that one may take; None for no limit. handler: what a Worker calls with the job.
    """

    def __init__(
        self,
        function: Callable[..., R],
        binding: Binding,
        codec: Codec,
        topic: str,
        *,
        name: str | None = None,
        priority: int = 0,
        time_limit: Seconds | None = None,
        options: JobOptions | None = None,
        **overrides: Unpack[OptionOverrides],
    ) -> None:
        _check(function)
        functools.update_wrapper(self, function)
        if time_limit is not None:
            duration(time_limit, "time_limit", above_zero=True)
        _check_options(options, overrides)
        self.function: Callable[..., R] = function
        self.name: str = task_name(function, name)
        self.topic: str = inputs.topic(topic)
        self.priority: int = inputs.priority(priority)
        self.time_limit: Seconds | None = time_limit
        self._binding = binding
        self._arguments = Arguments(self.name, function, codec)
        _check_job(function, self._arguments)
        self._options = options
        self._overrides = overrides
        self._enqueuer: Enqueuer[P] = self.options()
        self.handler: Callable[[Any], Any] = _handler(function, self._arguments)

    def __repr__(self) -> str:
        return f"<Task {self.name}{self._arguments} of topic {self.topic!r}>"

    def __reduce__(self) -> str:
        return str(self.function.__qualname__)  # as a function is pickled: by where it is

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now. Raises TypeError if it takes the job, as there is none: see `function`."""
        if self._arguments.job_kind:
            raise TypeError(
                f"{self.name} takes its job first, and there is none here and now: enqueue it, or call "
                f"{self.function.__name__}.function(job, …)"
            )
        return self.function(*args, **kwargs)

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        """Enqueue a call with these arguments and return the job's id.

        Raises TypeError for arguments that the function does not take, or the codec cannot write; ConfigError if the
        tasks are not bound to a queue yet; and what JobService.enqueue raises.
        """
        return self._enqueuer.enqueue(*args, **kwargs)

    async def enqueue_async(self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        """The same, without blocking the event loop."""
        return await self._enqueuer.enqueue_async(*args, **kwargs)

    def new_job(self, /, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """The call as a NewJob, for `enqueue_many`, `exchange` and `Done(then=…)` of any service."""
        return self._enqueuer.new_job(*args, **kwargs)

    def options(
        self,
        *,
        delay: Seconds | None = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        unique_key: str | None = None,
        on_duplicate: OnDuplicate = "raise",
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
        options: JobOptions | None = None,
        **overrides: Unpack[OptionOverrides],
    ) -> Enqueuer[P]:
        """The task enqueued in another way: `send.options(delay=60).enqueue("ada@example.org")`.

        Arguments as in JobService.enqueue; topic and priority are those of the task unless given. options: instead of
        all options of the task; overrides: change single ones.
        """
        keywords = dict(self._overrides) if options is None else {}
        keywords |= overrides
        keywords |= {
            "topic": self.topic if topic is None else topic,
            "priority": self.priority if priority is None else priority,
            "name": self.name,
            "delay": delay,
            "run_at": run_at,
            "unique_key": unique_key,
            "on_duplicate": on_duplicate,
            "headers": headers,
            "options": self._options if options is None else options,
        }
        return Enqueuer(self._arguments, self._binding, keywords)


def _handler(function: Callable[..., Any], arguments: Arguments) -> Callable[[Any], Any]:
    """What a Worker calls with the job, which is an AsyncJob if the function is a coroutine function.

    A child process finds it where the task is, by the name of the function, as the task has its place there.
    """
    kind = arguments.job_kind

    def run(job: Job) -> Any:
        args, kwargs = arguments.decoded(job.payload)
        return function(job, *args, **kwargs) if kind else function(*args, **kwargs)

    async def run_async(job: AsyncJob) -> Any:
        args, kwargs = arguments.decoded(job.payload)
        if not kind:
            return await function(*args, **kwargs)
        return await function(job if kind == "AsyncJob" else job.sync, *args, **kwargs)

    chosen: Callable[[Any], Any] = run_async if inspect.iscoroutinefunction(function) else run
    chosen.__module__ = function.__module__
    chosen.__qualname__ = f"{function.__qualname__}.handler"
    return chosen


def _check(function: Callable[..., Any]) -> None:
    if isinstance(function, Task):
        raise TypeError(
            f"{function.name} is a task already: @tasks.every(…) makes one by itself, or stands above @tasks.task(…)"
        )
    is_named = hasattr(function, "__qualname__") and hasattr(function, "__module__")
    if not callable(function) or inspect.isclass(function) or not is_named:
        hint = f": a name is given as name={function!r}" if isinstance(function, str) else ""
        raise TypeError(f"a task must be a function, not {function!r}{hint}")
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise TypeError(f"{function.__qualname__} is a generator, so calling it runs nothing: a task returns")


def _check_job(function: Callable[..., Any], arguments: Arguments) -> None:
    if arguments.job_kind == "AsyncJob" and not inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{function.__qualname__} cannot await the verbs of an AsyncJob: declare it with async def, or annotate "
            "its first parameter with jobq.Job"
        )


def _check_options(options: JobOptions | None, overrides: OptionOverrides) -> None:
    """Refuse now what the first enqueue would refuse."""
    if options is not None and not isinstance(options, JobOptions):
        raise TypeError(f"options must be JobOptions(…), not {type(options).__name__}")
    widest = JobOptions(min_backoff=0, max_backoff=LONGEST)  # as the service's, which are not known yet, may be
    with_overrides(options or widest, dict(overrides))
