"""What others learned the hard way, each as a regression test that names the lesson."""

from __future__ import annotations

import pytest

from jobq import CancelReason, Done, JobService, LeaseLost, NewJob, Status, StorageError
from tests.clocks import ManualClock
from tests.conftest import OpenService, OpenStorage
from tests.contract.scenes import enqueue_named, given, names, snapshot, take, unchanged
from tests.worker.scenes import Watched


def pull_the_plug(number: int) -> None:
    """Break a transaction once its body has written everything."""
    raise StorageError("the plug was pulled")


def test_no_work_is_lost_between_pop_and_start(open_storage: OpenStorage) -> None:
    """huey, rq, goscheds and go-task-scheduler pop a job first and note that it began second."""
    storage = Watched(open_storage())
    svc = JobService(storage)
    enqueue_named(svc, "a", "b")
    storage.fail = pull_the_plug
    with unchanged(svc), pytest.raises(StorageError, match="the plug was pulled"):
        svc.reserve("t", 2)
    storage.fail = None
    assert names(svc.reserve("t", 2)) == ["a", "b"]


def test_no_work_is_lost_between_done_and_what_follows(open_storage: OpenStorage) -> None:
    """The same gap between the end of one job and the enqueueing of the next."""
    storage = Watched(open_storage())
    svc = JobService(storage)
    job = given(svc)
    storage.fail = pull_the_plug
    with unchanged(svc), pytest.raises(StorageError):
        job.done(then=NewJob("t", name="next"))
    assert not job.settled
    storage.fail = None
    job.done(then=NewJob("t", name="next"))
    assert take(svc).name == "next"


def test_a_job_is_in_one_place_at_every_step_of_its_life(svc: JobService, clock: ManualClock) -> None:
    """What is popped and not yet started is in no list at all, in those that lose it."""
    job_id = svc.enqueue("t", delay=5, lease=10)

    def places() -> list[str]:
        return [status for status in Status for info in svc.find(status) if info.id == job_id]

    seen = [places()]
    clock.advance(5)
    job = take(svc)
    seen.append(places())
    clock.advance(10)
    job = take(svc)
    seen.append(places())
    job.retry(0)
    seen.append(places())
    take(svc).done()
    seen.append(places())
    assert seen == [["delayed"], ["reserved"], ["reserved"], ["ready"], ["done"]]


def test_a_live_job_is_not_rescued_while_its_holder_renews_it(svc: JobService, clock: ManualClock) -> None:
    """River, Oban and celery with Redis rescue by the age of a job, alive or not."""
    job = given(svc, lease=30)
    for _ in range(500):
        clock.advance(25)
        job.extend()
        assert svc.reserve("t") == []
    job.done()
    stats = svc.stats("t")
    assert (stats.reserved, stats.expired, stats.done) == (1, 0, 1)


def test_who_was_rescued_from_can_change_nothing_any_more(svc: JobService, clock: ManualClock) -> None:
    """A holder that was only slow comes back after the rescue: its token is worth nothing."""
    slow = given(svc, lease=30)
    clock.advance(30)
    rescuer = take(svc)
    for verb in (slow.done, slow.retry, slow.release, slow.reject, slow.cancel, slow.extend):
        with unchanged(svc), pytest.raises(LeaseLost):
            verb()
    with unchanged(svc):
        assert svc.exchange([(slow, Done())]).lost == [slow]
    rescuer.done("by the rescuer")
    assert svc.get(slow.id).result == "by the rescuer"


def test_a_job_that_kills_its_worker_is_not_tried_for_ever(svc: JobService, clock: ManualClock) -> None:
    """dramatiq hands it out again and again, as nobody is left to count the failure."""
    killer = svc.enqueue("t", max_retries=3, lease=30, name="killer")
    attempts = 0
    while svc.reserve("t"):
        attempts += 1
        assert attempts < 100
        clock.advance(30)
    assert attempts == 4
    [letter] = svc.dead_letters("t")
    assert (letter.id, letter.cancel_reason, letter.attempt) == (killer, CancelReason.EXHAUSTED, 4)


def test_a_job_that_kills_its_worker_keeps_no_other_from_being_served(svc: JobService, clock: ManualClock) -> None:
    """Nor is it served before the others each time, where those waited longer."""
    svc.enqueue("t", name="killer", lease=30, max_retries=3)
    take(svc)
    enqueue_named(svc, "a", "b")
    clock.advance(30)
    assert names(svc.reserve("t", 3)) == ["a", "b", "killer"]


