"""`topics=memory`: jobs in LMDB, their places in the memory of the one process that has the directory open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

import jobq
from jobq import ConfigError, JobService, NewJob, ServiceClosed, Status, StorageError
from jobq.model.records import Place
from jobq.model.status import Ordering
from jobq.ports import UnitOfWork
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.databases import NAMES
from jobq.testing.invariants import check_invariants, dump
from tests.clocks import PATIENCE, ManualClock

ORDERINGS = [ordering.name.lower() for ordering in Ordering]


def opened(directory: Path, topics: str | None, clock: ManualClock | None = None) -> JobService:
    return JobService(LmdbStorage(directory, sync="off", topics=topics, clock=clock))


def places_in_lmdb(directory: Path) -> int:
    """How many places the directory's databases hold; for a directory that is closed."""
    with lmdb.open(str(directory), max_dbs=len(NAMES), lock=False, readonly=True) as env, env.begin() as txn:
        return sum(txn.stat(env.open_db(name.encode(), txn=txn))["entries"] for name in ORDERINGS)


def with_jobs_everywhere(svc: JobService) -> JobService:
    """A topic with jobs in all statuses, and a paused one."""
    svc.enqueue_many([NewJob("t", n, name=str(n), max_retries=0) for n in range(6)])
    svc.enqueue("t", 9, name="delayed", delay=3600)
    done, dead, _ = svc.reserve("t", 3, lease=60)
    done.done("result")
    dead.retry()
    svc.cancel(svc.find("ready", topic="t")[0].id)
    svc.enqueue("paused", unique_key="k")
    svc.pause("paused")
    return svc


def test_what_is_there_is_the_same_however_it_is_opened(tmp_path: Path, clock: ManualClock) -> None:
    directory = tmp_path / "jobs"
    dumps: list[object] = []
    for topics in ("memory", "memory", None, "lmdb", "memory", None):
        with opened(directory, topics, clock) as svc:
            if not dumps:
                with_jobs_everywhere(svc)
            check_invariants(svc._storage)
            assert svc.verify() == []
            dumps.append(dump(svc._storage))
        assert places_in_lmdb(directory) == (0 if topics == "memory" else 8)
    assert all(later == dumps[0] for later in dumps)


def test_it_goes_on_where_it_was(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path / "jobs", "memory", clock) as svc:
        with_jobs_everywhere(svc)
    clock.advance(61)
    with opened(tmp_path / "jobs", "memory", clock) as svc:
        assert [job.name for job in svc.reserve("t", 9)] == ["4", "5"]
        assert svc.stats("t").dead == 2  # the lease of the third was over, and it has no retries
        assert (svc.reserve("paused"), svc.stats("paused").paused, svc.lookup("paused", "k")) == ([], True, 8)
        clock.advance(3600)
        assert [job.name for job in svc.reserve("t", 9)] == ["delayed"]


