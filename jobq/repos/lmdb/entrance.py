"""Which threads of this process are in a transaction of an environment, and how one of them keeps the others out.

A signal handler or a finalizer may call a verb in the middle of a transaction of its own thread. Therefore the lock is
reentrant, and who is in a transaction is kept in a set, not in a counter: adding and discarding are not done by half.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jobq.errors import ReentrantCall

Mark = tuple[int, object]
"""A transaction: its thread, and something that is equal to nothing else."""


class Entrance:
    """Where each transaction of an environment goes in and out.

    writing: the writers' lock. inside: the transactions that run. is_writing: whether who has the lock is in the middle
    of something. is_quiet: whether nobody is to go in.
    """

    def __init__(self) -> None:
        self.writing = threading.RLock()
        self.inside: set[Mark] = set()
        self.is_writing = False
        self.is_quiet = False
        self._holders: set[int] = set()

    def check_reentry(self) -> None:
        """Raise ReentrantCall if this thread is in a transaction, for which the writers of other threads may wait."""
        if not self._holders and not self.inside:
            return
        if threading.get_ident() in self._holders or self.holds_this_thread():
            raise ReentrantCall("a verb was called within another one of the same thread: call it later")

    def check_writing(self) -> None:
        """Raise ReentrantCall if this thread, which has the writers' lock, is in the middle of something."""
        if self.is_writing:
            raise ReentrantCall("a verb was called within another one of the same thread: call it later")

    def holds_this_thread(self) -> bool:
        """Whether this thread is in a transaction."""
        me = threading.get_ident()
        return any(thread == me for thread, _ in self.inside.copy())

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the writers' lock, known as a thread that does or is about to."""
        me = threading.get_ident()
        was_holding = me in self._holders
        try:
            self._holders.add(me)
            with self.writing:
                yield
        finally:
            if not was_holding:
                self._holders.discard(me)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Wait until no other thread of this process is in a transaction, and let none begin."""
        with self.holding():
            was_quiet = self.is_quiet
            self.is_quiet = True
            try:
                me = threading.get_ident()
                while any(thread != me for thread, _ in self.inside.copy()):
                    time.sleep(0.0005)  # views are short
                yield
            finally:
                self.is_quiet = was_quiet

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within `quiet`: refuse what a signal handler of this thread calls meanwhile, and let it close nothing."""
        mark = (threading.get_ident(), object())
        try:
            self.is_writing = True
            self.inside.add(mark)
            yield
        finally:
            self.is_writing = False
            self.inside.discard(mark)
