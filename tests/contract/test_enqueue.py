"""Enqueueing: what becomes the payload, when the job is due, and all or none."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobq import JobOptions, JobService, Limits, NewJob, PayloadTooLarge, Status, TopicFull
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import given, names, put, take, unchanged


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"abc"), b"abc"),
        (array("h", [1, 2]), b"\1\0\2\0"),
        (memoryview(b"abcdef")[::2], b"ace"),
        ("", b""),
        ("grün", "grün".encode()),
        (b"x" * 1_048_576, b"x" * 1_048_576),
    ],
    ids=["empty", "bytes", "bytearray", "array", "memoryview", "no text", "text", "largest"],
)
def test_a_payload_is_kept_as_bytes(svc: JobService, payload: Any, stored: bytes) -> None:
    job_id = svc.enqueue("t", payload=payload)
    assert svc.payload(job_id) == stored
    taken = take(svc).payload
    assert taken == stored
    assert type(taken) is bytes


@pytest.mark.parametrize("value", [None, 0, False, "grün", [1, 2.5], {"a": [None, True]}, ""])
def test_a_json_value_is_kept_as_json(svc: JobService, value: Any) -> None:
    assert given(svc, json=value).json() == value


def test_json_is_kept_as_compact_utf8(svc: JobService) -> None:
    job_id = svc.enqueue("t", json={"name": "grün", "n": [1, 2]})
    assert svc.payload(job_id) == '{"name":"grün","n":[1,2]}'.encode()


def test_a_payload_is_read_as_text(svc: JobService) -> None:
    assert given(svc, payload="grün").text == "grün"


def test_the_payload_is_what_it_was_when_it_was_enqueued(svc: JobService) -> None:
    buffer = bytearray(b"before")
    job_id = svc.enqueue("t", payload=buffer)
    buffer[:] = b"after!"
    assert svc.payload(job_id) == b"before"


def test_ids_only_grow_whatever_is_deleted(svc: JobService) -> None:
    first = svc.enqueue("t")
    svc.cancel(first)
    svc.delete(first)
    second = svc.enqueue("t")
    third, fourth = svc.enqueue_many([NewJob("u"), NewJob("t")])
    assert 0 < first < second < third < fourth


def test_no_topic_is_the_default_topic(svc: JobService) -> None:
    job_id = svc.enqueue("")
    assert svc.get(job_id).topic == "default"
    assert svc.topics() == ["default"]
    assert take(svc, "").id == job_id


@pytest.mark.parametrize("topic", ["a", "0", "A-z.9_:x", "x" * 128])
def test_these_topics_are_allowed(svc: JobService, topic: str) -> None:
    svc.enqueue(topic)
    assert svc.topics() == [topic]


@pytest.mark.parametrize("priority", [-32768, -1, 0, 32767])
def test_these_priorities_are_allowed(svc: JobService, priority: int) -> None:
    assert given(svc, priority=priority).priority == priority


@pytest.mark.parametrize(
    ("delay", "seconds"), [(2, 2), (0.25, 0.25), (timedelta(minutes=1, microseconds=1), 60.000001)]
)
def test_a_delay_is_seconds_or_a_timedelta(svc: JobService, clock: ManualClock, delay: Any, seconds: float) -> None:
    assert svc.get(svc.enqueue("t", delay=delay)).run_at == clock.after(seconds)


def test_no_delay_is_ready(svc: JobService) -> None:
    assert svc.status(svc.enqueue("t", delay=0)) is Status.READY


def test_run_at_is_kept_to_the_microsecond(svc: JobService, clock: ManualClock) -> None:
    assert svc.get(svc.enqueue("t", run_at=clock.after(0.123457))).run_at == clock.after(0.123457)


def test_a_handle_says_what_was_enqueued(svc: JobService, clock: ManualClock) -> None:
    job_id = svc.enqueue("mail", -3, b"hello", name="send", lease=20, max_retries=4)
    job = take(svc, "mail")
    assert (job.id, job.topic, job.priority, job.payload, job.name) == (job_id, "mail", -3, b"hello", "send")
    assert (job.attempt, job.retries_left, job.deadline, job.settled) == (1, 4, clock.after(20), False)
    assert job.options == JobOptions(lease=20, max_retries=4)


def test_many_jobs_in_one_call_have_ids_in_order(svc: JobService) -> None:
    def some() -> Iterator[NewJob]:
        yield NewJob("a", 1, b"one", name="first")
        yield NewJob("b", 2, "two", name="second", delay=5)
        yield NewJob("a", json=[3], name="third", max_retries=7)

    ids = svc.enqueue_many(some())
    assert ids == sorted(ids)
    assert [svc.get(job_id).name for job_id in ids] == ["first", "second", "third"]
    assert [svc.payload(job_id) for job_id in ids] == [b"one", b"two", b"[3]"]
    assert [svc.status(job_id) for job_id in ids] == [Status.READY, Status.DELAYED, Status.READY]
    assert [svc.get(job_id).options.max_retries for job_id in ids] == [50, 50, 7]


def test_jobs_of_one_call_are_served_in_their_order(svc: JobService) -> None:
    svc.enqueue_many([NewJob("t", name=str(number)) for number in range(200)])
    assert names(svc.reserve("t", 200)) == [str(number) for number in range(200)]


def test_no_jobs_are_no_ids(svc: JobService) -> None:
    with unchanged(svc):
        assert svc.enqueue_many([]) == []


def test_the_same_new_job_can_be_enqueued_twice(svc: JobService) -> None:
    job = NewJob("t", name="again")
    first, second = svc.enqueue_many([job, job])
    assert first != second
    assert names(svc.reserve("t", 5)) == ["again", "again"]


def test_one_bad_job_and_none_is_enqueued(svc: JobService) -> None:
    put(svc, "ready")
    with unchanged(svc), pytest.raises(ValueError, match="priority"):
        svc.enqueue_many([NewJob("t"), NewJob("t", 99_999)])


def test_a_topic_takes_as_many_waiting_jobs_as_its_depth(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(depth=2))
    svc.enqueue("t")
    svc.enqueue("t", delay=60)
    with unchanged(svc), pytest.raises(TopicFull, match=r"topic 't' has 2 waiting jobs, .* limit of 2"):
        svc.enqueue("t")
    svc.enqueue("u")
    take(svc)
    svc.enqueue("t")
    with unchanged(svc), pytest.raises(TopicFull):
        svc.enqueue("t")


def test_a_full_topic_refuses_the_whole_call(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(depth=2))
    svc.enqueue("t")
    with unchanged(svc), pytest.raises(TopicFull):
        svc.enqueue_many([NewJob("u"), NewJob("t"), NewJob("t")])
    with unchanged(svc), pytest.raises(TopicFull):
        svc.enqueue_many([NewJob("u"), NewJob("t", unique_key="k"), NewJob("t")])
    assert len(svc.enqueue_many([NewJob("u"), NewJob("t"), NewJob("u")])) == 3


def test_a_full_topic_still_takes_its_own_jobs_back(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(depth=1))
    job = given(svc)
    svc.enqueue("t")
    job.release()
    assert svc.stats("t").now[Status.READY] == 2


def test_a_full_topic_still_keeps_and_replaces(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(depth=1))
    holder = svc.enqueue("t", unique_key="k")
    assert svc.enqueue("t", unique_key="k", on_duplicate="keep") == holder
    assert svc.enqueue("t", payload=b"new", unique_key="k", on_duplicate="replace") == holder
    assert svc.payload(holder) == b"new"


def test_one_call_takes_as_many_bytes_as_the_limit_says(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(batch_bytes=10, payload=8))
    with unchanged(svc), pytest.raises(PayloadTooLarge, match=r"11 bytes .* Limits\(batch_bytes=10\)"):
        svc.enqueue_many([NewJob("t", payload=b"12345678"), NewJob("t", payload=b"123")])
    assert len(svc.enqueue_many([NewJob("t", payload=b"12345678"), NewJob("t", payload=b"12")])) == 2


def test_one_call_takes_as_many_jobs_as_the_limit_says(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(batch=7))
    with unchanged(svc), pytest.raises(ValueError, match=r"8 jobs .* Limits\(batch=7\)"):
        svc.enqueue_many([NewJob("t")] * 8)
    assert len(svc.enqueue_many([NewJob("t")] * 7)) == 7
