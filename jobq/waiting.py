"""Waiting until something can be reserved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobq.model.records import Now
from jobq.model.times import SECOND
from jobq.ports import Storage
from jobq.verbs.consuming import Haul

LONGEST_NAP = 1.0
"""Seconds after which a waiter looks at the clocks again, so that a step of the wall clock delays no job by more."""


def wait_for_haul(
    storage: Storage,
    topics: Sequence[str],
    attempt: Callable[[], Haul],
    timeout: int | None,
    when_idle: Callable[[Now], None],
) -> Haul:
    """Repeat `attempt` until it takes something or `timeout` nanoseconds are over (None: for ever).

    Each attempt after the first is made under a watch that was begun before it, so that no job slips in between.
    when_idle: called before each nap; what it commits may end the nap at once.
    """
    haul = _unless_again(attempt)
    if haul.taken or timeout == 0:
        return haul
    end = None if timeout is None else haul.now.steady + timeout
    with storage.watch(topics) as watch:
        while True:
            haul = _unless_again(attempt)
            left = None if end is None else (end - haul.now.steady) / SECOND
            if haul.taken or (left is not None and left <= 0):
                return haul
            when_idle(haul.now)
            due_in = None if haul.due_in is None else haul.due_in / SECOND
            watch.wait(min(nap for nap in (left, due_in, LONGEST_NAP) if nap is not None))


def _unless_again(attempt: Callable[[], Haul]) -> Haul:
    haul = attempt()
    while haul.again:
        haul = attempt()
    return haul
