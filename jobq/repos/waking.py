"""Waking the threads of this process that wait for a job.

Everything here may be called from a signal handler that interrupts the same thread in the middle of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from jobq import lifecycle
from jobq.errors import JobqError
from jobq.model.records import Now, TopicState
from jobq.model.status import FINISHED_ORDERINGS, Ordering
from jobq.model.times import SECOND
from jobq.ports import Clock, Move, Storage, UnitOfWork
from jobq.ring import Ring

LOOK = 1.0
"""Seconds after which a sleeping waiter looks at the clocks, and at what else may have changed unheard."""
CLOCK_STEP = SECOND // 100
"""Nanoseconds by which the wall clock must have been set, so that a waiter looks for jobs anew."""
EVERYBODY = 2**62
WOKEN = ""
"""Stands among the channels that a waiter was called in for `wake`: no topic has this name."""


class Call(NamedTuple):
    """A call for up to `n` waiters of a channel that sleep beyond the steady time `at`."""

    channel: str
    n: int
    at: int


def channels_of(topics: Sequence[str], *, finished: bool) -> list[str]:
    """The channels of topics: for jobs to reserve, or for jobs that finish or go."""
    return [_ended_in(topic) if finished else topic for topic in topics]


def _ended_in(topic: str) -> str:
    return "=" + topic


def calls_after(
    moves: Iterable[Move], states: Mapping[str, TopicState], now: Now, is_awaited: Callable[[str], bool]
) -> list[Call]:
    """What committed moves and the topics' counters since then call for, in those channels that somebody waits in.

    One waiter for each Ready job: who leaves jobs behind so passes the call on. For what becomes due later and for
    what finishes, everybody.
    """
    calls = [
        Call(topic, state.now[Ordering.READY], now.steady)
        for topic, state in states.items()
        if state.now[Ordering.READY] and not state.paused and is_awaited(topic)
    ]
    soonest: dict[str, int] = {}
    ended: dict[str, None] = {}
    for old, new in moves:
        if new is not None and new.ordering not in FINISHED_ORDERINGS:
            if new.ordering is not Ordering.READY and is_awaited(new.topic):
                at = lifecycle.available_at(new, now) or now.steady
                soonest[new.topic] = min(at, soonest.get(new.topic, at))
        elif old is not None and is_awaited(_ended_in(old.topic)):
            ended[old.topic] = None
    calls += [Call(topic, EVERYBODY, at) for topic, at in soonest.items()]
    return calls + [Call(_ended_in(topic), EVERYBODY, now.steady) for topic in ended]


def unanswered(waiter: Waiter, storage: Storage, is_awaited: Callable[[str], bool]) -> list[Call]:
    """The calls that a waiter who leaves has heard, but whose jobs are still there for others."""
    channels = [channel for channel in waiter.heard | waiter.called if is_awaited(channel)]

    def look(uow: UnitOfWork) -> list[Call]:
        states = {topic: state for topic in channels if (state := uow.topics.state(topic)) is not None}
        return calls_after((), states, uow.now, is_awaited)

    if channels:
        with suppress(JobqError):
            return storage.view(look)
    return []


class Waiter:
    """One waiting thread: a flag, the channels it was called in, and the steady time up to which it sleeps, else 0."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._wall_offset()
        self.event = Ring()
        self.until = 0
        self.called: set[str] = set()
        self.heard: set[str] = set()

    def wait(self, timeout: float, has_changed: Callable[[], bool] = lambda: False, look: float = LOOK) -> None:
        """Sleep until called, at most `timeout` seconds; or until a look, each `look` seconds, finds a change.

        A change is what `has_changed` says is one, and a step of the wall clock, as delays are by that.
        """
        clock = self._clock
        end = self.until = clock.steady() + int(timeout * SECOND)
        while (left := end - clock.steady()) > 0:
            clock.wait(self.event, min(left / SECOND, look))
            self.event.clear()
            if self.called or has_changed() or self._is_clock_set():
                break
        self.until = 0
        # Answered by what is done next. A call that comes from now on is for the time after that.
        self.heard, self.called = self.called, set()

    def wake(self) -> None:
        """See Watch."""
        self.called.add(WOKEN)
        self.event.set()

    def _is_clock_set(self) -> bool:
        offset = self._wall_offset()
        if abs(offset - self._offset) < CLOCK_STEP:
            return False
        self._offset = offset
        return True

    def _wall_offset(self) -> int:
        return self._clock.wall() - self._clock.steady()


class Bell:
    """Who waits in which channel. Calling sets flags only, so it may be done by any thread after any commit."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._waiters: dict[str, dict[Waiter, None]] = {}

    @contextmanager
    def watch(self, channels: Sequence[str], when_left: Callable[[Waiter], None]) -> Iterator[Waiter]:
        """Be called in these channels until the context is left; `when_left` is called then."""
        waiter = Waiter(self._clock)
        try:
            with self._lock:
                for channel in channels:
                    self._waiters.setdefault(channel, {})[waiter] = None
            yield waiter
        finally:
            with self._lock:
                for channel in channels:
                    waiters = self._waiters.get(channel, {})
                    waiters.pop(waiter, None)
                    if not waiters:
                        self._waiters.pop(channel, None)
            when_left(waiter)

    def is_quiet(self) -> bool:
        """Whether nobody waits."""
        return not self._waiters

    def is_awaited(self, channel: str) -> bool:
        """Whether somebody waits in this channel."""
        return channel in self._waiters

    def ring(self, call: Call) -> int:
        """Wake those called for, who has waited longest first; returns how many heard it, or had been woken before."""
        heard = 0
        with self._lock:
            for waiter in list(self._waiters.get(call.channel, ())):  # a handler may begin a wait meanwhile
                if heard >= call.n:
                    break
                # One that is not asleep may have looked before the commit, so it has to look again.
                if not waiter.until or call.at < waiter.until:
                    waiter.called.add(call.channel)
                    waiter.event.set()
                    heard += 1
        return heard

    def ring_all(self) -> None:
        """Wake everybody."""
        with self._lock:
            for channel, waiters in list(self._waiters.items()):
                for waiter in list(waiters):
                    waiter.called.add(channel)
                    waiter.event.set()
