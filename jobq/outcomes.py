"""What a handler may raise to say what becomes of its job; also what `exchange` takes."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from contextvars import Context, copy_context
from datetime import datetime
from typing import Any

from jobq.model.requests import NewJob
from jobq.model.status import CancelReason
from jobq.model.times import Seconds

ERROR_LENGTH = 8_000
"""Characters of an error that are kept: its first line, and as much of the traceback's end as fits."""


class Outcome(Exception):
    """What becomes of a reserved job. Not an error: raised so that a handler can end anywhere."""

    _context: Context | None = None  # in which it was made, if jobs are to be enqueued with it: others apply it

    def __reduce__(self) -> tuple[Any, ...]:
        kind, arguments, state = type(self), self.args, dict(vars(self))
        state.pop("_context", None)  # cannot be pickled
        return kind, arguments, state


class Done(Outcome):
    """The job is done. result: a JSON value to keep. then: jobs to enqueue in the same commit."""

    def __init__(self, result: Any = None, *, then: NewJob | Iterable[NewJob] = ()) -> None:
        super().__init__(result)
        self.result: Any = result
        self.then: NewJob | Iterable[NewJob] = then
        if type(then) is not tuple or then:
            self._context = copy_context()


class Retry(Outcome):
    """Try again after `delay` seconds or at `run_at`, by default after the job's backoff; `error` says why."""

    def __init__(
        self,
        delay: Seconds | None = None,
        *,
        run_at: datetime | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        super().__init__(delay)
        self.delay: Seconds | None = delay
        self.run_at: datetime | None = run_at
        self.error: str | BaseException | None = error


class Release(Outcome):
    """Give the job back for `delay` seconds, or until `run_at`; does not count as a retry.

    then: jobs to enqueue in the same commit.
    """

    def __init__(
        self, delay: Seconds = 0, *, run_at: datetime | None = None, then: NewJob | Iterable[NewJob] = ()
    ) -> None:
        super().__init__(delay)
        self.delay: Seconds = delay
        self.run_at: datetime | None = run_at
        self.then: NewJob | Iterable[NewJob] = then
        if type(then) is not tuple or then:
            self._context = copy_context()


class Reject(Outcome):
    """The job is a dead letter at once; `error` says why."""

    def __init__(
        self, error: str | BaseException | None = None, *, reason: CancelReason = CancelReason.REJECTED
    ) -> None:
        super().__init__(error)
        self.error: str | BaseException | None = error
        self.reason: CancelReason = reason


class Cancel(Outcome):
    """The job is canceled, with a note."""

    def __init__(self, note: str | None = None) -> None:
        super().__init__(note)
        self.note: str | None = note


def describe(error: BaseException) -> str:
    """Type, message and traceback of an exception, capped at ERROR_LENGTH."""
    summary = "".join(traceback.format_exception_only(error)).strip()[:ERROR_LENGTH]
    if error.__traceback__ is None:
        return summary
    trace = "".join(traceback.format_exception(error)).strip()
    room = ERROR_LENGTH - len(summary) - 8
    return f"{summary}\n\n{trace}" if len(trace) <= room + 6 else f"{summary}\n\n…{trace[-room:] if room > 0 else ''}"
