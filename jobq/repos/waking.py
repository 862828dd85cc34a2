"""Waking the threads of this process that wait for a job.

Everything here may be called from a signal handler that interrupts the same thread in the middle of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from jobq import lifecycle
from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.ports import Clock, Move


class Ring:
    """A flag that one thread waits for, as threading.Event is, but safe to set where a signal handler interrupts.

    A plain lock, released while the flag is set. (An Event has a lock that a handler could find held by its own
    thread; a SimpleQueue's timed `get`, in CPython 3.11, waits for ever if a signal arrives as its time is up.)
    """

    def __init__(self) -> None:
        self._unset = threading.Lock()
        self._unset.acquire()

    def set(self) -> None:
        """Set the flag, and wake who waits for it."""
        with suppress(RuntimeError):  # it is set already
            self._unset.release()

    def is_set(self) -> bool:
        """Whether it is set."""
        return not self._unset.locked()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set (True) or `timeout` seconds have passed (False); it stays set."""
        if not self._unset.acquire(timeout=-1 if timeout is None else max(0, timeout)):
            return False
        self.set()
        return True

    def clear(self) -> None:
        """Take the flag back."""
        self._unset.acquire(blocking=False)


class Waiter:
    """One waiting thread: a flag, and the steady time up to which it means to sleep; 0 while it does not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.event = Ring()
        self.until = 0

    def wait(self, timeout: float) -> None:
        """Sleep until rung, at most `timeout` seconds."""
        self.until = self._clock.steady() + int(timeout * SECOND)
        self.nap(timeout)
        self.until = 0

    def nap(self, timeout: float) -> bool:
        """Sleep for a part of the time up to `until`; says whether it was rung, and is ready to be rung again."""
        rung = self._clock.wait(self.event, timeout)
        if rung:
            self.event.clear()
        return rung


class Bell:
    """Who waits for which topic. Ringing sets flags only, so it may be done by any thread after any commit."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._waiters: dict[str, set[Waiter]] = {}

    @contextmanager
    def watch(self, topics: Sequence[str]) -> Iterator[Waiter]:
        """Be woken for these topics until the context is left."""
        waiter = Waiter(self._clock)
        with self._lock:
            for topic in topics:
                self._waiters.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                for topic in topics:
                    waiters = self._waiters[topic]
                    waiters.discard(waiter)
                    if not waiters:
                        del self._waiters[topic]

    def ring_for(self, moves: Iterable[Move], resumed: Iterable[str], now: Now) -> None:
        """Wake those whom these committed moves and resumed topics give something before they wake by themselves."""
        if not self._waiters:
            return
        soonest = dict.fromkeys(resumed, now.steady)
        for _, place in moves:
            if place is not None and (at := lifecycle.available_at(place, now)) is not None:
                soonest[place.topic] = min(at, soonest.get(place.topic, at))
        with self._lock:
            for topic, at in soonest.items():
                for waiter in list(self._waiters.get(topic, ())):
                    # A waiter that is not asleep may have looked before the commit.
                    if not waiter.until or at < waiter.until:
                        waiter.event.set()

    def ring_all(self) -> None:
        """Wake everybody."""
        with self._lock:
            for waiters in list(self._waiters.values()):
                for waiter in list(waiters):
                    waiter.event.set()
