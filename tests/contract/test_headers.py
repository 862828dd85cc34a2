"""Headers travel with a job, unchanged, whatever becomes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from jobq import Done, Job, JobService, NewJob, Release, Status
from jobq.testing.invariants import check_invariants
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import given, take, unchanged

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "größe": 'a "b"\n\\ ☃'}
LONGEST = {"h": "x" * (4_000 - len('{"h":""}'))}


@pytest.mark.parametrize("headers", [TRACE, LONGEST, {"a": ""}, {" ": " "}])
def test_a_job_brings_its_headers(svc: JobService, headers: dict[str, str]) -> None:
    job = given(svc, headers=headers, payload="p")
    assert (job.headers, job.text) == (headers, "p")
    assert svc.get(job.id).headers == job.info().headers == headers


@pytest.mark.parametrize("headers", [None, {}])
def test_a_job_without_headers_has_an_empty_mapping(svc: JobService, headers: dict[str, str] | None) -> None:
    job = given(svc, headers=headers)
    assert (job.headers, svc.get(job.id).headers) == ({}, {})


def test_headers_are_those_of_the_moment_it_was_enqueued(svc: JobService) -> None:
    headers = dict(TRACE)
    svc.enqueue("t", headers=MappingProxyType(headers))
    headers.clear()
    assert take(svc).headers == TRACE


def test_the_headers_of_a_handle_cannot_be_changed(svc: JobService) -> None:
    headers: Any = given(svc, headers=TRACE).headers
    with pytest.raises(TypeError):
        headers["traceparent"] = "another"
    assert isinstance(headers, Mapping)


def test_a_snapshot_with_headers_has_a_hash_and_compares_by_them(svc: JobService) -> None:
    one, other = (svc.get(svc.enqueue("t", headers=headers)) for headers in (TRACE, {}))
    assert len({one, other, svc.get(one.id)}) == 2
    assert one == svc.get(one.id)


def test_every_way_to_enqueue_takes_headers(svc: JobService) -> None:
    ids = svc.enqueue_many([NewJob("t", headers={"n": "0"}), NewJob("t"), NewJob("t", headers={"n": "2"})])
    ids += svc.exchange(enqueue=NewJob("t", headers={"n": "3"})).ids
    ids += given(svc, "u").done(then=NewJob("t", headers={"n": "4"}))
    ids += given(svc, "u").release(60, then=NewJob("t", headers={"n": "5"}))
    with given(svc, "w"):
        raise Done(then=[NewJob("t", headers={"n": "6"})])
    found = [job.headers for job in svc.reserve("t", 10)]
    assert found == [{"n": "0"}, {}, *({"n": str(number)} for number in (2, 3, 4, 5, 6))]
    assert [svc.get(id).headers for id in ids] == found[:-1]


def test_a_job_passes_its_headers_on(svc: JobService) -> None:
    first = given(svc, headers=TRACE)
    first.done(then=NewJob("next", headers=first.headers))
    assert take(svc, "next").headers == TRACE


def outlived(job: Job, clock: ManualClock, svc: JobService, verb: str) -> None:
    """Bring a reserved job back by a verb, or by time."""
    if verb == "expire":
        clock.advance(301)
    elif verb == "reset":
        job.reject("bad")
        svc.reset(job.id)
    elif verb == "reset done":
        job.done({"n": 1})
        svc.reset(job.id)
    elif verb == "reschedule":
        job.release(60)
        svc.reschedule(job.id, clock.now())
    elif verb == "extend":
        job.extend(900)
        job.retry(0)
    else:
        getattr(job, verb)(0)


@pytest.mark.parametrize("options", [{}, {"log_status_change": True}, {"unique_key": "k", "name": "send"}])
@pytest.mark.parametrize("verb", ["retry", "release", "expire", "reset", "reset done", "reschedule", "extend"])
def test_they_stay_whatever_brings_the_job_back(
    svc: JobService, clock: ManualClock, verb: str, options: dict[str, Any]
) -> None:
    job = given(svc, headers=TRACE, **options)
    outlived(job, clock, svc, verb)
    again = take(svc)
    assert (again.id, again.headers) == (job.id, TRACE)


@pytest.mark.parametrize("end", ["done", "cancel", "reject"])
def test_they_stay_with_a_finished_job(svc: JobService, end: str) -> None:
    job = given(svc, headers=TRACE)
    getattr(job, end)()
    assert svc.get(job.id).finished_at is not None
    assert svc.get(job.id).headers == TRACE
    assert [info.headers for info in svc.find(svc.status(job.id))] == [TRACE]


@pytest.mark.parametrize("later", [None, {}, {"other": "1"}, LONGEST])
def test_replace_gives_the_holder_the_new_headers_and_keep_does_not(
    svc: JobService, later: dict[str, str] | None
) -> None:
    holder = svc.enqueue("t", unique_key="k", headers=TRACE)
    with unchanged(svc):
        assert svc.enqueue("t", unique_key="k", on_duplicate="keep", headers=later) == holder
    assert svc.get(holder).headers == TRACE
    assert svc.enqueue("t", unique_key="k", on_duplicate="replace", headers=later) == holder
    assert take(svc).headers == (later or {})


def test_they_are_there_when_the_queue_is_opened_again(open_service: OpenService) -> None:
    first = open_service()
    ids = [first.enqueue("t", headers={"n": str(number)}, delay=number or None) for number in range(3)]
    second = open_service()
    first.close()
    assert [second.get(id).headers for id in ids] == [{"n": str(number)} for number in range(3)]
    assert take(second).headers == {"n": "0"}


def test_verify_finds_nothing_wrong_with_them(svc: JobService) -> None:
    for number in range(5):
        svc.enqueue("t", headers=TRACE | {"n": str(number)}, unique_key=str(number))
    take(svc).retry(0)
    assert svc.verify(repair=True) == []
    check_invariants(svc._storage)
    assert all(job.headers.items() >= TRACE.items() for job in svc.reserve("t", 9))


def test_those_of_many_jobs_do_not_mix(svc: JobService) -> None:
    svc.enqueue_many([NewJob("t", n % 3, headers={"n": str(n)} if n % 2 else None, json=n) for n in range(40)])
    for job in svc.jobs("t", n=7, timeout=0):
        with job:
            assert job.headers == ({"n": str(job.json())} if job.json() % 2 else {})
            if job.attempt == 1 and job.json() % 5 == 0:
                raise Release
    assert svc.stats("t").now[Status.DONE] == 40


def test_their_bound_is_that_of_their_json(svc: JobService) -> None:
    assert len(json.dumps(LONGEST, separators=(",", ":"))) == 4_000
    svc.enqueue("t", headers=LONGEST)
    with unchanged(svc), pytest.raises(ValueError, match="headers must have at most 4000 bytes as JSON, not 4001"):
        svc.enqueue("t", headers={"h": LONGEST["h"] + "x"})
