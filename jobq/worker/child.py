"""What a child process of a worker does: it runs the handlers that its parent names, one after the other.

Parent and child speak through a pipe: the parent sends tasks, the child asks for what handlers want from their job, and
sends how each ended. Nothing that a handler returns or raises is sent as the object it is, as the parent may not know
its class.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from multiprocessing import connection, parent_process
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any, NamedTuple

from jobq import errors, inputs
from jobq.errors import JobqError, LeaseLost
from jobq.job import Job, lost_message
from jobq.model.records import Record
from jobq.model.requests import UNSET, NewJob
from jobq.model.status import CancelReason
from jobq.model.times import Seconds
from jobq.model.views import Exchange, JobInfo
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry
from jobq.worker.calling import Answer, answer, call, end_fork, failure
from jobq.worker.signals import SIGNALS

References = dict[str | None, tuple[str, str, bool]]
"""Of each handler's name: its module, its name therein, and whether it is a coroutine function."""


BEGUN = b""
"""What the child says first of a task, so that no job has to pay for a child that was dead when it got it."""


class Task(NamedTuple):
    """A job, and the name of its handler."""

    handler: str | None
    record: Record
    payload: bytes
    deadline: datetime
    lease: int


class Question(NamedTuple):
    """What a handler wants from its job: a verb of Job, or an outcome."""

    verb: str
    arguments: tuple[Any, ...] = ()
    outcome: Outcome | None = None


class Reply(NamedTuple):
    """What the parent says to a question.

    A value and the job's deadline; or the name of an error, its message, and its other attributes.
    """

    value: Any = None
    deadline: datetime | None = None
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


def send(pipe: connection.Connection, what: Task | Question | Reply | Report | Ready) -> None:
    """Send it. (The pipe's own pickler takes twice as long.)"""
    pipe.send_bytes(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))


def receive(pipe: connection.Connection) -> Any:
    """What was sent. Raises EOFError if the other side is gone."""
    return pickle.loads(pipe.recv_bytes())


def main(pipe: connection.Connection, references: References) -> None:
    """Run tasks until the parent closes the pipe."""
    _leave_signals_to_parent()
    os.register_at_fork(after_in_child=pipe.close)  # or the parent would not notice the death of this process
    threading.Thread(target=_end_with_parent, name="jobq-parent", daemon=True).start()
    try:
        functions = {name: _import(module, path) for name, (module, path, _) in references.items()}
    except Exception as problem:
        send(pipe, Ready(f"{type(problem).__name__}: {problem}"))
        return
    send(pipe, Ready())
    while True:
        try:
            task: Task = receive(pipe)
        except EOFError:
            return
        pipe.send_bytes(BEGUN)
        parent = Parent(pipe)
        job = Job(parent, task.record, task.payload, task.deadline, task.lease)
        is_async = references[task.handler][2]
        said = _run(functions[task.handler], job) if is_async else call(functions[task.handler], job)
        parent.tell(_report(said))


