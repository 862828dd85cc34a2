"""`listen`: waiting for a job to reserve, and for other things, without reserving any."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jobq import InvalidTopic, JobService, ServiceClosed, Status
from tests.clocks import PATIENCE, ManualClock


def asleep(clock: ManualClock) -> None:
    assert clock.sleeping.acquire(timeout=PATIENCE)


def test_it_returns_at_once_if_there_is_a_job_and_reserves_none(svc: JobService, clock: ManualClock) -> None:
    id = svc.enqueue("t")
    with svc.listen(["u", "t"]) as listener:
        before = clock.steady()
        listener.wait(600)
        assert clock.steady() == before
    assert svc.status(id) is Status.READY


def test_it_leaves_a_lease_that_is_over_to_who_reserves(svc: JobService, clock: ManualClock) -> None:
    id = svc.enqueue("t", lease=10)
    [job] = svc.reserve("t")
    clock.advance(11)
    with svc.listen("t") as listener:
        listener.wait(600)
        assert svc.status(id) is Status.RESERVED
        job.done()


@pytest.mark.parametrize("ended_by", ["a job", "a due time", "wake", "the timeout", "close"])
def test_a_wait_is_ended(svc: JobService, clock: ManualClock, ended_by: str) -> None:
    svc.enqueue("t", delay=100)
    with ThreadPoolExecutor(1) as pool, svc.listen("t") as listener:
        call: Future[None] = pool.submit(listener.wait, 50 if ended_by == "the timeout" else 600)
        asleep(clock)
        assert not call.done()
        {
            "a job": lambda: svc.enqueue("t"),
            "a due time": lambda: clock.advance(100),
            "wake": listener.wake,
            "the timeout": lambda: clock.advance(50),
            "close": svc.close,
        }[ended_by]()
        call.result(PATIENCE)


def test_it_refuses_what_is_no_topic_and_a_closed_service(svc: JobService) -> None:
    with pytest.raises(InvalidTopic), svc.listen("no topic"):
        pass
    with pytest.raises(ValueError, match="at least one"), svc.listen([]):
        pass
    svc.close()
    with pytest.raises(ServiceClosed), svc.listen("t"):
        pass
