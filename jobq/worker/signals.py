"""Stopping on SIGTERM and SIGINT."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopping_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called at the first signal and at the second; the third does what it did before.

    Outside of the main thread, where Python allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = 0
    pid = os.getpid()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received <= 2 and os.getpid() == pid:  # a process that a handler forked ends by it, as any other
            stop()
        else:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            # None: it was installed by something else than Python, which cannot give it back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in SIGNALS:
            signal.signal(number, on_signal)
        yield
    finally:
        restore()
