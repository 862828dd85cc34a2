"""Group commit: the writing verbs of concurrent threads share one write transaction, and with it one fsync.

Each thread takes a seat in a queue. One of them leads: it runs the work of all who sit there in one transaction and
commits it, while the next ones queue up behind. (DeWitt et al. 1984, "Implementation techniques for main memory
database systems", section 5.2.)

Ctrl-C may break in between any two steps of the thread that has it. So nothing here depends on a step that comes after
another: whose turn it is stands in a dict under the seat itself, what became of a transaction in a Fate that all its
seats share, and a waiting thread looks again every LOOK seconds, whoever was to wake it.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import sleep
from typing import Protocol

import lmdb

from jobq.errors import ReentrantCall, ServiceClosed, StorageError
from jobq.repos.lmdb.fate import Fate
from jobq.ring import Ring

LOOK = 0.05
"""Seconds after which a waiting thread looks again."""
WEIGHT = 2_000
"""Jobs written after which a transaction takes no further seats: others wait for the whole of it."""


class Work(Protocol):
    """What one thread wants done within a write transaction."""

    def prepare(self, txn: lmdb.Transaction[bytes], ahead: int) -> int:
        """Read and decide, writing nothing; `ahead`: bytes that this transaction adds already.

        Returns the bytes that `apply` adds, about.
        """
        ...

    def apply(self) -> int:
        """Write what was decided; returns how many jobs."""
        ...

    def announce(self) -> None:
        """Wake who waits for what was committed."""
        ...


class Write(Protocol):
    """Runs work in a write transaction and commits it, as the fate then says."""

    def __call__(self, work: Callable[[lmdb.Transaction[bytes]], object], fate: Fate) -> None:
        """Do so, or leave the fate as it is for the work to be done again; see Environment.write."""
        ...


class Seat:
    """One thread's work, and what became of it. An error of the work stands only once its transaction is committed."""

    __slots__ = ("error", "fate", "is_alone", "ring", "thread", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.thread = threading.get_ident()
        self.fate: Fate | None = None
        self.error: Exception | None = None
        self.is_alone = False
        self.ring: Ring | None = None

    def do(self, txn: lmdb.Transaction[bytes]) -> None:
        """Do the work in a transaction of its own."""
        try:
            self.work.prepare(txn, 0)
        except lmdb.Error:
            raise
        except Exception as error:
            self.error = error
        else:
            self.work.apply()

    def is_settled(self) -> bool:
        """Whether its transaction was committed, or failed in a way that is not to be tried again."""
        return self.fate is not None and (self.fate.is_committed or self.fate.problem is not None)

    def is_done(self) -> bool:
        """Whether its work was committed."""
        return self.error is None and self.fate is not None and self.fate.is_committed

    def wait(self) -> None:
        """Sleep until woken, LOOK seconds at most; not at all the first time, when nobody could have woken it yet."""
        if self.ring is None:
            self.ring = Ring()
            return
        self.ring.wait(LOOK)
        self.ring.clear()

    def wake(self) -> None:
        """Wake its thread."""
        if self.ring is not None:
            self.ring.set()

    def raise_error(self) -> None:
        """Raise what went wrong, if anything did."""
        fate = self.fate
        if fate is not None and (problem := fate.problem) is not None:
            # What several threads raise, each raises for itself: a traceback grows as it is raised.
            shared = isinstance(problem, StorageError) and fate.thread != self.thread
            raise (type(problem)(str(problem)) if shared else problem) from problem.__cause__
        if self.error is not None:
            raise self.error


class Group:
    """The threads of this process that write to one environment.

    gathering: seconds that a leader whose predecessor had company waits for it to sit down again.
    """

    def __init__(self, write: Write, gathering: float) -> None:
        self._write = write
        self._gathering = gathering
        self._queue: deque[Seat] = deque()
        self._loners: deque[Seat] = deque()
        self._turn: dict[int, Seat] = {}
        self._company = 0

    def run(self, seat: Seat) -> None:
        """Do a seat's work within a write transaction and commit it, together with that of other threads.

        Whatever interrupts this thread, the seat knows afterwards whether it was done.
        Raises what the work raises, which then alone is not done; ReentrantCall within the turn of the same thread;
        ServiceClosed once closed; and what LMDB says translated.
        """
        turn = self._turn
        if turn and (leader := turn.get(0)) is not None and leader.thread == seat.thread:
            raise ReentrantCall("a verb was called within another one of the same thread: call it later")
        if sys.is_finalizing():
            raise ServiceClosed("the interpreter is shutting down, and the thread that commits may be gone")
        try:
            if self._queue or self._loners or turn.setdefault(0, seat) is not seat:
                self._queue.append(seat)
            elif self._gathering:
                self._take_turn(seat, is_seated=False)
            elif self._run_alone(seat):
                return
            if not seat.is_settled():
                self._settle(seat)
        except BaseException:
            self._leave(seat)
            raise
        seat.raise_error()

    def _run_alone(self, seat: Seat) -> bool:
        """Run a leader's work while nobody else is here, where there is no fsync to share: 10 µs less.

        Who comes meanwhile finds the turn taken, queues up, and is woken at its end. Returns whether it was done.
        """
        fate = Fate(seat.thread)
        try:
            seat.fate = fate
            self._write(seat.do, fate)
        except Exception as problem:
            fate.problem = problem
        finally:
            fate.is_open = False
            self._end_turn(seat)
        if not fate.is_committed or seat.error is not None:
            return False
        seat.work.announce()
        return True

    def _settle(self, seat: Seat) -> None:
        while True:
            # In this order: whether it is over is looked at first, as it may be settled and over at any moment.
            is_over = seat.fate is not None and not seat.fate.is_open
            if seat.is_settled():
                return
            if is_over:
                seat.fate = seat.error = None
                self._sit_down(seat)
            # Who has to be alone goes first: a thread that commits all the time would leave it no moment.
            if (seat.is_alone or not self._loners) and self._turn.setdefault(0, seat) is seat:
                self._take_turn(seat, is_seated=True)
            else:
                seat.wait()

    def _take_turn(self, seat: Seat, *, is_seated: bool) -> None:
        committed: Sequence[Seat] = ()
        try:
            committed = self._lead(seat, is_seated=is_seated)
        finally:
            self._end_turn(seat)
        # Now that others may lead: a handler in one of their threads may hold the locks that this takes.
        for one in committed:
            one.work.announce()

    def _end_turn(self, seat: Seat) -> None:
        if self._turn.get(0) is seat:
            del self._turn[0]
            for queue in (self._loners, self._queue):
                if queue:
                    with suppress(IndexError):
                        queue[0].wake()

    def _leave(self, seat: Seat) -> None:
        """Take the seat back if no transaction has begun with it, else learn what became of it."""
        self._end_turn(seat)
        if self._withdraw(seat):
            return
        while seat.fate is not None and seat.fate.is_open:
            with suppress(BaseException):  # one is on its way up already, and this takes no longer than a commit
                seat.wait()

    def _lead(self, own: Seat, *, is_seated: bool) -> Sequence[Seat]:
        """Run the work of those who sit, or first of the leader who does not; returns whose work was committed."""
        fate = Fate(own.thread)
        seats: list[Seat] = []
        if is_seated:
            self._sit_down(own)
        if self._gathering and not own.is_alone and len(self._queue) + (not is_seated) < self._company:
            sleep(self._gathering)
        try:
            if not is_seated:
                own.fate = fate
                seats.append(own)
            self._write(lambda txn: self._work(txn, own, seats, fate), fate)
            if not fate.is_committed:  # the map had to grow, for which none of them is to blame
                for seat in seats:
                    seat.is_alone = False
        except Exception as problem:
            self._fail(own, seats, fate, problem)
        finally:
            fate.is_open = False
            for seat in seats:
                seat.wake()
        self._company = len(seats)
        if not fate.is_committed:
            return ()
        return seats if len(seats) == 1 and own.error is None else [seat for seat in seats if seat.error is None]

    def _work(self, txn: lmdb.Transaction[bytes], own: Seat, seats: list[Seat], fate: Fate) -> None:
        """Run the work of the leader alone, or of those who queue, one after the other."""
        added = written = 0
        seat = own if seats else self._take(own, seats, fate)
        while seat is not None:
            seat.is_alone = True  # should it break off what is no Exception, only its own thread runs it again
            try:
                added += seat.work.prepare(txn, added)
            except lmdb.Error:
                raise
            except Exception as error:
                seat.error = error
            else:
                written += seat.work.apply()
            seat.is_alone = False
            seat = self._take(own, seats, fate) if written < WEIGHT and self._queue else None

    def _fail(self, own: Seat, seats: list[Seat], fate: Fate, problem: Exception) -> None:
        """Have the work of a failed transaction done again one by one, unless it was one alone, or may be done."""
        if len(seats) > 1 and not fate.is_unknown:
            for seat in seats:
                seat.is_alone = True
            return
        if not seats:  # it did not even begin
            self._withdraw(own)
            own.fate = fate
        fate.problem = problem

    def _sit_down(self, seat: Seat) -> None:
        """See that the seat of a thread that leads is where it belongs, after a transaction that came to nothing."""
        queue, other = (self._loners, self._queue) if seat.is_alone else (self._queue, self._loners)
        if seat not in queue:
            with suppress(ValueError):
                other.remove(seat)
            queue.append(seat)

    def _withdraw(self, seat: Seat) -> bool:
        for queue in (self._loners, self._queue):
            with suppress(ValueError):
                queue.remove(seat)
                return True
        return False

    def _take(self, own: Seat, seats: list[Seat], fate: Fate) -> Seat | None:
        """Take the next seat into the transaction, unless its own thread withdraws it at this moment."""
        queue = self._loners if own.is_alone else self._queue
        while queue and not (own.is_alone and seats):
            try:
                seat = own if own.is_alone else queue[0]
            except IndexError:
                break
            # In this order: who finds that it can withdraw no more finds its fate there.
            seat.fate = fate
            try:
                queue.remove(seat)
            except ValueError:
                continue
            seats.append(seat)
            return seat
        return None
