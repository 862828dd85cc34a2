"""The streams of the process, where whoever began it has closed some of them."""

from __future__ import annotations

import os
import sys


def open_streams() -> None:
    """Have what is written to a stream that was closed go nowhere, and nothing be read from it.

    Else the next file that is opened, such as the queue's own, gets the number of that stream; and Python has None for
    it, on which the command would fail when it has done its work.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
