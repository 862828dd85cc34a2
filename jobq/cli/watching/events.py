"""What may happen while nothing is to be done: keys and signals, waited for together."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)


class Events:
    """Keys and signals, in a block. Signals interrupt nothing there: they are events like keys.

    Only for the main thread.
    """

    def __enter__(self) -> Self:
        self._ours, self._theirs = os.pipe()
        os.set_blocking(self._ours, False)
        os.set_blocking(self._theirs, False)
        self._before_fd = signal.set_wakeup_fd(self._theirs, warn_on_full_buffer=False)
        self._before: dict[signal.Signals, Any] = {one: signal.signal(one, _take_note) for one in SIGNALS}
        self._keys = [sys.stdin.fileno()] if sys.stdin.isatty() else []
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        signal.set_wakeup_fd(self._before_fd)
        os.close(self._ours)
        os.close(self._theirs)

    def wait(self, timeout: float) -> list[str]:
        """Wait for so many seconds at the most; returns what happened: keys, and names of signals as SIGINT."""
        ready = select.select([self._ours, *self._keys], [], [], max(0.0, timeout))[0]
        return self._signals() + (self._typed() if self._keys and self._keys[0] in ready else [])

    def _signals(self) -> list[str]:
        with suppress(BlockingIOError):
            return [signal.Signals(number).name for number in os.read(self._ours, 1024)]
        return []

    def _typed(self) -> list[str]:
        try:
            typed = os.read(self._keys[0], 1024)
        except OSError:  # the terminal is gone
            typed = b""
        if not typed:
            self._keys = []
        return list(typed.decode(errors="replace"))


def stop_here() -> None:
    """Stop this process as Ctrl-Z does, until the shell has it go on."""
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)


def end_by(name: str) -> None:
    """End this process by a signal that it got, so that whoever waits for it sees by which."""
    number = signal.Signals[name]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _take_note(number: int, frame: FrameType | None) -> None:
    """Nothing: the number is in the pipe."""
