"""What this process knows of a directory as long as no other process writes to it.

Each write transaction of LMDB has a number, one above that of the last commit. So a process that finds its own last
number plus one knows that nobody wrote meanwhile, and need not read again what it wrote or read itself: 10 of 80 µs.
"""

from __future__ import annotations

from jobq.model.records import Rank, TopicState
from jobq.model.status import Ordering


class Known:
    """Knowledge of the next write transaction. Read transactions, which see older states, must not use it.

    holds_in: the number of the transaction in which it holds, if nobody else writes before; -1 for none.
    has_written: whether the transaction writes counters, as all do that change a job. One that writes nothing leaves
    its number to the next; if it wrote something else, that has another number, and nothing is known.
    states: the counters of topics; None for one that is not. next_id: the first id not given yet; None if not known.
    firsts: by topic and ordering, a rank that no place there is before. is_marked: whether a backup wants notes; None
    if not known.
    """

    __slots__ = ("firsts", "has_written", "holds_in", "is_marked", "next_id", "states")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing, as after a commit of another process, or one that failed."""
        self.holds_in = -1
        self.has_written = False
        self.states: dict[str, TopicState | None] = {}
        self.next_id: int | None = None
        self.firsts: dict[tuple[str, Ordering], Rank] = {}
        self.is_marked: bool | None = None
