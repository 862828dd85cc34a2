"""Handlers that are coroutines, on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context

from jobq.aio.job import AsyncJob
from jobq.aio.pool import Pool
from jobq.worker.calling import answer, end_fork, failure
from jobq.worker.executor import Post
from jobq.worker.run import Ending, Run

LAST_WORDS = 0.1
"""Seconds that coroutines which were given up have, to hear that the loop ends."""
ENDING = 1.0
"""Seconds that are waited for the loop to end, which a handler may hold up."""


class EventLoop:
    """Runs up to n coroutines at a time."""

    def __init__(self, n: int, post: Post) -> None:
        self._n = n
        self._post = post
        self._backlog: deque[Run] = deque()
        self._tasks: dict[Run, asyncio.Task[None]] = {}
        self._strays: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = Pool()
        self._is_called = False
        self._is_closing = False

    def begin(self) -> None:
        """See Executor: the loop begins with its first run."""

    def submit(self, run: Run) -> None:
        """See Executor."""
        self._backlog.append(run)
        if not self._is_called:
            self._is_called = True
            self._running_loop().call_soon_threadsafe(self._fill)

    def withdraw(self) -> list[Run]:
        """See Executor."""
        runs: list[Run] = []
        with suppress(IndexError):
            while True:
                runs.append(self._backlog.popleft())
        return runs + [run for run in list(self._tasks) if self._withdraw(run)]

    def _withdraw(self, run: Run) -> bool:
        """Take back a run whose task has not begun, as another one blocks the loop."""
        if run.begun is not None:
            return False
        run.stopped_at = 1  # any time, as this is only a flag: Post.begins, in the loop's thread, then says no
        if run.begun is not None or not run.claim():
            run.stopped_at = 0
            return False
        return True

    def cancel(self, run: Run) -> bool:
        """See Executor."""
        return self.stop(run)

    def stop(self, run: Run) -> bool:
        """See Executor: the coroutine is cancelled."""
        self._running_loop().call_soon_threadsafe(self._cancel, run)
        return True

    def give_up(self, run: Run) -> None:
        """See Executor."""
        self._running_loop().call_soon_threadsafe(self._let_go, run)

    def close(self) -> None:
        """See Executor."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._close, self._loop)
            self._thread.join(ENDING)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._serve, args=[self._loop], name="jobq-loop", daemon=True)
            self._thread.start()
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._is_closing:
                # A task that a handler began may raise SystemExit: the handler has it, and the loop lets it out, too.
                with suppress(SystemExit, KeyboardInterrupt):
                    loop.run_forever()
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left, timeout=LAST_WORDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    # -- in the thread of the loop

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_closing = True
        loop.stop()

    def _fill(self) -> None:
        self._is_called = False
        with suppress(IndexError):
            while len(self._tasks) < self._n:
                run = self._backlog.popleft()
                # In a context of its own: this may be called by the task of another job.
                self._tasks[run] = self._running_loop().create_task(self._serve_one(run), context=Context())

    async def _serve_one(self, run: Run) -> None:
        run.thread = threading.get_ident()
        ending = await self._run(run) if self._post.begins(run) else Ending(run, None)
        self._tasks.pop(run, None)
        self._post.ended(ending if run.claim() else ending._replace(is_late=True))
        self._fill()

    async def _run(self, run: Run) -> Ending:
        function, pid = run.handler.function, os.getpid()
        try:
            result = await function(AsyncJob(run.job, self._pool))
            end_fork(pid)
            said = answer(function, result)
        except BaseException as error:
            end_fork(pid, error)
            if isinstance(error, asyncio.CancelledError) and run.stopped_at:
                return Ending(run, None)
            said = failure(error)
        return Ending(run, said.outcome, was_returned=said.was_returned)

    def _cancel(self, run: Run) -> None:
        task = self._tasks.get(run)
        if task is not None and run.begun is not None:  # else nothing of it has run that could report its end
            task.cancel()

    def _let_go(self, run: Run) -> None:
        if (task := self._tasks.pop(run, None)) is not None:
            self._strays.add(task)  # the loop itself keeps no task alive
            task.add_done_callback(self._strays.discard)
        self._fill()
