"""What each verb costs, in what noise cannot touch: write transactions that changed something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


class CountedTransaction:
    """A write transaction that counts what is asked of the B-trees."""

    def __init__(self, txn: Any, operations: Counter[str]) -> None:
        self._txn = txn
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._txn, name)
        if name not in ("get", "put", "delete", "cursor", "pop", "stat"):
            return real

        def counting(*arguments: Any, **options: Any) -> Any:
            self._operations[name] += 1
            return real(*arguments, **options)

        return counting


@pytest.fixture
def operations(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What verbs ask of the B-trees, once a first job has made all known that can be."""
    environment = counted._storage._environment
    seen: Counter[str] = Counter()
    begin = environment._begin
    for _ in range(2):
        counted.svc.enqueue("mail", payload=b"x")
        counted.svc.reserve("mail")[0].done()
    monkeypatch.setattr(environment, "_begin", lambda: CountedTransaction(begin(), seen))
    return seen


def took(operations: Counter[str]) -> dict[str, int]:
    """What was asked since this was called before."""
    asked = dict(operations)
    operations.clear()
    return asked


def test_what_one_job_a_call_asks_of_the_b_trees(counted: Counted, operations: Counter[str]) -> None:
    svc = counted.svc
    # Record, payload, place, next id and counters are written, and nothing is read.
    svc.enqueue("mail", payload=b"x")
    assert took(operations) == {"put": 5}
    # The first place; the record and the payload; then record, place (two of them) and counters.
    [job] = svc.reserve("mail")
    assert took(operations) == {"cursor": 1, "get": 2, "put": 3, "delete": 1}
    job.done()
    assert took(operations) == {"get": 1, "put": 3, "delete": 1}


def test_what_a_batch_asks_of_the_b_trees(counted: Counted, operations: Counter[str]) -> None:
    svc = counted.svc
    svc.enqueue_many([NewJob("mail", payload=b"x") for _ in range(100)])
    assert took(operations) == {"get": 1, "put": 302}
    jobs = svc.reserve("mail", 100)
    assert took(operations) == {"get": 201, "cursor": 1, "put": 201, "delete": 100}
    svc.done(jobs)
    assert took(operations) == {"get": 101, "put": 201, "delete": 100}


def test_another_process_that_writes_costs_a_look_at_what_it_wrote(counted: Counted, operations: Counter[str]) -> None:
    environment = counted._storage._environment
    with environment.env.begin(write=True) as txn:  # as another process would: behind this one's back
        txn.put(b"unrelated", b"1", db=environment.dbs.meta)
    counted.svc.enqueue("mail", payload=b"x")
    assert took(operations) == {"get": 3, "put": 5}
    counted.svc.enqueue("mail", payload=b"x")
    assert took(operations) == {"put": 5}


def test_a_call_that_finds_nothing_to_do_leaves_known_what_was(counted: Counted, operations: Counter[str]) -> None:
    svc = counted.svc
    assert svc.reserve("mail") == []
    operations.clear()
    svc.enqueue("mail", payload=b"x")
    assert took(operations) == {"put": 5}
