"""info: what the queue is kept in, over every storage."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from jobq import JobService, ServiceClosed, StorageInfo
from tests.contract.scenes import STATES, put


def test_jobs_of_every_status_count_and_topics_that_are_in_use(svc: JobService) -> None:
    for state in STATES:
        put(svc, state)
    svc.pause("paused")
    info = svc.info()
    assert info.job_count == len(STATES) == sum(sum(svc.stats(topic).now.values()) for topic in svc.topics())
    assert info.topic_count == len(svc.topics()) == len(STATES) + 1


def test_it_names_the_kind_and_the_url(svc: JobService) -> None:
    info = svc.info()
    assert info.url.partition(":")[0] == info.kind
    assert info.url in repr(svc)


def test_it_does_not_change(svc: JobService) -> None:
    info = svc.info()
    svc.enqueue("mail")
    assert info.job_count == 0
    with pytest.raises(FrozenInstanceError):
        info.job_count = 1  # type: ignore[misc]
    assert svc.info() != info == StorageInfo(info.url, info.kind, 0, 0, info.details)


def test_a_closed_service_says_so(svc: JobService) -> None:
    svc.close()
    with pytest.raises(ServiceClosed):
        svc.info()
