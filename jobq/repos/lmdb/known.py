"""What this process knows of a directory as long as no other process writes to it.

Each write transaction of LMDB has a number, one above that of the last commit. So a process that finds its own last
number plus one knows that nobody wrote meanwhile, and need not read again what it wrote or read itself: 10 of 80 µs.
"""

from __future__ import annotations

from jobq.model.records import Rank, TopicState
from jobq.model.status import Ordering


class Known:
    """Knowledge of the next write transaction. Read transactions, which see older states, must not use it.

    states: the counters of topics; None for one that is not. next_id: the first id not given yet; None if not known.
    firsts: by topic and ordering, a rank that no place there is before.
    """

    def __init__(self) -> None:
        self._number = -1
        self._has_written = False
        self._forget()

    def begin(self, number: int) -> None:
        """A write transaction of this number begins: keep what is known only if it follows on this process's last."""
        if number != self._number + 1:
            self._forget()
        self._number = -1
        self._has_written = False

    def note_write(self) -> None:
        """The transaction writes something; without that LMDB gives its number to the next one, too."""
        self._has_written = True

    def committed(self, number: int) -> None:
        """The transaction of this number was committed. One that is not leaves nothing known."""
        if self._has_written:
            self._number = number

    def _forget(self) -> None:
        self.states: dict[str, TopicState | None] = {}
        self.next_id: int | None = None
        self.firsts: dict[tuple[str, Ordering], Rank] = {}
