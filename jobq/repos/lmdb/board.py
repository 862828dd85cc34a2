"""Which processes wait in which channels: a small table in shared memory, DIR/wake/board.

Each process that waits has a slot: a name, by which its socket is known, and a mask of 64 bits, one for each channel it
waits in by the channel's checksum. Writers look here after each commit, which costs a microsecond and no system call.
That a waiter's bit is seen by whoever commits after the waiter looked for jobs follows from LMDB's writer lock: the
bit was set before that look took the lock, and is read after that commit gave it up.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from jobq.repos.lmdb.guarding import open_private

SLOTS = 1024
_NAME_BYTES = 16
_WORD = struct.Struct("<Q")
_MASKS = _WORD.size  # behind the number of slots ever used
_NAMES = _MASKS + SLOTS * _WORD.size
_SIZE = _NAMES + SLOTS * _NAME_BYTES
_FREE = bytes(_NAME_BYTES)


class Slot(NamedTuple):
    """One process's place on the board."""

    number: int
    name: str


class Board:
    """The board of a directory, as this process sees it. Raises OSError where the filesystem does not allow it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._fd = open_private(path, os.O_RDWR)
        try:
            with self._locked():
                missing = _SIZE - os.fstat(self._fd).st_size
                if missing > 0:
                    # Written, not only made longer: a full disk is an error here, and not a SIGBUS later.
                    os.pwrite(self._fd, bytes(missing), _SIZE - missing)
            self._map: mmap.mmap | bytearray = mmap.mmap(self._fd, _SIZE)
        except BaseException:
            os.close(self._fd)
            raise

    def claim(self, name: str) -> Slot | None:
        """Take a free slot; None if there is none."""
        with self._locked():
            for number in range(SLOTS):
                if self._name(number) == _FREE:
                    self._write(number, name.encode())
                    self._put(0, max(number + 1, self._used()))
                    return Slot(number, name)
        return None

    def give_up(self, slot: Slot) -> None:
        """Free a slot, unless it is another's by now."""
        with self._locked():
            if self._name(slot.number) == slot.name.encode():
                self._write(slot.number, _FREE)

    def show(self, slot: Slot, channels: Iterable[str]) -> None:
        """Say in which channels the process of a slot waits."""
        mask = 0
        for channel in channels:
            mask |= _bit(channel)
        self._put(_MASKS + slot.number * _WORD.size, mask)

    def is_quiet(self) -> bool:
        """Whether no process waits for anything."""
        used = self._used()
        return not used or not any(self._map[_MASKS : _MASKS + used * _WORD.size])

    def slots(self) -> list[Slot]:
        """All slots that are taken."""
        return self._taken(range(self._used()))

    def waiting(self, channel: str, but: Slot | None) -> list[Slot]:
        """The slots of processes, except `but`, that wait in a channel, or in one of the same bit."""
        used = self._used()
        masks = struct.unpack_from(f"<{used}Q", self._map, _MASKS)
        bit = _bit(channel)
        own = -1 if but is None else but.number
        return self._taken(number for number, mask in enumerate(masks) if mask & bit and number != own)

    def close(self) -> None:
        """Let go of the map; another thread that is looking at it finds that nobody waits."""
        fd, self._fd, self._map = self._fd, -1, bytearray(_SIZE)
        if fd >= 0:
            os.close(fd)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._fd < 0:
            raise OSError("the board is closed")
        with self._lock:  # flock keeps out other processes, and this the other threads
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _put(self, at: int, word: int) -> None:
        # In one piece: `pack_into` writes zeros first, and whoever looks then sees nobody.
        self._map[at : at + _WORD.size] = _WORD.pack(word)

    def _used(self) -> int:
        return min(SLOTS, self._map[0] | self._map[1] << 8)

    def _taken(self, numbers: Iterable[int]) -> list[Slot]:
        # Each name is read once: another process may free the slot, or take it, at any moment.
        names = [(number, self._name(number)) for number in numbers]
        return [Slot(number, name.decode("ascii", "replace")) for number, name in names if 0 not in name]

    def _name(self, number: int) -> bytes | bytearray:
        at = _NAMES + number * _NAME_BYTES
        return self._map[at : at + _NAME_BYTES]

    def _write(self, number: int, name: bytes) -> None:
        self._put(_MASKS + number * _WORD.size, 0)
        at = _NAMES + number * _NAME_BYTES
        self._map[at : at + _NAME_BYTES] = name


def _bit(channel: str) -> int:
    return 1 << crc32(channel.encode()) % 64
