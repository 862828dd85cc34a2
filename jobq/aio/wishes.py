"""What coroutines wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Generic, TypeVar

from jobq.aio.handover import Handover
from jobq.job import Job
from jobq.model.times import Seconds

T = TypeVar("T")


class Wish(Generic[T]):
    """One coroutine's wish. It is granted, or refused, once, by another thread.

    topics: where to wait for it. end: until when, in nanoseconds of the steady clock; None for ever.
    otherwise: what is granted at the end. unwanted: called with what was granted to a coroutine that is cancelled
    before it has it, in the thread of its loop.
    """

    def __init__(self, topics: tuple[str, ...], end: int | None, otherwise: T, unwanted: Callable[[T], object]) -> None:
        self.topics = topics
        self.end = end
        self.otherwise = otherwise
        self._handover = Handover(unwanted)
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[None] = self._loop.create_future()

    def is_open(self) -> bool:
        """Whether it is still wished, and neither granted nor refused; any thread may ask."""
        return self._handover.is_open()

    def grant(self, value: T) -> bool:
        """Fulfil it, or say that nobody wishes it any more."""
        if not self._handover.give(value):
            return False
        self._tell(None)
        return True

    def expire(self) -> None:
        """Its time is over."""
        self.grant(self.otherwise)

    def refuse(self, error: Exception) -> None:
        """Have the coroutine raise an error."""
        self._handover.close()
        self._tell(_own(error))

    async def granted(self) -> T:
        """Wait for it."""
        try:
            await self._answer
            return self._handover.take()
        finally:
            self._handover.close()

    def _tell(self, error: Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._hear, error)
        except RuntimeError:  # the loop was closed just now
            self._handover.close()

    def _hear(self, error: Exception | None) -> None:
        if self._answer.done():
            return
        if error is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(error)


def _own(error: Exception) -> Exception:
    """An error for one coroutine alone, if it can be copied: a traceback grows as it is raised."""
    with suppress(Exception):
        own = copy(error).with_traceback(error.__traceback__)
        own.__cause__ = error.__cause__
        return own
    return error


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
