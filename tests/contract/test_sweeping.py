"""Idle waiters see to the topics that nobody reserves from."""

from __future__ import annotations

import threading

from jobq import JobService, ServiceClosed, Status
from tests.clocks import PATIENCE, ManualClock


def test_an_idle_waiter_sweeps_other_topics_once_a_minute(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue("quiet", keep_done=10)
    svc.enqueue("quiet", lease=10)
    finished, held = svc.reserve("quiet", 2)
    finished.done()
    ended = threading.Event()

    def wait_for_ever() -> None:
        try:
            svc.reserve("busy", timeout=None)
        except ServiceClosed:
            ended.set()

    waiter = threading.Thread(target=wait_for_ever)
    waiter.start()
    assert clock.sleeping.acquire(timeout=PATIENCE)
    clock.advance(59)
    assert clock.sleeping.acquire(timeout=PATIENCE)  # it was woken by the time, and sleeps again
    assert svc.stats("quiet").now[Status.DONE] == 1
    clock.advance(2)
    while svc.stats("quiet").expired == 0:  # it was woken by the time; each look lets it go on
        assert clock.sleeping.acquire(timeout=PATIENCE)
    assert svc.status(held.id) == "ready"
    assert svc.stats("quiet").now[Status.DONE] == 0
    svc.close()
    assert ended.wait(PATIENCE)
    waiter.join(PATIENCE)
