"""What `jobq worker --exec` does with a job: it runs a program, and says by its end what becomes of the job."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from jobq.aio import AsyncJob
from jobq.cli.statuses import NOTHING_THERE
from jobq.cli.supervising import SHORTAGES, Ended, Run
from jobq.model.times import seconds
from jobq.outcomes import ERROR_LENGTH, Reject, Release, Retry

T = TypeVar("T")

log = logging.getLogger("jobq.worker")

GIVE_BACK = NOTHING_THERE
"""The exit status by which a program gives its job back, as it cannot be done now: EX_TEMPFAIL."""
SHORTEST = 1.0
"""Seconds for which a job is given back at the least, so that it does not come back all the time."""
FAREWELL = 0.5
"""Seconds that a program which is stopped has until it is killed; a worker waits a second for the end of a handler."""


class Program:
    """A handler that runs a program for each job, never through a shell.

    words: the program and its arguments. environment: variables for it, besides those of this process and of the job.
    Raises ClickException if there is no such program.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self._words = tuple(words)
        self._executable = _found(words[0])
        self._environment = {**os.environb, **_encoded(environment)}

    async def __call__(self, job: AsyncJob) -> None:
        """Run it to its end. If this is cancelled, the program and its process group end first."""
        run = Run(self._words, self._executable, self._environment | _variables(job), job.payload)
        try:
            ended = _in_thread(run.to_its_end)
            how = await _to_its_end(run, ended)
        except OSError as problem:
            self._refuse(job, problem)
        if how is not None:
            _settle(job, how)

    def _refuse(self, job: AsyncJob, problem: OSError) -> NoReturn:
        """Raise what becomes of a job whose program cannot be begun: no failure of it, if it is the worker's own."""
        what = f"{self._executable} cannot be run: {problem.strerror}"
        if problem.errno not in SHORTAGES:
            raise Retry(error=f"{what}{_hint(problem)}") from None
        log.warning("job %d is given back, as %s: run fewer at once (-c), or raise the limit (ulimit)", job.id, what)
        raise _given_back(job) from None


def _found(name: str) -> str:
    found = shutil.which(name)
    if found is not None:
        return os.path.abspath(found)
    if not os.path.isfile(name):
        where = "" if os.path.dirname(name) else ", in any folder of PATH"
        raise click.ClickException(f"there is no program {name}{where}: --exec takes one, and its arguments")
    if os.access(name, os.X_OK):
        raise click.ClickException(f"{name} is no program in PATH: for that in the current folder write ./{name}")
    raise click.ClickException(f"{name} cannot be run, as it is not executable: chmod +x {Path(name).absolute()}")


def _hint(problem: OSError) -> str:
    return " (does a script lack its first line, as #!/bin/sh?)" if problem.errno == errno.ENOEXEC else ""


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): os.fsencode(value) for name, value in variables.items()}


def _variables(job: AsyncJob) -> dict[bytes, bytes]:
    """What a program finds of its job in the environment; in UTF-8, whatever the locale."""
    if "\0" in job.name:
        raise Reject("its name has a zero byte, which no environment variable can have: enqueue it with another name")
    known = {"ID": str(job.id), "TOPIC": job.topic, "NAME": job.name, "ATTEMPT": str(job.attempt)}
    return {f"JOBQ_JOB_{name}".encode(): value.encode() for name, value in known.items()}


def _in_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Call a function in a thread of its own, of which there may be as many as there are jobs at once."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = call()
        except BaseException as problem:
            tell(future.set_exception, problem)
        else:
            tell(future.set_result, result)

    def tell(settle: Callable[..., None], value: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so that nobody waits
            loop.call_soon_threadsafe(settle, value)

    try:
        threading.Thread(target=work, name="jobq-program", daemon=True).start()
    except RuntimeError as problem:  # Python's word for what the system says by a number
        raise OSError(errno.EAGAIN, str(problem)) from problem
    return future


async def _to_its_end(run: Run, ended: asyncio.Future[Ended | None]) -> Ended | None:
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        await _stop(run, ended)
        raise


async def _stop(run: Run, ended: asyncio.Future[Ended | None]) -> None:
    """End the program, if need be by force. Returns when it has ended; a second cancellation only cuts it short."""
    try:
        run.signal(signal.SIGTERM)
        await asyncio.wait([ended], timeout=FAREWELL)
    finally:
        run.signal(signal.SIGKILL)
    await asyncio.wait([ended])
    ended.exception()  # it has been looked at, whatever it is


def _settle(job: AsyncJob, ended: Ended) -> None:
    """Raise what becomes of a job that is not done."""
    if ended.status == GIVE_BACK:
        raise _given_back(job)
    if ended.status:
        raise Retry(error=_error(ended))


def _given_back(job: AsyncJob) -> Release:
    return Release(max(seconds(job.options.min_backoff, "min_backoff"), SHORTEST))


def _error(ended: Ended) -> str:
    """How a program failed, and the end of what it wrote to stderr."""
    what = f"exit status {ended.status}" if ended.status > 0 else f"killed by {_name_of(-ended.status)}"
    said = ended.errors.decode(errors="replace").strip()
    room = ERROR_LENGTH - len(what) - 2
    kept = said if len(said) <= room else f"…{said[1 - room :]}"
    return f"{what}: {kept}" if kept else what


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those for real time
        return f"signal {number}"
