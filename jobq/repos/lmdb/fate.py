"""What became of a write transaction."""

from __future__ import annotations

import lmdb


class Fate:
    """What became of a write transaction, for all who have a part in it.

    thread: whose transaction it is. is_open: not known yet. is_unknown: the commit failed, and may have taken effect or
    not. problem: what its parts are to raise. None of the last three: it was aborted.
    """

    __slots__ = ("is_committed", "is_open", "is_unknown", "problem", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.is_open = True
        self.is_committed = False
        self.is_unknown = False
        self.problem: Exception | None = None


def is_over(txn: lmdb.Transaction[bytes]) -> bool:
    """Whether a transaction was committed or aborted, which may have been interrupted before it could be noted."""
    try:
        txn.id()
    except lmdb.Error:
        return True
    return False
