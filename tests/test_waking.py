"""Who is woken by what is committed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from jobq.model.records import Now, Place
from jobq.model.status import Ordering
from jobq.model.times import SECOND
from jobq.repos.waking import Bell, Ring
from tests.clocks import PATIENCE, ManualClock

NOW = Now(0, 1_000 * SECOND)


def place(ordering: Ordering, after: float) -> Place:
    """A place of topic t that brings a job some seconds from NOW."""
    minor = int(after * SECOND) + (NOW.steady if ordering is Ordering.RESERVED else NOW.wall)
    return Place("t", ordering, 0, minor, 1)


@pytest.mark.parametrize(
    ("new", "is_rung"),
    [
        (place(Ordering.READY, 0), True),
        (place(Ordering.DELAYED, 4), True),
        (place(Ordering.DELAYED, 6), False),
        (place(Ordering.RESERVED, 4), True),
        (place(Ordering.RESERVED, 6), False),
        (place(Ordering.DONE, 0), False),
        (place(Ordering.READY, 0)._replace(topic="other"), False),
        (None, False),
    ],
)
def test_a_sleeper_is_rung_for_what_comes_before_it_wakes(clock: ManualClock, new: Place | None, is_rung: bool) -> None:
    bell = Bell(clock)
    with bell.watch(["t"]) as waiter:
        waiter.until = NOW.steady + 5 * SECOND
        bell.ring_for([(None, new)], [], NOW)
        assert waiter.event.is_set() == is_rung


def test_a_resumed_topic_rings(clock: ManualClock) -> None:
    bell = Bell(clock)
    with bell.watch(["t"]) as waiter:
        bell.ring_for([], ["t"], NOW)
        assert waiter.event.is_set()


def test_who_was_woken_by_time_and_looks_again_is_rung_for_anything(clock: ManualClock) -> None:
    """What is committed after its look, but before it sleeps again, must not be slept through."""
    bell = Bell(clock)
    with bell.watch(["t"]) as waiter:
        waiter.event.set()
        waiter.wait(5)
        assert not waiter.event.is_set()
        clock.advance(10)
        bell.ring_for([(None, place(Ordering.READY, 0))], [], Now(clock.wall(), clock.steady()))
        assert waiter.event.is_set()


def test_nobody_is_rung_who_has_left(clock: ManualClock) -> None:
    bell = Bell(clock)
    with bell.watch(["t", "u"]) as waiter:
        pass
    bell.ring_for([(None, place(Ordering.READY, 0))], [], NOW)
    bell.ring_all()
    assert not waiter.event.is_set()


def test_a_ring_is_a_flag() -> None:
    ring = Ring()
    assert (ring.is_set(), ring.wait(0), ring.wait(0.001)) == (False, False, False)
    ring.set()
    ring.set()
    assert (ring.is_set(), ring.wait(), ring.wait(0), ring.is_set()) == (True, True, True, True)
    ring.clear()
    ring.clear()
    assert (ring.is_set(), ring.wait(0)) == (False, False)


def test_a_signal_does_not_prolong_a_wait() -> None:
    """A process that is stopped past the end of a wait, and signalled, goes on when it is continued."""
    script = (
        "import signal, sys\n"
        "from jobq.repos.waking import Ring\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "print('waiting', flush=True)\n"
        "while not sys.stdin.closed:\n"
        "    Ring().wait(0.02)\n"
        "    print('.', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        too_late = threading.Timer(PATIENCE, process.kill)
        too_late.start()
        try:
            assert process.stdout.readline() == "waiting\n"
            for _ in range(30):
                process.send_signal(signal.SIGSTOP)
                Ring().wait(0.03)  # longer than its wait, in the time of the system
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGCONT)
                assert process.stdout.readline() == ".\n"
        finally:
            too_late.cancel()
            process.kill()
