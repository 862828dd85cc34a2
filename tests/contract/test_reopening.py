"""What is there when a queue is opened again: all of it, or nothing, or what another still has open."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobq import JobService, LeaseLost, ServiceClosed
from jobq.repos import MemoryStorage
from jobq.repos.lmdb import LmdbStorage
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import STATES, Snapshot, given, names, put, snapshot, take


def lived_in(svc: JobService, clock: ManualClock) -> Snapshot:
    """A service with jobs in each state, payloads, keys, totals and a paused topic."""
    for state in STATES:
        put(svc, state)
    svc.enqueue("t", -3, "grün", name="send", unique_key="k", delay=60, lease=7, keep_dead=None)
    given(svc, payload=b"x", max_retries=None).retry(error="down")
    svc.pause("u")
    clock.advance(0.123457)
    given(svc, json=[1]).done({"pages": 3})
    return snapshot(svc)


def test_a_directory_holds_all_when_it_is_opened_again(tmp_path: Path, clock: ManualClock) -> None:
    first = JobService(LmdbStorage(tmp_path / "jobs", clock=clock))
    before = lived_in(first, clock)
    first.close()
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as second:
        assert snapshot(second) == before
        assert second.lookup("t", "k") is not None
        assert second.enqueue("t") > max(before.jobs)


def test_a_reservation_outlives_its_process_until_the_lease_is_over(tmp_path: Path, clock: ManualClock) -> None:
    first = JobService(LmdbStorage(tmp_path / "jobs", clock=clock))
    lost = given(first, name="lost", lease=30)
    first.close()
    with pytest.raises(ServiceClosed):
        lost.done()
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as second:
        clock.advance(29)
        assert second.reserve("t") == []
        clock.advance(1)
        assert names(second.reserve("t")) == ["lost"]


def test_a_handle_of_before_can_be_settled_by_the_service_of_now(tmp_path: Path, clock: ManualClock) -> None:
    first = JobService(LmdbStorage(tmp_path / "jobs", clock=clock))
    job = given(first, lease=30)
    first.close()
    with JobService(LmdbStorage(tmp_path / "jobs", clock=clock)) as second:
        second.done(job)
        with pytest.raises(LeaseLost):
            second.done(job)


def test_a_queue_in_memory_is_gone_with_the_last_that_had_it_open(clock: ManualClock) -> None:
    first = JobService(MemoryStorage("of-this-test", clock=clock))
    before = lived_in(first, clock)
    second = JobService(MemoryStorage("of-this-test", clock=clock))
    first.close()
    assert snapshot(second) == before
    second.close()
    with JobService(MemoryStorage("of-this-test", clock=clock)) as third:
        assert third.topics() == []


def test_a_queue_in_memory_without_a_name_is_private() -> None:
    with JobService(MemoryStorage()) as one, JobService(MemoryStorage()) as other:
        one.enqueue("t")
        assert other.topics() == []
        assert one.topics() == ["t"]


def test_another_opener_sees_all_and_changes_nothing(
    svc: JobService, open_service: OpenService, clock: ManualClock
) -> None:
    before = lived_in(svc, clock)
    other = open_service()
    assert snapshot(other) == before
    other.close()
    assert snapshot(svc) == before
    assert take(svc, "ready").id == min(before.jobs)