def test_acknowledging_removes_no_job_of_another(svc: JobService) -> None:
    """goscheds pops the head of the list, persist-queue counts task_done, goqite has no receipt."""
    enqueue_named(svc, "a", "b", "c")
    a, b, c = svc.reserve("t", 3)
    b.done()
    assert [svc.status(job.id) for job in (a, b, c)] == [Status.RESERVED, Status.DONE, Status.RESERVED]
    with unchanged(svc), pytest.raises(LeaseLost):
        b.done()
    c.retry()
    a.done()
    assert [svc.status(job.id) for job in (a, b, c)] == [Status.DONE, Status.DONE, Status.DELAYED]


def test_acknowledging_late_removes_no_later_delivery(svc: JobService, clock: ManualClock) -> None:
    """The same, of one job: the second delivery is another's, though the id is the same."""
    first = given(svc, lease=10)
    clock.advance(10)
    second = take(svc)
    with unchanged(svc), pytest.raises(LeaseLost):
        first.done()
    second.done()


def test_a_job_is_not_delivered_again_on_each_poll(svc: JobService, clock: ManualClock) -> None:
    """golang-delayed-job polls what is due, and delivers it until it is acknowledged."""
    svc.enqueue("t", delay=5, lease=60)
    clock.advance(5)
    delivered = 0
    for _ in range(59):
        delivered += len(svc.reserve("t", 10))
        clock.advance(1)
    assert delivered == 1


def test_a_delay_longer_than_the_lease_delivers_once(svc: JobService, clock: ManualClock) -> None:
    """celery and kombu hold a delayed job unacknowledged, and deliver it again at the visibility timeout."""
    svc.enqueue("t", delay=86_400, lease=30)
    delivered = 0
    for _ in range(25):
        delivered += len(svc.reserve("t", 10, lease=99_999))
        clock.advance(3600)
    assert delivered == 1
    assert svc.stats("t").expired == 0


def test_a_retry_delay_longer_than_the_lease_delivers_once(svc: JobService, clock: ManualClock) -> None:
    """The same, of a job that is retried."""
    job = given(svc, lease=30)
    job.retry(86_400)
    clock.advance(86_399)
    assert svc.reserve("t") == []
    clock.advance(1)
    assert take(svc).attempt == 2
    assert svc.stats("t").expired == 0


def test_backoff_beyond_its_maximum_stays_at_its_maximum(svc: JobService, clock: ManualClock) -> None:
    """In the Go library it fell back to the minimum."""
    job_id = svc.enqueue("t", min_backoff=1, max_backoff=100, max_retries=None)
    waits = []
    for _ in range(200):
        take(svc).retry()
        waits.append((svc.get(job_id).run_at - clock.now()).total_seconds())
        clock.advance(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 64] + [100] * 193


def test_a_second_opener_redelivers_no_live_work(
    svc: JobService, open_service: OpenService, clock: ManualClock
) -> None:
    """persist-queue gives all that is unacknowledged to whoever opens the queue."""
    enqueue_named(svc, "held", "waiting")
    held = take(svc)
    clock.advance(299)
    before = snapshot(svc)
    second = open_service()
    assert snapshot(second) == before
    assert names(second.reserve("t", 10)) == ["waiting"]
    second.close()
    assert open_service().reserve("t", 10) == []
    held.done()
    assert svc.stats("t").expired == 0


def test_retention_keeps_a_queue_in_use_from_growing(svc: JobService, clock: ManualClock) -> None:
    """persist-queue keeps acknowledged rows until somebody cleans up."""
    most = 0
    for _ in range(300):
        svc.enqueue("t", keep_done=20)
        take(svc).done()
        clock.advance(1)
        most = max(most, sum(svc.stats("t").now.values()))
    assert most == 20
    assert svc.stats("t").done == 300


def test_retention_catches_up_after_a_burst(svc: JobService, clock: ManualClock) -> None:
    """More than one goes with each verb, so that a backlog of finished jobs shrinks while work goes on."""
    svc.enqueue_many([NewJob("t", keep_done=10)] * 500)
    svc.done(svc.reserve("t", 500))
    clock.advance(10)
    for _ in range(30):
        svc.enqueue("t", keep_done=0)
        take(svc).done()
    assert svc.topics() == []
