"""A paused topic hands out nothing; all else goes on."""

from __future__ import annotations

from jobq import Done, JobService, NewJob, Status
from tests.clocks import ManualClock
from tests.contract.scenes import enqueue_named, given, names, take, unchanged


def test_a_paused_topic_hands_out_nothing(svc: JobService) -> None:
    enqueue_named(svc, "a")
    svc.pause("t")
    with unchanged(svc):
        assert svc.reserve("t", 5) == []
        assert svc.exchange(topics="t").jobs == []
        assert list(svc.jobs("t", timeout=0)) == []
    assert svc.stats("t").paused


def test_a_resumed_topic_hands_out_all(svc: JobService) -> None:
    enqueue_named(svc, "a")
    svc.pause("t")
    enqueue_named(svc, "b")
    svc.resume("t")
    assert not svc.stats("t").paused
    assert names(svc.reserve("t", 5)) == ["a", "b"]


def test_enqueueing_and_settling_go_on(svc: JobService, clock: ManualClock) -> None:
    job = given(svc)
    svc.pause("t")
    job.extend(60)
    svc.enqueue("t")
    delayed = svc.enqueue("t", delay=9)
    svc.reschedule(delayed, clock.after(3))
    svc.cancel(delayed)
    svc.reset(delayed)
    job.done()
    assert svc.stats("t").now == dict.fromkeys(Status, 0) | {Status.READY: 2, Status.DONE: 1}


def test_other_topics_go_on(svc: JobService) -> None:
    svc.enqueue_many([NewJob("a", name="a"), NewJob("b", name="b")])
    svc.pause("a")
    assert names(svc.reserve(["a", "b"], 5)) == ["b"]
    svc.resume("a")
    assert names(svc.reserve(["a", "b"], 5)) == ["a"]


def test_what_comes_due_waits_until_the_topic_is_resumed(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("t", delay=5)
    svc.pause("t")
    clock.advance(9)
    assert svc.reserve("t") == []
    assert svc.status(job_id) is Status.DELAYED
    svc.resume("t")
    assert take(svc).id == job_id


def test_pausing_twice_is_pausing_once(svc: JobService) -> None:
    enqueue_named(svc, "a")
    svc.pause("t")
    with unchanged(svc):
        svc.pause("t")
    svc.resume("t")
    with unchanged(svc):
        svc.resume("t")
    assert names(svc.reserve("t")) == ["a"]


def test_a_topic_can_be_paused_before_it_has_jobs(svc: JobService) -> None:
    svc.pause("t")
    assert svc.topics() == ["t"]
    svc.enqueue("t")
    assert svc.reserve("t") == []


def test_a_paused_topic_is_there_without_jobs_until_it_is_resumed(svc: JobService) -> None:
    job = given(svc, keep_done=0)
    svc.pause("t")
    svc.exchange([(job, Done())])
    assert svc.topics() == ["t"]
    assert svc.stats("t").done == 1
    svc.resume("t")
    assert svc.topics() == []
    assert svc.stats("t").done == 0


def test_resuming_what_was_never_paused_makes_no_topic(svc: JobService) -> None:
    svc.resume("t")
    assert svc.topics() == []


def test_retention_goes_on_in_a_paused_topic(svc: JobService, clock: ManualClock) -> None:
    given(svc, keep_done=5).done()
    svc.pause("t")
    clock.advance(5)
    svc.reserve("t")
    assert svc.stats("t").now[Status.DONE] == 0
