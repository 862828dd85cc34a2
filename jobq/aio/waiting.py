"""A thread that waits for what many coroutines wish."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

from jobq.aio.wishes import Wish
from jobq.model.times import SECOND
from jobq.ports import Clock

W = TypeVar("W", bound=Wish[Any])
W_contra = TypeVar("W_contra", bound=Wish[Any], contravariant=True)

IDLE = 10.0
"""Seconds for which the thread is kept when nobody wishes anything."""
LONGEST_WAIT = 3600.0
PATIENCE = 5.0
"""Seconds that the end of the service, or of the program, waits for what is being granted."""


class Granter(Protocol[W_contra]):
    """What listens in topics, and grants wishes of one kind."""

    def grant(self, wishes: Sequence[W_contra]) -> None:
        """Grant what can be granted now."""
        ...

    def wait(self, timeout: float) -> None:
        """Return once more may be granted, `wake` was called, or `timeout` seconds are over."""
        ...

    def wake(self) -> None:
        """End the wait that runs, or else the next one."""
        ...


class WaitingThread(Generic[W]):
    """Grants wishes of one kind, in the order in which they came. The thread is there only while it is needed.

    listen: begins to listen in topics.
    """

    def __init__(self, listen: Callable[[Sequence[str]], AbstractContextManager[Granter[W]]], clock: Clock) -> None:
        self._listen = listen
        self._clock = clock
        self._granting = threading.RLock()  # as the program ends, its thread may come back to close the service
        self._pid = os.getpid()
        self._wishes: list[W] = []
        self._lock = threading.Condition()
        self._granter: Granter[W] | None = None
        self._is_running = False

    def add(self, wish: W) -> None:
        """Take a wish."""
        with self._lock:
            if not self._is_running:
                # A daemon: it must not keep a program from ending, but while it grants.
                threading.Thread(target=self._serve, name="jobq-waiting", daemon=True).start()
                atexit.register(self._rest)
                self._is_running = True
            self._wishes.append(wish)
            self._lock.notify()
            granter = self._granter
        if granter is not None:
            granter.wake()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Wait for what is being granted, and have nothing more granted for as long as this lasts."""
        is_held = self._granting.acquire(timeout=PATIENCE)
        try:
            yield
        finally:
            if is_held:
                self._granting.release()

    def _serve(self) -> None:
        while self._await_wishes():
            try:
                if topics := self._topics():
                    self._serve_topics(topics)
            except Exception as problem:
                for wish in self._open():
                    wish.refuse(problem)

    def _await_wishes(self) -> bool:
        with self._lock:
            if not self._wishes:
                self._lock.wait(IDLE)
            self._is_running = bool(self._wishes)
            if not self._is_running:
                atexit.unregister(self._rest)
            return self._is_running

    def _rest(self) -> None:
        """As the program ends: wait for what is being granted, and have nothing more granted."""
        if self._pid == os.getpid():
            self._granting.acquire(timeout=PATIENCE)

    def _serve_topics(self, topics: tuple[str, ...]) -> None:
        """Grant wishes until other topics are wished; others are woken then for what is left in these."""
        with self._listen(topics) as granter:
            self._granter = granter
            try:
                while True:
                    with self._granting:
                        granter.grant(self._open())
                    left = self._expire()
                    if self._topics() != topics:
                        return
                    granter.wait(left)
            finally:
                self._granter = None

    def _expire(self) -> float:
        """End the wishes whose time is over, and return the seconds until the next one's is."""
        now = self._clock.steady()
        left = LONGEST_WAIT
        for wish in self._open():
            if wish.end is not None and wish.end <= now:
                wish.expire()
            elif wish.end is not None:
                left = min(left, (wish.end - now) / SECOND)
        return left

    def _open(self) -> list[W]:
        with self._lock:
            self._wishes = [wish for wish in self._wishes if wish.is_open()]
            return list(self._wishes)

    def _topics(self) -> tuple[str, ...]:
        return tuple(sorted({topic for wish in self._open() for topic in wish.topics}))
