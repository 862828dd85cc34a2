"""How the coordinator is woken by what ends, if only so many ends are worth it."""

from __future__ import annotations

import jobq
from jobq.worker.handlers import NOBODY
from jobq.worker.inbox import Inbox
from jobq.worker.moments import Moments
from jobq.worker.run import Ending, Run
from tests.clocks import ManualClock


def inbox_and_endings(n: int) -> tuple[Inbox, list[Ending]]:
    svc = jobq.open("memory://")
    svc.enqueue_many([jobq.NewJob("t")] * n)
    endings = [Ending(Run(job, NOBODY, 0), None) for job in svc.reserve("t", n)]
    clock = ManualClock(patience=0.2)
    return Inbox(clock, Moments([], clock)), endings


def sleeps(inbox: Inbox) -> bool:
    """Whether a wait is not ended by what came so far."""
    try:
        inbox.wait(600)
    except AssertionError:  # the clock's patience is at its end
        return True
    return False


def test_it_is_woken_by_as_many_endings_as_it_wants() -> None:
    inbox, endings = inbox_and_endings(3)
    inbox.wake_at(2)
    inbox.ended(endings[0])
    assert sleeps(inbox)
    inbox.ended(endings[1])
    assert not sleeps(inbox)
    assert inbox.take() == endings[:2]
    assert inbox.is_empty()


def test_endings_that_came_before_it_wanted_as_few_are_not_slept_through() -> None:
    inbox, endings = inbox_and_endings(2)
    inbox.wake_at(5)
    inbox.ended(endings[0])
    inbox.ended(endings[1])
    inbox.wake_at(2)
    assert not sleeps(inbox)


def test_each_wake_ends_one_wait() -> None:
    inbox, _ = inbox_and_endings(1)
    inbox.wake()
    inbox.wake()
    assert not sleeps(inbox)
    assert sleeps(inbox)
    inbox.stop(1)
    assert not sleeps(inbox)
    assert inbox.stops == 1
