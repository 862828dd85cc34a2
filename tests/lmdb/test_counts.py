"""What each verb costs, in what noise cannot touch: write transactions that changed something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobq import Done, JobService, NewJob
from jobq.repos.lmdb import LmdbStorage
from tests.clocks import ManualClock


class Counted:
    """A service, and how many commits its calls make."""

    def __init__(self, storage: LmdbStorage) -> None:
        self._storage = storage
        self.svc = JobService(storage)

    def commits(self, call: Callable[[], object]) -> int:
        before = self._storage._environment.last_change()
        call()
        return self._storage._environment.last_change() - before


@pytest.fixture
def counted(tmp_path: Path, clock: ManualClock) -> Iterator[Counted]:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)
    yield Counted(storage)
    storage.close()


def test_one_commit_a_call_however_many_jobs(counted: Counted) -> None:
    svc = counted.svc
    assert counted.commits(lambda: svc.enqueue("mail")) == 1
    assert counted.commits(lambda: svc.enqueue_many([NewJob("mail") for _ in range(200)])) == 1
    assert counted.commits(lambda: svc.enqueue_many([NewJob(topic) for topic in "abc"])) == 1
    assert counted.commits(lambda: svc.done(svc.reserve("mail", 100))) == 2
    assert counted.commits(lambda: svc.cancel([job.id for job in svc.find("ready", topic="mail")])) == 1


def test_nothing_to_do_is_no_commit(counted: Counted) -> None:
    svc = counted.svc
    svc.enqueue("mail", delay=60)
    assert counted.commits(lambda: svc.reserve(["mail", "other"], 10)) == 0
    assert counted.commits(lambda: svc.done([])) == 0
    assert counted.commits(lambda: svc.enqueue_many([])) == 0
    assert counted.commits(lambda: (svc.stats("mail"), svc.get(1), svc.find("delayed"), svc.topics())) == 0


def test_a_workers_steady_state_is_one_commit_a_batch(counted: Counted) -> None:
    svc = counted.svc
    svc.enqueue_many([NewJob("mail") for _ in range(60)])
    batch = svc.reserve("mail", 20)

    def work() -> None:
        nonlocal batch
        while batch:
            batch = svc.exchange([(job, Done()) for job in batch], topics="mail", n=20).jobs

    assert counted.commits(work) == 3
    assert svc.stats("mail").done == 60


def test_due_jobs_and_retention_cost_no_commit_of_their_own(counted: Counted, clock: ManualClock) -> None:
    svc = counted.svc
    svc.enqueue_many([NewJob("mail", delay=5, keep_done=1) for _ in range(50)])
    clock.advance(5)
    assert counted.commits(lambda: svc.done(svc.reserve("mail", 25))) == 2
    clock.advance(2)
    assert counted.commits(lambda: svc.reserve("mail", 25)) == 1
    assert len(svc.find("done")) == 0