def _leave_signals_to_parent() -> None:
    """Survive what a terminal and a service manager send to every process: it is the parent who decides.

    The signals are not ignored, as programs that a handler begins would then ignore them, too.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def hear(number: int, frame: FrameType | None) -> None: ...

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, hear)
    os.register_at_fork(after_in_child=restore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _import(module: str, path: str) -> Callable[[Job], Any]:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    function: Callable[[Job], Any] = found
    return function


def _run(function: Callable[[Job], Any], job: Job) -> Answer:
    pid = os.getpid()

    async def awaited() -> Any:
        try:
            result = await function(job)
        except BaseException as error:
            end_fork(pid, error)  # here, as a fork that ends its loop would disturb that of this process
            raise
        end_fork(pid)
        return result

    try:
        return answer(function, asyncio.run(awaited()))
    except BaseException as error:
        end_fork(pid, error)
        return failure(error)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _report(said: Answer) -> bytes:
    """What can be sent of it, as it is sent."""
    try:
        return _pickled(Report(plain(said.outcome), said.was_returned))
    except (TypeError, ValueError) as problem:
        if said.was_returned:
            return _pickled(Report(Done(), was_returned=True, dropped=str(problem)))
        refused = f"its outcome {type(said.outcome).__name__} was refused: {type(problem).__name__}: {problem}"
        return _pickled(Report(Retry(error=refused)))


def _pickled(message: Report | Question) -> bytes:
    """Raises TypeError for what cannot be pickled."""
    try:
        return bytes(ForkingPickler.dumps(message))
    except Exception as problem:
        raise TypeError(f"this cannot be sent to the worker: {problem}") from problem


def plain(outcome: Outcome) -> Outcome:
    """The same outcome of nothing but plain values: errors are texts. Raises TypeError and ValueError."""
    if isinstance(outcome, Done):
        result = json.loads(inputs.encoded_json(outcome.result, "result"))
        then = outcome.then if isinstance(outcome.then, NewJob) else [_plain_job(job) for job in outcome.then]
        return Done(result, then=_plain_job(then) if isinstance(then, NewJob) else then)
    if isinstance(outcome, Retry):
        return Retry(outcome.delay, run_at=outcome.run_at, error=outcome.error and inputs.error(outcome.error))
    if isinstance(outcome, Release):
        return Release(outcome.delay)
    if isinstance(outcome, Reject):
        return Reject(outcome.error and inputs.error(outcome.error), reason=outcome.reason)
    if isinstance(outcome, Cancel):
        return Cancel(outcome.note)
    raise TypeError(f"an outcome must be Done, Retry, Release, Reject or Cancel, not {type(outcome).__name__}")


def _plain_job(job: NewJob) -> NewJob:
    if not isinstance(job, NewJob):
        return job  # it is for the parent to say what is wrong
    job = copy.copy(job)
    if isinstance(job.payload, memoryview):
        job.payload = bytes(job.payload)
    if job.json is not UNSET:
        job.json = json.loads(inputs.encoded_json(job.json, "json"))
    return job


class Parent:
    """What a Job in the child has for its service: the parent does what is asked. Threads of a handler may share it.

    A thread that goes on after its handler has ended is told that the reservation is over.
    """

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._is_over = False

    def tell(self, report: bytes) -> None:
        """Say how the handler ended; nothing can be asked any more."""
        with self._lock:
            self._is_over = True
            self._pipe.send_bytes(report)

    def done(self, jobs: Job, result: Any = None) -> None:
        """See Holder."""
        self._settle(jobs, Done(result))

    def retry(
        self,
        jobs: Job,
        delay: Seconds | None = None,
        *,
        run_at: datetime | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """See Holder."""
        self._settle(jobs, Retry(delay, run_at=run_at, error=error))

    def release(self, jobs: Job, delay: Seconds = 0) -> None:
        """See Holder."""
        self._settle(jobs, Release(delay))

    def reject(
        self, jobs: Job, error: str | BaseException | None = None, *, reason: CancelReason = CancelReason.REJECTED
    ) -> None:
        """See Holder."""
        self._settle(jobs, Reject(error, reason=reason))

    def extend(self, jobs: Job, seconds: Seconds | None = None) -> None:
        """See Holder."""
        reply = self._ask(jobs, Question("extend", (seconds,)))
        jobs.deadline = reply.deadline or jobs.deadline

    def exchange(self, outcomes: Iterable[tuple[Job, Outcome]]) -> Exchange[Job]:
        """See Holder: of one job."""
        [(job, outcome)] = outcomes
        try:
            ids = self._settle(job, outcome)
        except LeaseLost:
            return Exchange([], [], [job])
        return Exchange([], ids, [])

    def get(self, id: int) -> JobInfo:
        """See Holder: of the job itself."""
        info: JobInfo = self._ask(None, Question("info")).value
        return info

    def _log(self, job: Job, message: str) -> None:
        self._ask(job, Question("log", (message,)))

    def _settle(self, job: Job, outcome: Outcome) -> list[int]:
        ids: list[int] = self._ask(job, Question("settle", outcome=plain(outcome))).value
        job._outcome = outcome
        return ids

    def _ask(self, job: Job | None, question: Question) -> Reply:
        message = _pickled(question)
        with self._lock:
            if self._is_over:
                raise LeaseLost(
                    "the handler of this job has ended, and with it the reservation", jobs=[job] if job else []
                )
            self._pipe.send_bytes(message)
            reply: Reply = receive(self._pipe)
        if reply.error == LeaseLost.__name__ and job is not None:
            raise LeaseLost(lost_message([job]), jobs=[job])
        if reply.error:
            raise _error(reply)
        return reply


def _error(reply: Reply) -> Exception:
    kinds = {"TypeError": TypeError, "ValueError": ValueError}
    kind: type[Exception] = getattr(errors, reply.error, None) or kinds.get(reply.error, JobqError)
    error = kind(reply.message)
    vars(error).update(reply.details)
    return error
