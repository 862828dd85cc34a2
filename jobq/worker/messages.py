"""What a worker and its child processes say to each other, through a pipe."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from multiprocessing import connection
from typing import Any, NamedTuple

from jobq.model.records import Record
from jobq.outcomes import Outcome

BEGUN = b""
"""What the child says first of a task, so that no job has to pay for a child that was dead when it got it."""


class Task(NamedTuple):
    """A job, and the name of its handler. deadline: nanoseconds since 1970; lease: nanoseconds."""

    handler: str | None
    record: Record
    payload: bytes
    deadline: int
    lease: int


class Question(NamedTuple):
    """What a handler wants from its job: a verb of Job, or an outcome."""

    verb: str
    arguments: tuple[Any, ...] = ()
    outcome: Outcome | None = None


class Reply(NamedTuple):
    """What the parent says to a question.

    A value and the job's deadline in nanoseconds since 1970; or an error's name, message and other attributes.
    """

    value: Any = None
    deadline: int = 0
    error: str = ""
    message: str = ""
    details: Mapping[str, Any] = {}


class Report(NamedTuple):
    """How a handler ended. dropped: why what it returned cannot be kept, "" if it can."""

    outcome: Outcome
    was_returned: bool = False
    dropped: str = ""


class Ready(NamedTuple):
    """The child is ready for tasks; or, with a problem, it will never be."""

    problem: str = ""


def packed(what: Task | Question | Reply | Report | Ready) -> bytes:
    """It as it is sent. Raises TypeError for what cannot be pickled."""
    try:
        return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)  # the pipe's own pickler takes twice as long
    except Exception as problem:
        raise TypeError(f"this cannot be sent to the worker: {problem}") from problem


def send(pipe: connection.Connection, what: Task | Question | Reply | Report | Ready) -> None:
    """Send it. Raises TypeError for what cannot be pickled."""
    pipe.send_bytes(packed(what))


def receive(pipe: connection.Connection) -> Any:
    """What was sent. Raises EOFError if the other side is gone."""
    return pickle.loads(pipe.recv_bytes())
