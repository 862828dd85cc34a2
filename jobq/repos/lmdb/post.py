"""Calls between the processes that have a directory open.

A process that waits has a datagram socket in DIR/wake and a thread that reads it; the board says who waits for what.
Sending never blocks. No job depends on it: a waiter that no call reaches, because the sender was killed before it
called, sees within a second that there was a commit.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from jobq.repos.lmdb.board import Board, Slot
from jobq.repos.waking import EVERYBODY, Call

log = logging.getLogger("jobq")

LONGEST_PATH = 100
"""Bytes of a socket's path that every system allows: Linux takes 107, others 103."""
BACKLOG = 8
"""Calls read in a row after which others may have been dropped: the queue of a socket holds ten at the least."""


class Post:
    """Where this process sends calls to others, and is called.

    folder: DIR/wake. deliver: wakes waiters of this process and returns how many. deliver_all: wakes all of them.
    Raises OSError where the system or the filesystem has no such sockets.
    """

    def __init__(self, folder: Path, deliver: Callable[[Call], int], deliver_all: Callable[[], None]) -> None:
        self._deliver = deliver
        self._deliver_all = deliver_all
        self._lock = threading.RLock()
        self._channels: Counter[str] = Counter()
        self._slot: Slot | None = None
        self._incoming: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._turn = 0
        self._is_closed = False
        self._has_complained = False
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._prefix = _prefix(folder, self._folder)
            self._board = Board(folder / "board")
            self._outgoing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._outgoing.setblocking(False)
        except BaseException:
            os.close(self._folder)
            raise

    @contextmanager
    def listening(self, channels: Sequence[str]) -> Iterator[bool]:
        """Be called in these channels until the context is left; gives whether that works."""
        is_heard = self._begin(channels)
        try:
            yield is_heard
        finally:
            if is_heard:
                with self._lock:
                    self._channels.subtract(channels)
                    self._channels = +self._channels
                    self._show()

    def is_quiet(self) -> bool:
        """Whether no process, this one included, waits for anything."""
        return self._board.is_quiet()

    def is_awaited(self, channel: str) -> bool:
        """Whether another process may wait in a channel."""
        return bool(self._board.waiting(channel, self._slot))

    def send(self, call: Call, *, is_passed_on: bool = False) -> None:
        """Call as many other processes as the call says, in turns; one that is gone does not count."""
        slots = self._board.waiting(call.channel, self._slot)
        if not slots:
            return
        self._turn = (self._turn + 1) % len(slots)
        data = f"{call.n} {call.at} {is_passed_on:d} {call.channel}".encode()
        missing = min(call.n, len(slots))
        for slot in slots[self._turn :] + slots[: self._turn]:
            if missing:
                missing -= self._reaches(slot, data)

    def close(self) -> None:
        """Stop being called; a second time makes sure."""
        with self._lock:
            self._is_closed = True
            if self._incoming is not None:
                with suppress(OSError):
                    self._incoming.shutdown(socket.SHUT_RDWR)  # which ends the thread
            if self._slot is not None:
                self._forget(self._slot)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1)
        self._let_go()

    def disown(self) -> None:
        """Let go, in a forked child, of what it inherited; its lock may be held by a thread that is not there."""
        self._is_closed = True
        if self._incoming is not None:
            self._incoming.close()
        self._let_go()

    def _let_go(self) -> None:
        self._outgoing.close()
        self._board.close()
        folder, self._folder = self._folder, -1
        if folder >= 0:
            os.close(folder)

    def _begin(self, channels: Sequence[str]) -> bool:
        with self._lock:
            if self._is_closed or (self._slot is None and not self._is_started()):
                return False
            self._channels.update(channels)
            self._show()
            return True

    def _show(self) -> None:
        if self._slot is not None and not self._is_closed:
            self._board.show(self._slot, self._channels)

    def _is_started(self) -> bool:
        name = os.urandom(8).hex()
        slot = incoming = None
        try:
            self._forget_the_dead()
            incoming = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            incoming.bind(self._prefix + name)
            slot = self._board.claim(name)
            if slot is None:
                raise OSError("no slot is free")
            thread = threading.Thread(target=self._listen, args=(incoming,), name="jobq-wake", daemon=True)
            thread.start()
        except (OSError, RuntimeError) as problem:  # no descriptor, no space, no such sockets here; no thread
            self._complain(problem)
            if incoming is not None:
                incoming.close()
            if slot is not None:
                self._forget(slot)
            self._unlink(name)
            return False
        self._incoming, self._thread, self._slot = incoming, thread, slot
        return True

    def _complain(self, problem: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            log.warning("jobs of other processes are looked for now and then, as there is no socket: %s", problem)

    def _listen(self, incoming: socket.socket) -> None:
        in_a_row = 0
        with incoming, suppress(OSError):
            while True:
                try:
                    data = incoming.recv(512, socket.MSG_DONTWAIT if in_a_row else 0)
                except BlockingIOError:
                    in_a_row = 0
                    continue
                if not data or self._is_closed:
                    return
                in_a_row += 1
                if in_a_row > BACKLOG:
                    self._deliver_all()
                else:
                    self._hear(data)

    def _hear(self, data: bytes) -> None:
        try:
            n, at, is_passed_on, channel = data.decode().split(" ")
            call = Call(channel, int(n), int(at))
        except ValueError:
            return
        # Whoever waited here is gone: others get the call, once.
        if not self._deliver(call) and is_passed_on == "0":
            self.send(call._replace(n=EVERYBODY), is_passed_on=True)

    def _reaches(self, slot: Slot, data: bytes) -> bool:
        try:
            self._outgoing.sendto(data, self._prefix + slot.name)
        except BlockingIOError:
            return True  # it has calls enough to wake it
        except (ConnectionRefusedError, FileNotFoundError):
            self._forget(slot)
            return False
        except OSError:
            return False
        return True

    def _forget_the_dead(self) -> None:
        """Free the slots of processes that were killed, and that nobody has called since."""
        for slot in self._board.slots():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(self._prefix + slot.name)
                except (ConnectionRefusedError, FileNotFoundError):
                    self._forget(slot)
                except OSError:
                    continue

    def _forget(self, slot: Slot) -> None:
        with suppress(OSError):
            self._board.give_up(slot)
        self._unlink(slot.name)

    def _unlink(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._folder)


def _prefix(folder: Path, descriptor: int) -> str:
    """What makes a socket's name a path; by way of a descriptor where that would be too long."""
    if len(os.fsencode(folder)) + 1 + 16 <= LONGEST_PATH:
        return f"{folder}/"
    through = f"/proc/self/fd/{descriptor}/"
    os.stat(through)
    return through
