"""executor="process": child processes run the handlers, and what becomes of the jobs is the same as in threads."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq import CancelReason, Job, JobInfo, JobService, Observer, Status, Worker
from jobq.testing.invariants import check_invariants
from jobq.worker import offspring
from tests.clocks import PATIENCE
from tests.worker import deeds
from tests.worker.processes import eventually, have_ended, own_children

MIB = 1024 * 1024


class Canceler(Observer):
    """Cancels a job as its handler is about to begin, and notes what is told of each name."""

    def __init__(self, svc: JobService) -> None:
        self.told: dict[str, list[str]] = {}
        self._svc = svc

    def started(self, job: Job) -> None:
        if job.name == "is_canceled":
            self._svc.cancel(job.id)

    def _note(self, what: str, job: Job) -> None:
        self.told.setdefault(job.name, []).append(what)

    def completed(self, job: Job, result: Any) -> None:
        self._note("completed", job)

    def enqueued(self, job: Job, ids: list[int]) -> None:
        self._note(f"enqueued {len(ids)}", job)

    def released(self, job: Job, delay: float) -> None:
        self._note(f"released {delay:g}", job)

    def retried(self, job: Job, error: object, delay: float) -> None:
        self._note("retried", job)

    def dead(self, job: Job, error: object, reason: CancelReason) -> None:
        self._note(f"dead {reason}", job)

    def canceled(self, job: Job, note: str | None) -> None:
        self._note(f"canceled {note}", job)

    def lease_lost(self, job: Job) -> None:
        self._note("lost", job)


def outcomes(url: str, executor: Any, folder: Path) -> dict[str, Any]:
    """What became of one job for each deed that threads and processes do alike."""
    folder.mkdir()
    with jobq.open(url) as svc:
        observer = Canceler(svc)
        worker = Worker(svc, "t", executor=executor, observer=observer)
        svc.enqueue("other", unique_key="held", delay=1000)
        ids = {}
        for position, deed in enumerate(deeds.ALIKE):
            worker.handler(deed)
            payload = str(folder / deed.__name__) if deed.__name__ in ("is_canceled", "leaves_thread") else '"p"'
            payload = "x" * MIB if deed.__name__ == "big" else payload
            ids[deed.__name__] = svc.enqueue("t", position, payload, name=deed.__name__, min_backoff=500)
        worker.run(burst=True)
        eventually(lambda: len(list(folder.iterdir())) == 2)
        found = {name: described(svc, svc.get(job_id)) for name, job_id in ids.items()}
        others = [(job.name, job.text) for job in svc.reserve("other", 100)]
        check_invariants(svc._storage)
    files = {path.name: path.read_text() for path in folder.iterdir()}
    return {"others": sorted(others), "files": files, "told": observer.told, **found}


def described(svc: JobService, info: JobInfo) -> tuple[Any, ...]:
    """All of a job but its times, and the lines of its error that the handler is to blame for."""
    trace = re.findall(r'File ".*?(\w+\.py)", line (\d+), in (\w+)', info.last_error or "")
    error = (info.last_error or "").partition("\n")[0], [line for line in trace if line[0] == "deeds.py"]
    lines = [] if info.name == "leaves_thread" else sorted(line.message for line in svc.logs(info.id))
    return info.status, info.cancel_reason, info.note, info.result, info.retry_count, info.attempt, error, lines


@pytest.fixture(scope="module", params=["memory", "lmdb"])
def in_processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("processes")
    return outcomes(
        "memory://" if request.param == "memory" else f"lmdb://{folder}/jobs?sync=off", "process", folder / "f"
    )


@pytest.fixture(scope="module")
def in_threads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcomes("memory://", "thread", tmp_path_factory.mktemp("threads") / "f")


@pytest.mark.parametrize("what", [deed.__name__ for deed in deeds.ALIKE] + ["others", "files", "told"])
def test_all_is_as_in_threads(in_processes: dict[str, Any], in_threads: dict[str, Any], what: str) -> None:
    assert in_processes[what] == in_threads[what]


def test_what_that_is(in_processes: dict[str, Any]) -> None:
    results = {
        name: found[3] for name, found in in_processes.items() if isinstance(found, tuple) and found[3] is not None
    }
    assert len(results.pop("big")) == MIB - 2
    assert results == {
        "returns_value": {"a": [1, 2, None], "payload": '"p"'},
        "returns_own_class": ["red", "red"],
        "raises_done": "so",
        "coroutine": 7,
        "done_then": [1],
        "done_badly": [
            "TypeError",
            "TypeError",
            "PayloadTooLarge",
            "InvalidTopic",
            "TypeError",
            "ValueError",
            "TypeError",
        ],
        "done_with_duplicate": 1,
        "extends": True,
        "asks": [True, "reserved", 1, "asks", True, False, "t", results["asks"][7], 50, 3600, False, "p"],
        "logs_at_once": 8,
        "ends_program": -signal.SIGTERM,
        "ends_fork": [-signal.SIGTERM, 5],
    }
    assert in_processes["others"] == [
        *[("", ""), ("", ""), ("", '{"colour":"red"}')],
        *[("a", ""), ("a", "xyz"), ("b", ""), ("b", "xyz"), ("c", "xyz"), ("d", "xyz")],
    ]
    assert in_processes["files"] == {
        "is_canceled": " ".join(["LeaseLost"] * 7 + ["False"]),
        "leaves_thread": "LeaseLost",
    }
    assert in_processes["raises_odd_error"][6][0] == "tests.worker.deeds.OddError: odd 1 2"
    assert in_processes["raises_odd_error"][6][1][0][2] == "raises_odd_error"
    assert in_processes["logs_at_once"][7] == [f"line {number}" for number in range(8)]


# -- children that die


def test_a_child_that_dies_costs_its_job_an_attempt_at_once_and_is_replaced(
    svc_on: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offspring, "FAREWELL", 0.2)  # one of them does not end
    worker = Worker(svc_on, "t", executor="process", lease=1000)
    ids = {}
    for deed in deeds.FATAL:
        worker.handler(deed)
        ids[deed.__name__] = svc_on.enqueue("t", name=deed.__name__, max_retries=0)
    worker.handler(deeds.pid)
    last = svc_on.enqueue("t", 1, name="pid")
    worker.start()
    try:
        svc_on.wait_for(last, PATIENCE)
    finally:
        worker.stop(force=True)
        [line] = svc_on.logs(ids["dies_after_fork"])
        os.kill(int(line.message), signal.SIGKILL)
    began = "ChildProcessError: the process of the handler died: "
    assert {name: svc_on.get(job_id).last_error for name, job_id in ids.items()} == {
        "exits": began + "it exited with status 3",
        "kills_itself": began + "it was killed by SIGKILL",
        "crashes": began + "it was killed by SIGSEGV",
        "dies_after_fork": began + "it was killed by SIGKILL",
        "closes_all": began + "it still runs, but hears nothing",
    }
    assert {svc_on.get(job_id).cancel_reason for job_id in ids.values()} == {CancelReason.EXHAUSTED}
    assert svc_on.stats("t").expired == 0
    assert svc_on.get(last).status is Status.DONE
    assert own_children() == []


def test_children_are_recycled_and_killed_when_their_time_is_over(svc_on: JobService) -> None:
    worker = Worker(svc_on, "t", executor="process", max_jobs=2)
    worker.handler(deeds.pid)
    worker.handler("never_ends", time_limit=0.1)(deeds.never_ends)
    ids = [svc_on.enqueue("t", name="pid") for _ in range(3)]
    hanging = svc_on.enqueue("t", name="never_ends", max_retries=0)
    ids += [svc_on.enqueue("t", name="pid") for _ in range(2)]
    worker.run(burst=True)
    pids = [svc_on.get(job_id).result for job_id in ids]
    assert pids[0] == pids[1]
    assert pids[3] == pids[4]
    assert len(set(pids)) == 3
    assert os.getpid() not in pids
    assert svc_on.get(hanging).last_error == ("TimeoutError: the handler ran longer than its time_limit of 0.1 seconds")
    assert worker.lost_slots == 0
    assert have_ended(pids)


def test_a_child_killed_while_it_is_idle_costs_nothing(svc_on: JobService) -> None:
    worker = Worker(svc_on, "t", executor="process")
    worker.handler(deeds.pid)
    worker.start()
    try:
        first = svc_on.wait_for(svc_on.enqueue("t", name="pid"), PATIENCE).result
        os.kill(first, signal.SIGKILL)
        eventually(lambda: have_ended([first]))
        info = svc_on.wait_for(svc_on.enqueue("t", name="pid"), PATIENCE)
    finally:
        worker.stop()
    assert info.result != first
    assert (info.attempt, info.retry_count) == (1, 0)


def test_many_children_killed_at_once_again_and_again(svc_on: JobService) -> None:
    worker = Worker(svc_on, "t", executor="process", concurrency=3)
    worker.handler(deeds.kills_itself)
    worker.handler(deeds.pid)
    for _ in range(6):
        svc_on.enqueue("t", name="kills_itself", max_retries=0)
    last = svc_on.enqueue("t", 1, name="pid")
    worker.run(burst=True)
    assert svc_on.stats("t").dead == 6
    assert svc_on.get(last).status is Status.DONE
    assert own_children() == []


def test_stopped_as_its_children_begin_it_does_not_wait_for_them(svc_on: JobService) -> None:
    """A child that never gets ready, as its module is waited for, is killed."""
    begun = threading.Event()

    class Stopper(Observer):
        def worker_started(self, worker: Worker) -> None:
            begun.set()

    worker = Worker(svc_on, "t", executor="process", concurrency=2, observer=Stopper())
    worker.handler(deeds.pid)
    job_id = svc_on.enqueue("t", name="pid")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.run)
        assert begun.wait(PATIENCE)
        eventually(lambda: len(own_children()) == 2)
        worker.stop()
        running.result(PATIENCE)
    assert own_children() == []
    assert svc_on.get(job_id).status in (Status.READY, Status.DONE)
    assert svc_on.get(job_id).retry_count == 0
