"""The contract of two openings of the same jobs, and of threads that share one."""

from __future__ import annotations

import itertools

import pytest

from jobq.errors import LeaseLost, ServiceClosed
from jobq.model.requests import NewJob
from jobq.outcomes import Done, Release
from jobq.repos.memory import MemoryStorage
from jobq.service import JobService
from jobq.testing.clock import ManualClock
from jobq.testing.contract.scenes import OpenStorage, add, get, in_threads, request
from jobq.testing.invariants import check_invariants

THREADS = 4


class SharingContract:
    """Openings of the same jobs are one queue, whoever uses which."""

    def test_openings_of_the_same_jobs_know_it(self, open_storage: OpenStorage, clock: ManualClock) -> None:
        one, other = open_storage(), open_storage()
        assert one.identity == other.identity
        assert hash(one.identity) == hash(other.identity)
        assert one.identity != MemoryStorage(clock=clock).identity
        assert one.url == other.url
        assert isinstance(one.url, str)

    def test_what_one_writes_the_other_reads_and_changes(self, open_storage: OpenStorage) -> None:
        one, other = open_storage(), open_storage()
        [record] = add(one, request())
        assert get(other, record.id) == [record]
        [second] = add(other, request())
        assert second.id > record.id
        assert get(one, second.id) == [second]
        check_invariants(one)

    def test_closing_one_leaves_the_other(self, open_storage: OpenStorage) -> None:
        one, other = open_storage(), open_storage()
        [record] = add(one, request())
        one.close()
        assert get(other, record.id) == [record]
        with pytest.raises(ServiceClosed):
            get(one, record.id)
        assert get(open_storage(), record.id) == [record]

    def test_a_reservation_of_one_is_settled_by_the_other(self, open_storage: OpenStorage) -> None:
        one, other = JobService(open_storage()), JobService(open_storage())
        job_id = one.enqueue("t")
        [job] = one.reserve("t")
        assert other.reserve("t") == []
        other.done(job, {"by": "other"})
        assert one.get(job_id).result == {"by": "other"}
        with pytest.raises(LeaseLost):
            job.done()

    def test_each_job_goes_to_one_thread(self, open_storage: OpenStorage) -> None:
        services = [JobService(open_storage()) for _ in range(2)]
        enqueued = services[0].enqueue_many([NewJob("t", number % 3) for number in range(THREADS * 30)])

        def work(thread: int) -> list[int]:
            svc = services[thread % 2]
            done: list[int] = []
            jobs = svc.exchange(topics="t", n=3).jobs
            while jobs:
                first, rest = jobs[0], jobs[1:]
                done.append(first.id)
                given_back = [(job, Release()) for job in rest]
                jobs = svc.exchange([(first, Done()), *given_back], topics="t", n=3).jobs
            return done

        assert sorted(itertools.chain(*in_threads(THREADS, work))) == enqueued
        assert services[0].stats("t").done == len(enqueued)

    def test_threads_that_enqueue_while_others_wait_lose_nothing(self, open_storage: OpenStorage) -> None:
        services = [JobService(open_storage()) for _ in range(2)]

        def work(thread: int) -> list[int]:
            if thread < 2:
                return consume(services[thread % 2])
            enqueued = [services[thread % 2].enqueue("t", name="job") for _ in range(40)]
            services[thread % 2].enqueue("t", 1, name="stop")
            return enqueued

        one, two, *enqueued = in_threads(THREADS, work)
        assert sorted(one + two) == sorted(itertools.chain(*enqueued))
        check_invariants(open_storage())

    def test_one_of_many_threads_gets_the_unique_key(self, open_storage: OpenStorage) -> None:
        services = [JobService(open_storage()) for _ in range(2)]

        def enqueue(thread: int) -> set[int]:
            return {services[thread % 2].enqueue("t", unique_key="k", on_duplicate="keep") for _ in range(10)}

        assert set().union(*in_threads(THREADS, enqueue)) == {services[0].lookup("t", "k")}
        assert services[1].stats("t").enqueued == 1


def consume(svc: JobService) -> list[int]:
    """Work until a job named "stop" comes; the ids of the others."""
    seen: list[int] = []
    for job in svc.jobs("t"):
        job.done()
        if job.name == "stop":
            return seen
        seen.append(job.id)
    raise AssertionError("a loop without a timeout ended")
