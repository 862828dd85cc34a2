"""What the arguments of a Worker may be."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from jobq import inputs
from jobq.model.times import SECOND, Seconds, duration
from jobq.service import JobService
from jobq.worker.handlers import Around, label
from jobq.worker.observer import Observer

LEAST_LEASE = SECOND // 10


def lease(lease: Seconds) -> int:
    """A lease in nanoseconds. Raises ValueError if it is too short to be renewed in time."""
    nanos = duration(lease, "lease")
    if nanos < LEAST_LEASE:
        raise ValueError(
            f"the lease of a worker must be at least 0.1 seconds, as it has to be renewed in time, not {lease}"
        )
    return nanos


def service(svc: JobService) -> None:
    """Raise TypeError for what is no JobService."""
    if not isinstance(svc, JobService):
        raise TypeError(f"a Worker takes a JobService, not {type(svc).__name__}: jobq.Worker(jobq.open(url), topics)")


def observers(observer: Observer | Iterable[Observer] | None) -> tuple[Observer, ...]:
    """None, one or several. Raises TypeError for what is no Observer."""
    if observer is None:
        return ()
    what = "observer must be a jobq.Observer, made of a class that derives from it, or several of them"
    several = (observer,) if isinstance(observer, Observer) else inputs.several(observer, what)
    for one in several:
        if not isinstance(one, Observer):
            raise TypeError(f"{what}, not {type(one).__name__}")
    return tuple(several)


def around(around: Around | None) -> None:
    """Raise TypeError for what gives no context manager."""
    if around is None:
        return
    if not callable(around):
        raise TypeError(
            f"around must be a function that takes a job and returns a context manager, not {type(around).__name__}"
        )
    if inspect.isgeneratorfunction(around) or inspect.isasyncgenfunction(around):
        raise TypeError(
            f"around gives no context manager, as {label(around)} is a generator: "
            "put @contextlib.contextmanager above it"
        )
    if inspect.iscoroutinefunction(around):
        raise TypeError(
            f"around gives no context manager, as {label(around)} is a coroutine function: put "
            "@contextlib.asynccontextmanager above one that yields"
        )


def executor(executor: str, max_jobs: int | None) -> None:
    """Raise ValueError for an executor that there is not, or that has no child processes to be replaced."""
    if executor not in ("thread", "process"):
        raise ValueError(f"executor must be 'thread' or 'process', not {executor!r}")
    if max_jobs is not None:
        inputs.whole(max_jobs, "max_jobs", least=1, most=2**31)
        if executor != "process":
            raise ValueError("max_jobs is for executor='process': it says when a child process is replaced")
