"""Standard input, output and error, as commands need them: open, and able to take whatever a queue holds."""

from __future__ import annotations

import io
import os
import sys


def make_ready() -> None:
    """Put something in the place of streams that are closed, and let none refuse a character.

    To be called before any file is opened: it could be given the number of a closed stream, and get what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Write-only, so that who reads a payload from a closed stream is refused, and not given an empty one.
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it, where a locale has few characters
