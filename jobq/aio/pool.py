"""Threads in which verbs run, so that none of them holds up an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from jobq.aio.handover import Handover

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16
"""At most: bodies of so many verbs share one commit, and more would only wait for the same lock."""
PATIENCE = 5.0
"""Seconds that closing waits for errands: they may themselves wait for a transaction that is closed from within."""


class Pool:
    """Runs functions in up to 16 threads, begun as they are needed; in a forked child in threads of its own."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="jobq-verb")
        self._errands: set[Future[Any]] = set()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function run, in a copy of the caller's context."""
        if self._pid != os.getpid():
            self._begin()
        context = contextvars.copy_context()
        return self._executor.submit(context.run, partial(function, *args, **kwargs))

    def errand(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The same for what `wait_for_errands` waits for."""
        errand = self.submit(function, *args, **kwargs)
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
        return errand

    def wait_for_errands(self) -> None:
        """Wait until what was to be done by now is done, for a few seconds at most."""
        wait(list(self._errands), PATIENCE)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns. If this is cancelled, the function is not called, or it runs to its end."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    async def finish(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what has to be done: it is done even if this is cancelled."""
        end: Future[T] = Future()
        end.set_running_or_notify_cancel()  # from now on it cannot be cancelled

        def run() -> None:
            try:
                end.set_result(function(*args, **kwargs))
            except BaseException as problem:
                end.set_exception(problem)

        self.errand(run)
        return await asyncio.wrap_future(end)

    async def take(self, function: Callable[[], T], unwanted: Callable[[T], object]) -> T:
        """What a function returns; `unwanted` is called with that, in a thread, too, if this is cancelled meanwhile."""

        def give_back(value: T) -> None:
            with suppress(RuntimeError):  # the program is about to end
                self.errand(unwanted, value)

        def work() -> None:
            value = function()
            if not handover.give(value):
                unwanted(value)

        handover = Handover(give_back)
        try:
            await asyncio.wrap_future(self.errand(work))
            return handover.take()
        finally:
            handover.close()
