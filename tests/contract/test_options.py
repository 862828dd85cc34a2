"""Which options a job gets: its own, else its topic's, else the service's; single fields on top. They stay with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobq import JobOptions, JobService, NewJob
from tests.clocks import ManualClock
from tests.conftest import OpenService
from tests.contract.scenes import given, take

BUILT_IN = {
    "lease": 300,
    "max_retries": 50,
    "min_backoff": 30,
    "max_backoff": 3600,
    "jitter": 0.0,
    "keep_done": 3600,
    "keep_canceled": 86_400,
    "keep_dead": None,
    "log_status_change": False,
}


@pytest.fixture
def layered(open_service: OpenService) -> JobService:
    """A service with options of its own and others for one topic."""
    return open_service(
        defaults=JobOptions(lease=10, max_retries=1),
        topic_defaults={"mail": JobOptions(lease=20, max_retries=2)},
    )


@pytest.mark.parametrize("field", BUILT_IN)
def test_without_any_the_built_in_options_hold(svc: JobService, field: str) -> None:
    assert getattr(svc.get(svc.enqueue("t")).options, field) == BUILT_IN[field]


def test_the_services_options_hold_in_any_topic(layered: JobService) -> None:
    assert layered.get(layered.enqueue("other")).options == JobOptions(lease=10, max_retries=1)


def test_the_topics_options_hold_in_place_of_the_services(layered: JobService) -> None:
    assert layered.get(layered.enqueue("mail")).options == JobOptions(lease=20, max_retries=2)


def test_the_jobs_options_hold_in_place_of_both(layered: JobService) -> None:
    assert layered.get(layered.enqueue("mail", options=JobOptions(lease=30))).options == JobOptions(lease=30)


def test_single_fields_are_changed_on_top_of_each(layered: JobService) -> None:
    on_the_service = layered.enqueue("other", max_retries=9)
    on_the_topic = layered.enqueue("mail", max_retries=9)
    on_the_job = layered.enqueue("mail", options=JobOptions(lease=30), max_retries=9)
    assert [layered.get(job_id).options for job_id in (on_the_service, on_the_topic, on_the_job)] == [
        JobOptions(lease=10, max_retries=9),
        JobOptions(lease=20, max_retries=9),
        JobOptions(lease=30, max_retries=9),
    ]


def test_a_new_job_resolves_as_enqueue_does(layered: JobService) -> None:
    ids = layered.enqueue_many([NewJob("other"), NewJob("mail"), NewJob("mail", options=JobOptions(), lease=5)])
    assert [layered.get(job_id).options for job_id in ids] == [
        JobOptions(lease=10, max_retries=1),
        JobOptions(lease=20, max_retries=2),
        JobOptions(lease=5),
    ]


def test_the_default_topic_has_defaults_under_either_name(open_service: OpenService) -> None:
    svc = open_service(topic_defaults={"": JobOptions(lease=20)})
    assert svc.get(svc.enqueue("default")).options.lease == 20


ODD: list[dict[str, Any]] = [
    {"lease": 0.5, "min_backoff": 0, "max_backoff": 0, "jitter": 1},
    {"max_retries": None, "keep_done": None, "keep_canceled": None, "keep_dead": None},
    {"max_retries": 0, "keep_done": 0, "keep_canceled": 0, "keep_dead": 0},
    {"max_retries": 2**31 - 1, "jitter": 0.125, "keep_dead": 7 * 86_400, "lease": 1e-6},
]


@pytest.mark.parametrize("fields", ODD)
def test_options_are_stored_exactly(svc: JobService, fields: dict[str, Any]) -> None:
    job = given(svc, **fields)
    assert job.options == svc.get(job.id).options == JobOptions(**fields)


def test_a_duration_may_be_a_timedelta(svc: JobService, clock: ManualClock) -> None:
    job = given(svc, lease=timedelta(minutes=2), min_backoff=timedelta(seconds=1.5))
    assert job.options == JobOptions(lease=120, min_backoff=1.5)
    assert job.deadline == clock.after(120)


def test_options_stay_with_the_job_whatever_another_service_says(open_service: OpenService, clock: ManualClock) -> None:
    producer = open_service(defaults=JobOptions(lease=7, min_backoff=3, max_retries=1))
    consumer = open_service(defaults=JobOptions(lease=999, min_backoff=999, max_retries=999))
    job_id = producer.enqueue("t")
    job = take(consumer)
    assert (job.deadline, job.retries_left) == (clock.after(7), 1)
    job.retry()
    assert consumer.get(job_id).run_at == clock.after(3)
    clock.advance(3)
    take(consumer).retry()
    assert consumer.dead_letters("t")[0].options == JobOptions(lease=7, min_backoff=3, max_retries=1)
