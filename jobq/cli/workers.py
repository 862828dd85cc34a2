"""Making the Worker that `jobq worker` runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from jobq.cli.target import Target
from jobq.cli.telemetry import Tracing
from jobq.errors import StorageNotFound
from jobq.service import JobService
from jobq.settings import Settings
from jobq.tasks import Tasks
from jobq.worker import Worker


@contextmanager
def of_program(
    target: Target,
    settings: Settings,
    words: Sequence[str],
    time_limit: float | None,
    setup: Mapping[str, Any],
    traces: Tracing,
) -> Iterator[Worker]:
    """A worker that runs a program. words: it and its arguments. time_limit: seconds it may run."""
    from jobq.cli.executing import Program  # here, as asyncio takes longer to import than all the rest

    if "topics" not in setup:
        raise click.UsageError("Say which topics the program serves: --exec goes with --topic.")
    program = Program(words, target.environment(settings))
    with target.open(create=True, settings=settings, **traces.queue) as svc:
        worker = Worker(svc, **setup, **traces.worker)
        worker.default(time_limit=time_limit)(program)
        yield worker


@contextmanager
def of_object(
    target: Target,
    settings: Settings,
    found: Worker | tuple[Tasks, ...],
    name: str,
    setup: Mapping[str, Any],
    traces: Tracing,
) -> Iterator[Worker]:
    """The worker itself, or one for tasks; with what the options and the settings say of it."""
    if isinstance(found, Worker):
        traces.check_own(name)
        _check_queue(target, settings, found.service, name)
        found.configure(**setup)
        yield found
        return
    topics = list(dict.fromkeys(task.topic for tasks in found for task in tasks))
    if not topics:
        raise click.ClickException(f"{name} has no tasks: import the modules that register them, with @tasks.task")
    with _queue_of(target, settings, found, name, traces) as svc:
        yield Worker(svc, **{"topics": topics, "tasks": found, **setup}, **traces.worker)


@contextmanager
def _queue_of(
    target: Target, settings: Settings, several: Sequence[Tasks], name: str, traces: Tracing
) -> Iterator[JobService]:
    """The queue to which tasks are bound; if they are to none, that of the options and the settings."""
    bound = {svc.url: svc for tasks in several if (svc := tasks.service) is not None}
    if len(bound) > 1:
        raise click.ClickException(f"{name} are tasks of several queues, {', '.join(bound)}: a worker serves one")
    if not bound:
        with target.open(create=True, settings=settings, **traces.queue) as svc:
            yield svc
        return
    traces.check_own(name)
    for svc in bound.values():
        _check_queue(target, settings, svc, name)
        yield svc


def _check_queue(target: Target, settings: Settings, svc: JobService, name: str) -> None:
    """Refuse a --url, or --queue, that is not the queue which a program has opened itself."""
    if target.url is None and target.queue is None:
        return
    try:
        with target.open(settings=settings) as meant:
            where = meant.url
    except StorageNotFound:
        where = None
    if where != svc.url:
        option = "--url" if target.url is not None else "--queue"
        raise click.ClickException(
            f"{name} has opened its own queue, {svc.url}, and {option} names another one: leave {option} out, or have "
            "the module call jobq.open() without a URL, which then opens the one that is named"
        )
