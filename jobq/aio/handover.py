"""Handing over what a thread got for a coroutine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """What a thread gets for the coroutine that made this, which may be cancelled at any moment, or its loop be closed.

    Either the coroutine takes it, or it is told to the thread that nobody wants it, or `unwanted` is called with it, in
    the thread where the coroutine ends.
    """

    def __init__(self, unwanted: Callable[[T], object]) -> None:
        self._unwanted = unwanted
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._given: list[T] = []
        self._is_over = False

    def is_open(self) -> bool:
        """Whether the coroutine waits for it still; any thread may ask."""
        return not self._is_over and not self._loop.is_closed()

    def give(self, value: T) -> bool:
        """Whether it is accepted, as the first."""
        with self._lock:
            if not self.is_open():
                return False
            self._is_over = True
            self._given.append(value)
            return True

    def take(self) -> T:
        """What was given."""
        return self._given.pop()

    def close(self) -> None:
        """Accept nothing any more; what was given and not taken is unwanted. Whoever made this has to call it."""
        with self._lock:
            self._is_over = True
            left, self._given = self._given, []
        for value in left:
            self._unwanted(value)


class Report(Generic[T]):
    """What a function in a thread calls with how far it is; once nobody waits for that any more, it ends the function.

    tell: called with the same, in that thread.
    """

    def __init__(self, tell: Callable[[T], object] | None) -> None:
        self._tell = tell
        self.is_unwanted = False

    def __call__(self, at: T) -> None:
        """Pass it on. Raises CancelledError if it is unwanted."""
        if self.is_unwanted:
            raise asyncio.CancelledError
        if self._tell is not None:
            self._tell(at)
