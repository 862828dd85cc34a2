"""Exit statuses, and the errors that stand for them. 0 is done."""

from __future__ import annotations

FAILED = 1
"""Refused, or failed."""
USAGE = 2
"""The command line cannot be understood."""
NOTHING_THERE = 75
"""What was asked for is not there: no such job, no such queue, or nothing to do. EX_TEMPFAIL of sysexits.h."""


class NothingThere(Exception):
    """What a command was asked for is not there."""


class ReaderGone(Exception):
    """Nobody reads what a command prints."""


class Interrupted(Exception):
    """Ctrl-C ended a command that says how far it came."""
