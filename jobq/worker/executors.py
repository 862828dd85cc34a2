"""Which executor runs which handler."""

from __future__ import annotations

from typing import Literal

from jobq.model.requests import MoreHeaders
from jobq.worker.executor import Executor, Post
from jobq.worker.handlers import AROUND, Around, Handler, Handlers, reference, reference_or_none
from jobq.worker.threads import PlainSlot, Threads

Kind = Literal["thread", "process"]


class Executors:
    """Threads for functions, and an event loop for coroutines; or child processes for both.

    around, headers: for child processes, what they run around handlers, and for jobs that these have enqueued.
    """

    def __init__(
        self,
        kind: Kind,
        n: int,
        handlers: Handlers,
        max_jobs: int | None,
        post: Post,
        around: Around | None = None,
        headers: MoreHeaders | None = None,
    ) -> None:
        self._n = n
        self._post = post
        self._functions: Executor
        self._coroutines: Executor | None = None
        if kind == "process":
            from jobq.worker.child import Program
            from jobq.worker.children import children

            program = Program(
                {handler.name: (reference(handler.function), handler.is_async) for handler in handlers},
                None if around is None else reference(around, AROUND),
                None if headers is None else reference_or_none(headers),
            )
            self._functions = self._coroutines = children(n, program, max_jobs, post)
        else:
            self._functions = Threads(n, PlainSlot, post)

    def begin(self) -> None:
        """Get ready."""
        self._functions.begin()

    def of(self, handler: Handler) -> Executor:
        """What runs a handler."""
        if not handler.is_async:
            return self._functions
        if self._coroutines is None:
            from jobq.worker.coroutines import EventLoop  # imports asyncio, which not every worker needs

            self._coroutines = EventLoop(self._n, self._post)
        return self._coroutines

    def close(self) -> None:
        """End them; see Executor."""
        self._functions.close()
        if self._coroutines is not None and self._coroutines is not self._functions:
            self._coroutines.close()
