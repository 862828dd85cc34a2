"""Calling a handler, and reading what becomes of its job from how it ended."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

from jobq.job import Job, outcome_of
from jobq.outcomes import Done, Outcome, Release, Retry
from jobq.worker.handlers import Function, label


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
