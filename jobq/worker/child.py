"""What a child process of a worker does: it runs the handlers that its parent names, one after the other.

Parent and child speak through a pipe: the parent sends tasks, the child asks for what handlers want from their job, and
sends how each ended. Nothing that a handler returns or raises is sent as the object it is, as the parent may not know
its class.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing import connection, parent_process
from types import FrameType
from typing import Any, NamedTuple

from jobq.aio.job import AsyncJob
from jobq.aio.pool import Pool
from jobq.job import Job
from jobq.model.requests import MoreHeaders
from jobq.outcomes import Done
from jobq.worker.calling import Answer, answer, call, end_fork, failure, refused, surrounded
from jobq.worker.handlers import Function, Reference
from jobq.worker.messages import BEGUN, Ready, Report, Task, packed, receive, send
from jobq.worker.parent import Parent
from jobq.worker.plain import plain
from jobq.worker.signals import TO_ALL


class Program(NamedTuple):
    """What a child process is to run.

    handlers: by the names of their jobs, and whether it is a coroutine function. around: what is run around each.
    headers: what gives more headers to jobs that handlers have enqueued.
    """

    handlers: Mapping[str | None, tuple[Reference, bool]]
    around: Reference | None = None
    headers: Reference | None = None


def main(pipe: connection.Connection, program: Program) -> None:
    """Run tasks until the parent closes the pipe."""
    _leave_signals_to_parent()
    os.register_at_fork(after_in_child=pipe.close)  # or the parent would not notice the death of this process
    threading.Thread(target=_end_with_parent, name="jobq-parent", daemon=True).start()
    try:
        around = None if program.around is None else _import(program.around)
        headers = None if program.headers is None else _import(program.headers)
        functions = {name: surrounded(_import(one), around) for name, (one, _) in program.handlers.items()}
    except Exception as problem:
        send(pipe, Ready(f"{type(problem).__name__}: {problem}"))
        return
    send(pipe, Ready())
    pool = Pool()
    while True:
        try:
            task: Task = receive(pipe)
        except EOFError:
            return
        pipe.send_bytes(BEGUN)
        parent = Parent(pipe, headers)
        job = Job(parent, task.record, task.payload, task.deadline, task.lease)
        function, is_async = functions[task.handler], program.handlers[task.handler][1]
        said = _run(function, AsyncJob(job, pool)) if is_async else call(function, job)
        parent.tell(_report(said, headers))


def _leave_signals_to_parent() -> None:
    """Survive what a terminal and a service manager send to every process: it is the parent who decides.

    The signals are not ignored, as programs that a handler begins would then ignore them, too; but those that are, as
    SIGHUP under nohup, stay so.
    """
    before = {number: handler for number in TO_ALL if (handler := signal.getsignal(number)) is not signal.SIG_IGN}

    def hear(number: int, frame: FrameType | None) -> None: ...

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, hear)
    os.register_at_fork(after_in_child=restore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_ALL)


def _import(one: Reference) -> Callable[..., Any]:
    module, path = one
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def _run(function: Function, job: AsyncJob) -> Answer:
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


def _report(said: Answer, headers: MoreHeaders | None) -> bytes:
    """What can be sent of it, as it is sent."""
    try:
        return packed(Report(plain(said.outcome, headers), said.was_returned))
    except (TypeError, ValueError) as problem:
        if said.was_returned:
            return packed(Report(Done(), was_returned=True, dropped=str(problem)))
        return packed(Report(refused(said.outcome, problem)))
