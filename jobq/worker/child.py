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
from multiprocessing import connection, parent_process
from types import FrameType
from typing import Any

from jobq.aio.job import AsyncJob
from jobq.aio.pool import Pool
from jobq.job import Job
from jobq.outcomes import Done
from jobq.worker.calling import Answer, answer, call, end_fork, failure, refused
from jobq.worker.handlers import Function
from jobq.worker.messages import BEGUN, Ready, Report, Task, packed, receive, send
from jobq.worker.parent import Parent
from jobq.worker.plain import plain
from jobq.worker.signals import SIGNALS

References = dict[str | None, tuple[str, str, bool]]
"""Of each handler's name: its module, its name therein, and whether it is a coroutine function."""


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
    pool = Pool()
    while True:
        try:
            task: Task = receive(pipe)
        except EOFError:
            return
        pipe.send_bytes(BEGUN)
        parent = Parent(pipe)
        job = Job(parent, task.record, task.payload, task.deadline, task.lease)
        function, is_async = functions[task.handler], references[task.handler][2]
        said = _run(function, AsyncJob(job, pool)) if is_async else call(function, job)
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


def _import(module: str, path: str) -> Function:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    function: Function = found
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


def _report(said: Answer) -> bytes:
    """What can be sent of it, as it is sent."""
    try:
        return packed(Report(plain(said.outcome), said.was_returned))
    except (TypeError, ValueError) as problem:
        if said.was_returned:
            return packed(Report(Done(), was_returned=True, dropped=str(problem)))
        return packed(Report(refused(said.outcome, problem)))
