"""Looking at jobs changes nothing: one by id, all of a status page by page, by unique key, and what is due next."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import pytest

from jobq import CancelReason, JobInfo, JobNotFound, JobService, NewJob, Status
from tests.clocks import ManualClock
from tests.contract.scenes import STATES, enqueue_named, given, put, take, unchanged


@pytest.mark.parametrize("state", STATES)
def test_status_is_what_get_says(svc: JobService, state: str) -> None:
    job_id = put(svc, state)
    assert svc.status(job_id) is svc.get(job_id).status is (Status.CANCELED if state == "dead" else Status(state))


@pytest.mark.parametrize("state", STATES)
def test_the_payload_is_there_in_every_status(svc: JobService, state: str) -> None:
    svc.enqueue("other", payload=b"other")
    job_id = put(svc, state)
    if state in ("ready", "delayed"):
        assert svc.payload(job_id) == b""
    svc.enqueue("t", payload=b"x", unique_key="k")
    holder = svc.lookup("t", "k")
    assert holder is not None
    assert svc.payload(holder) == b"x"


@pytest.mark.parametrize("state", STATES)
def test_looking_changes_nothing(svc: JobService, clock: ManualClock, state: str) -> None:
    job_id = put(svc, state)
    clock.advance(10**6)
    with unchanged(svc):
        svc.get(job_id)
        svc.status(job_id)
        svc.payload(job_id)
        svc.lookup("t", "k")
        svc.topics()
        svc.stats(state)
        svc.next_due(state)
        svc.dead_letters()
        for status in Status:
            svc.find(status)


@pytest.mark.parametrize("job_id", [0, 7, -1, 2**31, 2**63, 2**64, 10**30])
def test_an_unknown_id_is_not_found(svc: JobService, job_id: int) -> None:
    put(svc, "ready")
    for look in (svc.get, svc.status, svc.payload):
        with pytest.raises(JobNotFound, match=f"there is no job {job_id}: ") as e:
            look(job_id)
        assert e.value.ids == [job_id]


def test_an_info_is_a_frozen_snapshot(svc: JobService) -> None:
    info = svc.get(put(svc, "ready"))
    take(svc, "ready")
    assert info.status is Status.READY
    with pytest.raises(FrozenInstanceError):
        info.attempt = 5  # type: ignore[misc]  # frozen


def test_an_info_can_be_pickled_and_pages_on(svc: JobService) -> None:
    first, second = svc.enqueue_many([NewJob("t"), NewJob("t")])
    [info] = svc.find(Status.READY, limit=1)
    copy = pickle.loads(pickle.dumps(info))
    assert copy == info
    assert info.id == first
    assert [after.id for after in svc.find(Status.READY, after=copy)] == [second]


# -- find --------------------------------------------------------------------------------------------------------------


def pages(svc: JobService, status: Status, limit: int, topic: str | None = None) -> list[list[int]]:
    """The ids of each page."""
    found: list[list[int]] = []
    after: JobInfo | None = None
    while page := svc.find(status, topic=topic, after=after, limit=limit):
        found.append([info.id for info in page])
        after = page[-1]
    return found


def several(svc: JobService, status: Status, clock: ManualClock, topic: str) -> list[int]:
    """Seven jobs of a status, in the order in which `find` should list them."""
    order = [3, 1, 6, 0, 5, 2, 4]
    if status is Status.READY:
        ids = {rank: svc.enqueue(topic, rank) for rank in order}
    elif status is Status.DELAYED:
        ids = {rank: svc.enqueue(topic, delay=10 + rank) for rank in order}
    elif status is Status.RESERVED:
        ids = {rank: svc.enqueue(topic, lease=10 + rank) for rank in order}
        svc.reserve(topic, 7)
    else:
        ids = {
            rank: svc.enqueue(topic, keep_done=10 + rank, keep_canceled=10 + rank, keep_dead=10 + rank)
            for rank in order
        }
        if status is Status.DONE:
            svc.done(svc.reserve(topic, 7))
        else:
            svc.cancel([ids[rank] for rank in (3, 6, 0, 2)])
            svc.reject(svc.reserve(topic, 7))
    return [ids[rank] for rank in range(7)]


each_status = pytest.mark.parametrize("status", list(Status))


@each_status
def test_jobs_are_listed_in_the_order_of_their_places(svc: JobService, clock: ManualClock, status: Status) -> None:
    expected = several(svc, status, clock, "t")
    assert [info.id for info in svc.find(status)] == expected
    for other in Status:
        if other is not status:
            assert svc.find(other) == []


@each_status
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_go_on_behind_the_last(svc: JobService, clock: ManualClock, status: Status, limit: int) -> None:
    expected = [job_id for topic in ("a", "b") for job_id in several(svc, status, clock, topic)]
    found = pages(svc, status, limit)
    assert [job_id for page in found for job_id in page] == expected
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


@each_status
@pytest.mark.parametrize("limit", [3, 7])
def test_pages_of_one_topic(svc: JobService, clock: ManualClock, status: Status, limit: int) -> None:
    several(svc, status, clock, "a")
    expected = several(svc, status, clock, "b")
    several(svc, status, clock, "c")
    assert [job_id for page in pages(svc, status, limit, "b") for job_id in page] == expected


@each_status
def test_a_page_goes_on_behind_a_job_that_is_gone(svc: JobService, clock: ManualClock, status: Status) -> None:
    expected = several(svc, status, clock, "t")
    last = svc.find(status, limit=3)[-1]
    assert last.id == expected[2]
    if status not in (Status.DONE, Status.CANCELED):
        svc.cancel(last.id)
    svc.delete(last.id)
    assert [info.id for info in svc.find(status, after=last)] == expected[3:]


@each_status
def test_a_status_may_be_named(svc: JobService, clock: ManualClock, status: Status) -> None:
    several(svc, status, clock, "t")
    assert svc.find(status.value) == svc.find(status)


@each_status
def test_what_find_gives_is_what_get_gives(svc: JobService, clock: ManualClock, status: Status) -> None:
    several(svc, status, clock, "t")
    found = svc.find(status)
    assert len(found) == 7
    assert found == [svc.get(info.id) for info in found]


def test_a_hundred_is_a_page_unless_said_otherwise(svc: JobService) -> None:
    svc.enqueue_many([NewJob("t")] * 101)
    assert len(svc.find(Status.READY)) == 100
    assert len(svc.find(Status.READY, limit=1000)) == 101


def test_nothing_is_found_in_a_topic_not_in_use(svc: JobService) -> None:
    put(svc, "ready")
    assert svc.find(Status.READY, topic="unused") == []
    assert svc.find(Status.READY, topic="") == []


def test_the_default_topic_is_found_under_either_name(svc: JobService) -> None:
    job_id = svc.enqueue("")
    assert [info.id for info in svc.find(Status.READY, topic="")] == [job_id]
    assert [info.id for info in svc.find(Status.READY, topic="default")] == [job_id]


# -- dead letters ------------------------------------------------------------------------------------------------------


def test_dead_letters_are_all_but_those_canceled_on_request(svc: JobService, clock: ManualClock) -> None:
    reasons = {}
    for topic in ("a", "b"):
        svc.cancel(svc.enqueue(topic))
        rejected, unhandled, exhausted = given(svc, topic), given(svc, topic), given(svc, topic, max_retries=0)
        rejected.reject()
        unhandled.reject(reason=CancelReason.UNHANDLED)
        exhausted.retry()
        reasons[topic] = [
            (rejected.id, CancelReason.REJECTED),
            (unhandled.id, CancelReason.UNHANDLED),
            (exhausted.id, CancelReason.EXHAUSTED),
        ]
    assert [(info.id, info.cancel_reason) for info in svc.dead_letters()] == reasons["a"] + reasons["b"]
    assert [(info.id, info.cancel_reason) for info in svc.dead_letters("b")] == reasons["b"]
    assert [info.status for info in svc.dead_letters()] == [Status.CANCELED] * 6


def test_dead_letters_come_page_by_page(svc: JobService) -> None:
    svc.enqueue_many([NewJob(topic) for topic in "ab" for _ in range(4)])
    svc.reject(svc.reserve(["a", "b"], 8))
    svc.cancel(svc.enqueue("a"))
    found: list[JobInfo] = []
    sizes = []
    while page := svc.dead_letters(after=found[-1] if found else None, limit=3):
        found += page
        sizes.append(len(page))
    assert (len({info.id for info in found}), sizes) == (8, [3, 3, 2])
    assert [info.topic for info in found] == ["a"] * 4 + ["b"] * 4


# -- lookup ------------------------------------------------------------------------------------------------------------


def test_lookup_finds_the_unfinished_holder(svc: JobService) -> None:
    job_id = svc.enqueue("t", unique_key="order-7")
    assert svc.lookup("t", "order-7") == job_id
    assert svc.lookup("t", "order-8") is None
    assert svc.lookup("u", "order-7") is None
    assert svc.lookup("", "order-7") is None
    take(svc).done()
    assert svc.lookup("t", "order-7") is None
    assert svc.get(job_id).unique_key == "order-7"


# -- next due ----------------------------------------------------------------------------------------------------------


def test_nothing_is_due_where_nothing_waits(svc: JobService) -> None:
    put(svc, "done")
    put(svc, "dead")
    put(svc, "canceled")
    assert svc.next_due("t") is None
    assert svc.next_due(["done", "dead", "canceled"]) is None


def test_a_ready_job_is_due_now(svc: JobService, clock: ManualClock) -> None:
    put(svc, "ready")
    clock.advance(5)
    assert svc.next_due("ready") == clock.now()


def test_a_delayed_job_is_due_at_its_time_or_now(svc: JobService, clock: ManualClock) -> None:
    svc.enqueue_many([NewJob("t", delay=9), NewJob("t", delay=5), NewJob("u", delay=3)])
    assert svc.next_due("t") == clock.after(5)
    assert svc.next_due(["t", "u"]) == clock.after(3)
    clock.advance(7)
    assert svc.next_due("t") == clock.now()


def test_a_job_delayed_for_decades_is_due_to_the_microsecond(svc: JobService, clock: ManualClock) -> None:
    run_at = clock.now().replace(year=2100, microsecond=123457)
    job_id = svc.enqueue("t", run_at=run_at)
    assert svc.next_due("t") == svc.get(job_id).run_at == run_at


def test_a_reserved_job_is_due_at_its_deadline(svc: JobService, clock: ManualClock) -> None:
    given(svc, lease=30)
    svc.enqueue("t", delay=60)
    assert svc.next_due("t") == clock.after(30)
    clock.advance(31)
    assert svc.next_due("t") == clock.now()


def test_a_paused_topic_is_never_due(svc: JobService, clock: ManualClock) -> None:
    enqueue_named(svc, "a")
    svc.enqueue("u", delay=9)
    svc.pause("t")
    assert svc.next_due("t") is None
    assert svc.next_due(["t", "u"]) == clock.after(9)
    svc.resume("t")
    assert svc.next_due(["t", "u"]) == clock.now()


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_a_repr_shows_no_payload(svc: JobService) -> None:
    job = given(svc, payload=b"secret", name="send")
    for shown in (repr(job), repr(svc.get(job.id)), repr(svc), repr(NewJob("t", payload=b"secret"))):
        assert "secret" not in shown
    assert f"{job.id} 'send' of topic 't', attempt 1" in repr(job)
    job.done()
    assert repr(job).endswith("attempt 1, settled>")


def test_a_service_says_where_its_queue_is(svc: JobService) -> None:
    assert svc.url.partition(":")[0] in ("memory", "lmdb")
    assert repr(svc) == f"<JobService of {svc.url}>"


def test_a_closed_service_says_so(svc: JobService) -> None:
    assert not repr(svc).endswith(", closed>")
    svc.close()
    assert repr(svc).endswith(", closed>")


def test_services_and_handles_refuse_pickling(svc: JobService) -> None:
    job = given(svc)
    with pytest.raises(TypeError, match="open the same URL in the child"):
        pickle.dumps(svc)
    with pytest.raises(TypeError, match="reserve it in the process that works on it"):
        pickle.dumps(job)


def test_the_id_may_be_named(svc: JobService) -> None:
    id = svc.enqueue("t", payload=b"p")
    svc.cancel(id)
    assert (svc.get(id=id), svc.status(id=id)) == (svc.wait_for(id=id, timeout=0), Status.CANCELED)
    assert (svc.payload(id=id), list(svc.logs(id=id))) == (b"p", [])
