"""Stopping on SIGTERM and SIGINT, and when the terminal is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANG_UP = getattr(signal, "SIGHUP", None)
"""What a terminal sends that is closed, and mostly its shell as well; Windows has no such signal."""
TO_ALL = SIGNALS if HANG_UP is None else (*SIGNALS, HANG_UP)
"""What terminals and service managers send to child processes, too."""


@contextmanager
def stopping_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called at the first signal and at the second; the third does what it did before.

    A terminal that is closed counts as the first of them, unless the program ignores that, as under nohup, or sees to
    it itself. However often it says so, what runs has its time to end: who closes a terminal is in no hurry.
    Outside of the main thread, where Python allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = 0
    pid = os.getpid()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal received
        is_ours = os.getpid() == pid  # a process that a handler forked ends by it, as any other
        if is_ours and received and number == HANG_UP:
            return
        received += 1
        if is_ours and received <= 2:
            stop()
        else:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            # None: it was installed by something else than Python, which cannot give it back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    is_heard = HANG_UP is not None and signal.getsignal(HANG_UP) is signal.SIG_DFL
    numbers = TO_ALL if is_heard else SIGNALS
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, on_signal)
        yield
    finally:
        restore()
