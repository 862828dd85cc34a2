"""Leases between processes on one directory: what is held, what is delivered again, and what comes too late."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import jobq
from jobq import Job, JobService, Status, Worker
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE
from tests.worker.processes import ROOT, eventually, program, state_of

LEASE = 0.4


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"lmdb://{tmp_path}/jobs?sync=off"


@pytest.fixture
def queue(url: str) -> Iterator[JobService]:
    """The programs' queue, opened in this process too."""
    with jobq.open(url) as svc:
        yield svc
        check_invariants(svc._storage)


@pytest.mark.parametrize(
    ("name", "executor", "seconds"),
    [("outlast", "thread", LEASE), ("hog", "process", 3 * LEASE)],
)
def test_a_job_that_outlasts_its_lease_is_kept_though_another_worker_waits(
    name: str, executor: str, seconds: float, url: str, queue: JobService
) -> None:
    """Also while its handler holds Python's lock, in a process of its own."""
    worker = {"lease": LEASE, "executor": executor}
    with ThreadPoolExecutor(1) as pool, program(url, own=[[name, str(seconds)]], worker=worker, how="burst") as running:
        running.expect("begun")
        rival = pool.submit(queue.reserve, "t", timeout=PATIENCE)
        running.expect("completed", 1)
        assert running.end() == 0
        queue.enqueue("t", name="last")
        assert [job.name for job in rival.result(PATIENCE)] == ["last"]
    assert (queue.get(1).status, queue.get(1).attempt) == (Status.DONE, 1)
    assert queue.stats("t").expired == 0


def test_a_thread_that_holds_the_lock_for_three_leases_keeps_its_job_if_nobody_took_it(
    url: str, queue: JobService
) -> None:
    with program(url, own=[["hog", str(3 * LEASE)]], worker={"lease": LEASE, "concurrency": 2}, how="burst") as running:
        assert running.end() == 0
        assert running.errors == ""
    assert (queue.get(1).status, queue.get(1).attempt) == (Status.DONE, 1)
    assert queue.stats("t").expired == 0


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_a_stopped_worker_says_when_its_job_is_another_ones_is_refused(
    executor: str, url: str, queue: JobService, tmp_path: Path
) -> None:
    """SIGSTOP and SIGCONT across a lease."""
    worker = {"lease": LEASE, "executor": executor}
    with program(url, own=[["hold", str(tmp_path / "go")]], worker=worker) as stopped:
        stopped.expect("begun")
        stopped.send(signal.SIGSTOP)
        eventually(lambda: state_of(stopped.pid) == "T")
        [job] = queue.reserve("t", timeout=PATIENCE, lease=1000)
        assert job.attempt == 2
        (tmp_path / "go").touch()
        stopped.send(signal.SIGCONT)
        stopped.expect("lease_lost", 1)
        job.done("by the other one")
        stopped.send(signal.SIGTERM)
        assert stopped.end() == 0
        assert stopped.lines.count("lease_lost 1") == 1
        assert "completed 1" not in stopped.lines
    assert (queue.get(1).result, queue.get(1).attempt) == ("by the other one", 2)
    assert (queue.stats("t").done, queue.stats("t").expired) == (1, 1)


def test_the_jobs_of_a_killed_worker_come_to_another_one(url: str, queue: JobService, tmp_path: Path) -> None:
    worker = {"lease": LEASE, "concurrency": 3}
    own = [["hold", str(tmp_path / "go")]] * 3
    with program(url, own=own, worker=worker) as killed:
        for _ in range(3):
            killed.expect("begun")
        with program(url, worker=worker) as other:
            other.expect("topic_empty")
            killed.send(signal.SIGKILL)
            for _ in range(3):
                other.expect("begun")
            (tmp_path / "go").touch()
            for _ in range(3):
                other.expect("completed")
            other.send(signal.SIGTERM)
            assert other.end() == 0
            assert other.errors == ""
    assert [(queue.get(number).status, queue.get(number).attempt) for number in (1, 2, 3)] == [(Status.DONE, 2)] * 3
    assert queue.stats("t").expired == 3


@pytest.mark.parametrize("where", ["memory", "lmdb"])
def test_a_thousand_jobs_of_many_publishers_are_run_once_each(where: str, url: str) -> None:
    """From sixteen threads, and on LMDB from processes, too, at a concurrency of 32."""
    ran: Counter[int] = Counter()
    with jobq.open("memory://" if where == "memory" else url) as svc:
        worker = Worker(svc, ["work"], concurrency=32)

        @worker.default
        def count(job: Job) -> None:
            ran.update([job.id])

        processes = []
        if where == "lmdb":
            command = [sys.executable, "-m", "tests.lmdb.actors", "produce", url, "100"]
            processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
        worker.start()
        with ThreadPoolExecutor(16) as pool:
            for _ in range(16):
                pool.submit(lambda: [svc.enqueue("work") for _ in range(63)])
        for process in processes:
            assert process.wait(PATIENCE) == 0
        jobs = 16 * 63 + 100 * len(processes)
        eventually(lambda: svc.stats("work").done == jobs)
        worker.stop()
        assert len(ran) == jobs
        assert set(ran.values()) == {1}
        stats = svc.stats("work")
        assert (stats.retried, stats.expired, stats.dead) == (0, 0, 0)
        check_invariants(svc._storage)
