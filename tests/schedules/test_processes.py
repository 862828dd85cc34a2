"""Schedules that several processes serve, some of which are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jobq
from jobq import JobService, Status, Worker
from jobq.tasks.state import TOPIC
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE
from tests.schedules import program
from tests.schedules.program import INTERVAL
from tests.worker.processes import command
from tests.worker.scenes import Recorder, running

LEASE = 0.5


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"lmdb://{tmp_path}/jobs?sync=off"


@pytest.fixture
def svc(url: str) -> Iterator[JobService]:
    """The programs' queue, opened in this process too."""
    with jobq.open(url) as svc:
        yield svc
        check_invariants(svc._storage)


def the_next(svc: JobService, n: int) -> list[datetime]:
    """The ticks of the next jobs, once they are there."""
    found: list[datetime] = []
    while len(found) < n:
        jobs = svc.reserve("t", n - len(found), timeout=PATIENCE)
        assert jobs
        svc.done(jobs)
        found += [datetime.fromisoformat(job.json()["kwargs"]["tick"]) for job in jobs]
    return found


def test_processes_enqueue_each_tick_once_though_some_are_killed(url: str, svc: JobService) -> None:
    how = ["-m", "tests.schedules.program", url, str(LEASE)]
    with command(*how, "1") as holder:
        holder.expect("holds")
        with command(*how, "0") as second, command(*how, "0") as third:
            assert svc.stats(TOPIC).now[Status.RESERVED] == 1
            holder.send(signal.SIGKILL)
            found = the_next(svc, 12)
            second.send(signal.SIGKILL)
            found += the_next(svc, 12)
            third.send(signal.SIGTERM)
            assert third.end() == 0
    found += [datetime.fromisoformat(job.json()["kwargs"]["tick"]) for job in svc.reserve("t", 1000)]
    width = timedelta(seconds=INTERVAL)
    assert (found[0] - datetime(1970, 1, 1, tzinfo=UTC)) % width == timedelta(0)
    assert found == [found[0] + width * n for n in range(len(found))]
    assert svc.stats(TOPIC).expired >= 1
    assert svc.verify() == []


def test_a_worker_with_child_processes_sees_to_schedules_itself(svc: JobService) -> None:
    seen = Recorder()
    with running(Worker(svc, "t", tasks=program.tasks, executor="process", lease=1, observer=seen)):
        seen.wait_for("completed", "tick", times=3)
    assert os.getpid() not in {result for *_, result in seen.all("completed", "tick")}
