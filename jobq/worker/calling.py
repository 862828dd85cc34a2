"""Calling a handler, and reading what becomes of its job from how it ended."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, NamedTuple

from jobq.job import Job, outcome_of
from jobq.outcomes import Cancel, Done, Outcome, Release, Retry
from jobq.worker.handlers import Around, Function, is_coroutine_function, label


class Answer(NamedTuple):
    """What a handler wants. was_returned: whether it is Done with what the handler returned, and not raised."""

    outcome: Outcome
    was_returned: bool = False


def call(function: Function, job: Job) -> Answer:
    """Call a handler that is no coroutine function. This raises nothing, not even what ends programs."""
    pid = os.getpid()
    try:
        result = function(job)
        end_fork(pid)
        return answer(function, result)
    except BaseException as error:
        end_fork(pid, error)
        return failure(error)


def end_fork(pid: int, error: BaseException | None = None) -> None:
    """End this process if it is not the one that called the handler, but a fork, in which the handler ended, too.

    It has the worker's memory, and would take its jobs for its own. It ends without Python's cleaning up, as there may
    be locks that nobody lets go of. pid: of the process that called. error: what the handler raised.
    """
    if os.getpid() == pid:
        return
    status = 1
    try:
        if error is None:
            status = 0
        elif isinstance(error, SystemExit) and isinstance(error.code, int | None):
            status = (error.code or 0) & 0xFF
        elif isinstance(error, SystemExit):
            print(error.code, file=sys.stderr)
        else:
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # it may be closed, or None
                stream.flush()
    finally:
        os._exit(status)


def answer(function: Function, result: Any) -> Answer:
    """What a handler that returned wants. Raises TypeError if what it returned has still to be awaited."""
    if result is not None and inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"{label(function)} returned something to await: declare it with async def")
    return Answer(Done(result), was_returned=True)


def refused(outcome: Outcome, problem: Exception) -> Retry:
    """What becomes of a job whose outcome cannot be applied."""
    return Retry(error=f"its outcome {type(outcome).__name__} was refused: {type(problem).__name__}: {problem}")


def _from_handler(trace: TracebackType | None) -> TracebackType | None:
    """What is left of a traceback without the lines of jobq that lead to the handler, or to the function of a task."""
    while trace is not None and trace.tb_next is not None and _is_ours(trace):
        trace = trace.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).startswith("jobq.")


def failure(error: BaseException) -> Answer:
    """What a handler that raised wants.

    Unlike in a `with job:` block, SystemExit and KeyboardInterrupt are failures as any other: the worker goes on, so a
    job that raises them each time has to come to an end.
    """
    error.__traceback__ = _from_handler(error.__traceback__)
    outcome = outcome_of(error) if isinstance(error, Exception) else Retry(error=error)
    if isinstance(outcome, Done | Release) and isinstance(outcome.then, Iterator):
        try:
            outcome.then = list(outcome.then)  # it may be asked for twice: if another job's outcome is refused
        except Exception as problem:
            return failure(problem)
    return Answer(outcome)


def surrounded(function: Function, around: Around | None) -> Function:
    """The same handler, run within what `around` gives for its job, if there is one.

    Done, Release and Cancel leave that as a return does, for they are no errors. What it keeps from going on up is as
    if the handler had returned nothing.
    """
    if around is None:
        return function
    return _surrounded_coroutine(function, around) if is_coroutine_function(function) else _surrounded(function, around)


def _surrounded(function: Function, around: Around) -> Function:
    @functools.wraps(function)
    def run(job: Any) -> Any:
        end = _End(job)
        with around(job), end:  # type: ignore[union-attr]  # Python itself refuses one that is to be awaited
            end.result = function(job)
        return end.said()

    return run


def _surrounded_coroutine(function: Function, around: Around) -> Function:
    @functools.wraps(function)
    async def run(job: Any) -> Any:
        end, manager = _End(job), around(job)
        if isinstance(manager, AbstractAsyncContextManager):
            async with manager:
                with end:
                    end.result = await function(job)
        else:
            with manager, end:
                end.result = await function(job)
        return end.said()

    return run


class _End:
    """How a handler ended, which its job knows before what is around the handler is left.

    job: as the handler takes it. result: what the handler returned.
    """

    def __init__(self, job: Any) -> None:
        self._job: Job = getattr(job, "sync", job)
        self._pid = os.getpid()
        self._raised: Outcome | None = None
        self.result: Any = None

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        end_fork(self._pid, error)  # here, as what is around the handler is not the fork's to leave
        if error is None:
            self._job._said = Done(self.result)
        elif isinstance(error, Exception):
            self._job._said = outcome_of(error)
        if isinstance(error, Done | Release | Cancel):
            self._raised = error
        return self._raised is not None

    def said(self) -> Any:
        """What the handler returned; or it raises what that raised to say so."""
        if self._raised is not None:
            raise self._raised
        return self.result
