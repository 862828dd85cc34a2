"""Idle waiters see to the topics that nobody reserves from."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

from jobq import JobService, NewJob, ServiceClosed, Status
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


def test_prune_sees_to_leases_and_delays_that_are_over(svc: JobService, clock: ManualClock) -> None:
    dead, back, due, later = svc.enqueue_many(
        [NewJob("t", lease=5, max_retries=0), NewJob("t", lease=5), NewJob("t", delay=5), NewJob("t", delay=500)]
    )
    svc.reserve("t", 2)
    clock.advance(100)
    assert svc.prune(topic="u") == 0
    assert svc.status(dead) is Status.RESERVED
    assert svc.prune() == 0
    assert [svc.status(id) for id in (dead, back, due, later)] == ["canceled", "ready", "ready", "delayed"]
    assert (svc.stats("t").expired, svc.stats("t").dead) == (2, 1)


def test_who_waits_for_a_job_sees_to_its_lease(svc: JobService, clock: ManualClock) -> None:
    """Nobody reserves from the topic of a job whose holder died."""
    id = svc.enqueue("t", lease=5, max_retries=0)
    svc.reserve("t")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(svc.wait_for, id, None)
        while not call.done():
            clock.advance(30)
            wait([call], timeout=0.01)
    assert call.result().cancel_reason == "exhausted"
