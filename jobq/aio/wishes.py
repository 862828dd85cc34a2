"""What coroutines wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from jobq.job import Job
from jobq.model.times import Seconds

T = TypeVar("T")


class Wish(Generic[T]):
    """One coroutine's wish. It is granted, or refused, once, by another thread.

    topics: where to wait for it. end: until when, in nanoseconds of the steady clock; None for ever.
    otherwise: what is granted at the end. unwanted: called with what was granted to a coroutine that was cancelled by
    then, in the thread of its loop, or in the granting one if the loop is closed.
    """

    def __init__(self, topics: tuple[str, ...], end: int | None, otherwise: T, unwanted: Callable[[T], object]) -> None:
        self.topics = topics
        self.end = end
        self.otherwise = otherwise
        self._unwanted = unwanted
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()
        self._is_answered = False

    def is_open(self) -> bool:
        """Whether it is still wished, and neither granted nor refused; any thread may ask."""
        return not self._is_answered and not self._future.done()

    def grant(self, value: T) -> None:
        """Fulfil it."""
        self._is_answered = True
        try:
            self._loop.call_soon_threadsafe(self._deliver, value)
        except RuntimeError:  # the loop is closed
            self._unwanted(value)

    def expire(self) -> None:
        """Its time is over."""
        self.grant(self.otherwise)

    def refuse(self, error: Exception) -> None:
        """Have the coroutine raise an error."""
        self._is_answered = True
        try:
            self._loop.call_soon_threadsafe(self._fail, error)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            return

    async def granted(self) -> T:
        """Wait for it."""
        try:
            return await self._future
        except asyncio.CancelledError:
            if self._future.done() and not self._future.cancelled() and self._future.exception() is None:
                self._unwanted(self._future.result())  # it came in the same turn of the loop
            raise

    def _deliver(self, value: T) -> None:
        if self._future.done():
            self._unwanted(value)
        else:
            self._future.set_result(value)

    def _fail(self, error: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(error)


class JobsWish(Wish[list[Job]]):
    """A wish for up to n jobs, reserved with a lease as `reserve` takes it."""

    def __init__(
        self,
        topics: tuple[str, ...],
        n: int,
        lease: Seconds | None,
        end: int | None,
        unwanted: Callable[[list[Job]], object],
    ) -> None:
        super().__init__(topics, end, [], unwanted)
        self.n = n
        self.lease = lease


class EndWish(Wish[None]):
    """A wish to hear when a job of a topic has finished, or is gone, or that the time is over."""

    def __init__(self, topic: str, job_id: int, end: int | None) -> None:
        super().__init__((topic,), end, None, lambda nothing: None)
        self.job_id = job_id