@pytest.mark.parametrize(("first", "second"), [("memory", "memory"), ("memory", ""), ("", "memory")])
def test_a_second_process_is_refused(tmp_path: Path, first: str, second: str) -> None:
    url = f"lmdb://{tmp_path}/jobs"
    with jobq.open(url + f"?topics={first}" * bool(first)) as svc:
        script = "import sys, jobq\ntry: jobq.open(sys.argv[1])\nexcept jobq.ConfigError as refusal: print(refusal)"
        command = [sys.executable, "-c", script, url + f"?topics={second}" * bool(second)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert "is open in another process with topics=" in done.stdout
        assert svc.enqueue("t") == 1
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_same_process_may_open_it_again_but_not_otherwise(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs", "memory") as one, opened(tmp_path / "jobs", None) as other:
        one.enqueue("t", payload="shared")
        assert [job.text for job in other.reserve("t")] == ["shared"]
        with pytest.raises(ConfigError, match="open in this process with topics=memory, and cannot have topics=lmdb"):
            opened(tmp_path / "jobs", "lmdb")


def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    script = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import jobq
svc = jobq.open(sys.argv[1])
svc.enqueue("t")
if os.fork() == 0:
    try:
        svc.enqueue("t")
    except jobq.ConfigError as refusal:
        print(refusal, flush=True)
    os._exit(0)
os.wait()
print(svc.enqueue("t"))
"""
    url = f"lmdb://{tmp_path}/jobs?sync=off&topics=memory"
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, timeout=PATIENCE)
    refusal, id = done.stdout.splitlines()
    assert ("is open in another process with topics=memory" in refusal, id, done.stderr) == (True, "2", "")


def test_an_unknown_place_for_topics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="topics must be one of lmdb, memory, not 'disk'"):
        jobq.open(f"lmdb://{tmp_path}/jobs?topics=disk")
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize("topics", ["memory", None])
def test_a_process_that_is_killed_leaves_the_jobs(tmp_path: Path, topics: str | None) -> None:
    script = """
import os, signal, sys, jobq
svc = jobq.open(sys.argv[1])
for n in range(50):
    svc.enqueue("t", name=str(n))
svc.done(svc.reserve("t", 10))
svc.reserve("t", 5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    url = f"lmdb://{tmp_path}/jobs?sync=off&topics=memory"
    done = subprocess.run([sys.executable, "-c", script, url], timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL
    with opened(tmp_path / "jobs", topics) as svc:
        check_invariants(svc._storage)
        now = svc.stats("t").now
        assert (now[Status.READY], now[Status.RESERVED], now[Status.DONE]) == (35, 5, 10)


def test_killed_while_the_places_are_built_they_are_built_again(tmp_path: Path) -> None:
    """`jobq.json` says "memory" until they are complete."""
    with opened(tmp_path / "jobs", "memory") as svc:
        svc.enqueue_many([NewJob("t") for _ in range(100)])
    with opened(tmp_path / "jobs", None) as svc:
        assert svc.stats("t").now[Status.READY] == 100
    file = tmp_path / "jobs" / "jobq.json"
    properties = json.loads(file.read_text())
    assert properties["topics"] == "lmdb"
    storage = LmdbStorage(tmp_path / "jobs")
    storage.transact(lambda uow: uow.topics.move([(uow.topics.head("t", 1)[0], None)]))  # as if it had not got there
    storage.close()
    file.write_text(json.dumps(properties | {"topics": "memory"}))
    with opened(tmp_path / "jobs", None) as svc:
        check_invariants(svc._storage)
        assert len(svc.reserve("t", 200)) == 100


def test_a_record_that_cannot_be_read_is_set_aside_as_the_places_are_built(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs", "memory") as svc:
        ids = [svc.enqueue("t") for _ in range(3)]
    with lmdb.open(str(tmp_path / "jobs"), max_dbs=len(NAMES)) as env, env.begin(write=True) as txn:
        txn.put(ids[1].to_bytes(8, "big"), b"nonsense", db=env.open_db(b"jobs", txn=txn))
    for topics in ("memory", None):
        with opened(tmp_path / "jobs", topics) as svc:
            assert svc.stats("t").now[Status.READY] == 2
            assert [found.kind for found in svc.verify()] == ["quarantined"]


def test_a_write_that_fails_has_the_places_built_again(tmp_path: Path) -> None:
    """The places were moved already as LMDB refused the rest."""

    def half(uow: UnitOfWork) -> None:
        [place] = uow.topics.head("t", 1)
        uow.topics.move([(place, None), (None, Place("u", Ordering.READY, 0, 0, place.id))])
        uow.topics.pause("x" * 600, True)  # a key that LMDB refuses

    storage = LmdbStorage(tmp_path / "jobs", sync="off", topics="memory")
    svc = JobService(storage)
    svc.enqueue("t", name="stays")
    with pytest.raises(StorageError, match="MDB_BAD_VALSIZE"):
        storage.transact(half)
    check_invariants(storage)
    assert [job.name for job in svc.reserve(["u", "t"])] == ["stays"]
    svc.close()


def test_ctrl_c_as_places_are_moved_undoes_it(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", topics="memory")
    svc = JobService(storage)
    svc.enqueue_many([NewJob("t", name=str(n)) for n in range(5)])
    places = storage._environment.places
    assert places is not None
    struck = []

    class Strikes(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            for position, move in enumerate(super().__iter__()):
                if position == 2:
                    struck.append(True)
                    signal.raise_signal(signal.SIGINT)
                yield move

    def body(uow: UnitOfWork) -> None:
        uow.topics.moves = Strikes([(place, None) for place in uow.topics.head("t", 5)])  # type: ignore[attr-defined]

    with pytest.raises(KeyboardInterrupt):
        storage.transact(body)
    assert struck
    check_invariants(storage)
    assert [job.name for job in svc.reserve("t", 9)] == list("01234")
    svc.close()


def test_a_verb_within_a_view_of_the_same_thread_is_refused(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", topics="memory")
    svc = JobService(storage)

    def within(uow: UnitOfWork) -> int:
        with pytest.raises(StorageError, match="within another one"):
            svc.enqueue("t")
        with pytest.raises(StorageError, match="within another one"):
            svc.topics()
        return len(uow.topics.names())

    assert storage.view(within) == 0
    assert svc.enqueue("t") == 1
    svc.close()
    with pytest.raises(ServiceClosed):
        svc.topics()
    assert os.listdir(tmp_path) == ["jobs"]


def test_a_forked_child_that_lives_on_keeps_no_lock_of_its_parents(tmp_path: Path) -> None:
    script = """
import os, signal, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import jobq
svc = jobq.open(sys.argv[1] + "?topics=memory&sync=off")
svc.enqueue("t")
child = os.fork()
if child == 0:
    signal.pause()
svc.close()
for way in ("?topics=memory", "?sync=full", "?topics=memory&sync=normal"):
    with jobq.open(sys.argv[1] + way) as svc:
        print(svc.stats("t").enqueued)
os.kill(child, signal.SIGKILL)
"""
    command = [sys.executable, "-c", script, f"lmdb://{tmp_path}/jobs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("1\n1\n1\n", "")
