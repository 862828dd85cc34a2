"""Who is woken by what is committed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobq import ring
from jobq.model.records import Now, Place, TopicState
from jobq.model.status import Ordering
from jobq.model.times import SECOND
from jobq.ports import Move
from jobq.repos.waking import EVERYBODY, Bell, Call, Waiter, calls_after
from jobq.ring import Ring
from tests.clocks import PATIENCE, ManualClock

NOW = Now(0, 1_000 * SECOND)
NOBODY: dict[str, TopicState] = {}


def place(ordering: Ordering, after: float = 0) -> Place:
    """A place of topic t that brings a job some seconds from NOW."""
    minor = int(after * SECOND) + (NOW.steady if ordering is Ordering.RESERVED else NOW.wall)
    return Place("t", ordering, 0, minor, 1)


def ignore(_: Waiter) -> None:
    """Nothing follows from a waiter's leaving."""


def with_ready(n: int, *, paused: bool = False) -> dict[str, TopicState]:
    """Counters of topic t."""
    return {"t": TopicState(paused=paused, now=(n, 0, 0, 0, 0, 0))}


@pytest.mark.parametrize(
    ("move", "states", "calls"),
    [
        ((None, place(Ordering.READY)), with_ready(3), [Call("t", 3, NOW.steady)]),
        ((None, place(Ordering.READY)), with_ready(3, paused=True), []),
        ((None, place(Ordering.DELAYED, 4)), with_ready(0), [Call("t", EVERYBODY, NOW.steady + 4 * SECOND)]),
        ((None, place(Ordering.RESERVED, 5)), with_ready(0), [Call("t", EVERYBODY, NOW.steady + 5 * SECOND)]),
        ((place(Ordering.RESERVED), place(Ordering.DONE)), with_ready(0), [Call("=t", EVERYBODY, NOW.steady)]),
        ((place(Ordering.RESERVED), None), NOBODY, [Call("=t", EVERYBODY, NOW.steady)]),
        (
            (place(Ordering.RESERVED), None),
            with_ready(2),
            [Call("t", 2, NOW.steady), Call("=t", EVERYBODY, NOW.steady)],
        ),
        ((place(Ordering.READY), place(Ordering.RESERVED, 9))[::-1], with_ready(1), [Call("t", 1, NOW.steady)]),
    ],
)
def test_what_a_commit_calls_for(move: Move, states: dict[str, TopicState], calls: list[Call]) -> None:
    assert calls_after([move], states, NOW, lambda _: True) == calls
    assert calls_after([move], states, NOW, lambda _: False) == []


def test_a_sleeper_is_called_for_what_comes_before_it_wakes(clock: ManualClock) -> None:
    bell = Bell(clock)
    with bell.watch(["t"], ignore) as waiter:
        waiter.until = NOW.steady + 5 * SECOND
        assert bell.ring(Call("t", EVERYBODY, waiter.until)) == 0
        assert bell.ring(Call("u", EVERYBODY, NOW.steady)) == 0
        assert not waiter.event.is_set()
        assert bell.ring(Call("t", EVERYBODY, waiter.until - 1)) == 1
        assert (waiter.event.is_set(), waiter.called) == (True, {"t"})


def test_as_many_are_called_as_there_are_jobs_the_first_to_wait_first(clock: ManualClock) -> None:
    bell = Bell(clock)
    with (
        bell.watch(["t"], ignore) as first,
        bell.watch(["t", "u"], ignore) as second,
        bell.watch(["t"], ignore) as third,
    ):
        for waiter in (first, second, third):
            waiter.until = NOW.steady + 5 * SECOND
        assert bell.ring(Call("t", 2, NOW.steady)) == 2
        assert [waiter.event.is_set() for waiter in (first, second, third)] == [True, True, False]
        assert bell.ring(Call("t", 10, NOW.steady)) == 3


def test_who_was_woken_and_looks_again_is_called_for_anything(clock: ManualClock) -> None:
    """What is committed after its look, but before it sleeps again, must not be slept through."""
    bell = Bell(clock)
    with bell.watch(["t"], ignore) as waiter:
        bell.ring(Call("t", 1, NOW.steady))
        waiter.wait(5)
        assert (waiter.event.is_set(), waiter.heard, waiter.called) == (False, {"t"}, set())
        clock.advance(10)
        assert bell.ring(Call("t", 1, clock.steady())) == 1
        assert (waiter.event.is_set(), waiter.heard, waiter.called) == (True, {"t"}, {"t"})


@pytest.mark.parametrize("step", [3600, -3600, 0.02])
def test_a_sleeper_notices_within_a_second_that_the_wall_clock_was_set(clock: ManualClock, step: float) -> None:
    with Bell(clock).watch(["t"], ignore) as waiter, ThreadPoolExecutor(1) as pool:
        sleep = pool.submit(waiter.wait, 60)
        assert clock.sleeping.acquire(timeout=PATIENCE)
        clock.advance(1)
        assert clock.sleeping.acquire(timeout=PATIENCE)
        assert not sleep.done()
        clock.step_wall(step)
        clock.advance(1)
        sleep.result(PATIENCE)
        assert clock.steady() == NOW.steady + 2 * SECOND


def test_nobody_is_called_who_has_left(clock: ManualClock) -> None:
    bell = Bell(clock)
    with bell.watch(["t", "u"], ignore) as waiter:
        assert bell.is_awaited("u")
    bell.ring_all()
    assert (bell.ring(Call("t", 1, NOW.steady)), bell.is_awaited("u"), bell.is_quiet()) == (0, False, True)
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


def test_a_signal_that_came_to_another_thread_is_heard_in_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like one that comes as the wait is about to begin, it interrupts no system call."""
    monkeypatch.setattr(ring, "LOOK", 0.01)
    waiting = Ring()
    stat = Path(f"/proc/self/task/{threading.get_native_id()}/stat")

    def signal_once_it_sleeps() -> None:
        while " S " not in stat.read_text():
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, lambda *_: waiting.set())
    try:
        for timeout in [PATIENCE, None] * 5:
            thread = threading.Thread(target=signal_once_it_sleeps)
            thread.start()
            assert waiting.wait(timeout)
            thread.join(PATIENCE)
            waiting.clear()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_signal_does_not_prolong_a_wait() -> None:
    """A process that is stopped past the end of a wait, and signalled, goes on when it is continued."""
    script = (
        "import signal, sys\n"
        "from jobq.ring import Ring\n"
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
