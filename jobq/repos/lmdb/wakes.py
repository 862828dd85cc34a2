"""Who waits for jobs of a directory, in this process and in others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobq.model.records import Now, TopicState
from jobq.model.times import SECOND
from jobq.ports import Clock, Move
from jobq.repos.lmdb.guarding import check_folder, make_folder
from jobq.repos.lmdb.post import Post
from jobq.repos.waking import LOOK, Bell, Call, Waiter, calls_after

log = logging.getLogger("jobq")

POLL = 0.02
"""Seconds between two looks at what other processes committed, where they cannot call."""


class Wakes:
    """The bell of this process, and the post to others.

    path: the directory. alone: whether no other process has it open. last_change: the number of the last commit.
    """

    def __init__(self, path: Path, clock: Clock, last_change: Callable[[], int], *, alone: bool) -> None:
        self._bell = Bell(clock)
        self._last_change = last_change
        self._post = self._open_post(path / "wake", alone)

    def announce(self, moves: Iterable[Move], states: Mapping[str, TopicState], now: Now) -> None:
        """Wake whom committed moves, and the counters of the topics since then, give something."""
        if self.is_quiet():
            return
        for call in calls_after(moves, states, now, self.is_awaited):
            # What is due later than that, others find as they look at the commits.
            self.call(call, is_for_all=call.at < now.steady + LOOK * SECOND)

    def is_quiet(self) -> bool:
        """Whether nobody waits, in any process."""
        return self._bell.is_quiet() and (self._post is None or self._post.is_quiet())

    def call(self, call: Call, *, is_for_all: bool = True) -> None:
        """Wake waiters of this process, and those of others for what these leave."""
        left = call.n - self._bell.ring(call)
        if left > 0 and is_for_all and self._post is not None:
            self._post.send(call._replace(n=left))

    def ring_all(self) -> None:
        """Wake everybody in this process."""
        self._bell.ring_all()

    def is_awaited(self, channel: str) -> bool:
        """Whether somebody waits in a channel."""
        return self._bell.is_awaited(channel) or (self._post is not None and self._post.is_awaited(channel))

    @contextmanager
    def watch(self, channels: Sequence[str], when_left: Callable[[Waiter], None]) -> Iterator[LmdbWatch]:
        """Be woken until the context is left; `when_left` is called then."""
        with ExitStack() as stack:
            waiter = stack.enter_context(self._bell.watch(channels, when_left))
            is_heard = self._post is not None and stack.enter_context(self._post.listening(channels))
            yield LmdbWatch(waiter, self._last_change, LOOK if is_heard else POLL)

    def close(self) -> None:
        """Stop being called."""
        if self._post is not None:
            self._post.close()

    def disown(self) -> None:
        """Let go, in a forked child, of what it inherited."""
        if self._post is not None:
            self._post.disown()

    def _open_post(self, folder: Path, alone: bool) -> Post | None:
        try:
            make_folder(folder)
            check_folder(folder, folder.lstat())
            if alone:  # what is there was left behind
                for entry in os.scandir(folder):
                    os.unlink(entry)
            return Post(folder, self._bell.ring, self._bell.ring_all)
        except OSError as problem:
            log.debug("%s cannot be used, so waiting for other processes is looking now and then: %s", folder, problem)
            return None


class LmdbWatch:
    """A listener that looks at the number of the last commit, too, in case a call was lost."""

    def __init__(self, waiter: Waiter, last_change: Callable[[], int], look: float) -> None:
        self._waiter = waiter
        self._last_change = last_change
        self._look = look
        self._seen = last_change()

    def wait(self, timeout: float) -> None:
        """See Watch."""
        self._waiter.wait(timeout, self._has_changed, self._look)
        self._seen = self._last_change()

    def wake(self) -> None:
        """See Watch."""
        self._waiter.wake()

    def _has_changed(self) -> bool:
        return self._last_change() != self._seen
