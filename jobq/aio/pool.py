"""Threads in which verbs run, so that none of them holds up an event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16
"""At most: bodies of so many verbs share one commit, and more would only wait for the same lock."""


class Pool:
    """Runs functions in up to 16 threads, begun as they are needed."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="jobq-verb")

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function run, in a copy of the caller's context."""
        context = contextvars.copy_context()
        return self._executor.submit(context.run, partial(function, *args, **kwargs))

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns. If this is cancelled, the function is not called, or it runs to its end."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    async def finish(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what has to be done: it is done even if this is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(function, *args, **kwargs)))
