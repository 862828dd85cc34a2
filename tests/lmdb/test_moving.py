"""Moving jobs from and to directories: processes killed meanwhile, full directories, records that cannot be read."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jobq
from jobq import ConfigError, JobService, MoveProgress, NewJob, StorageFull
from jobq.codec import id_key, line_key
from jobq.repos import MemoryStorage
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants
from jobq.verbs import leaving
from tests.clocks import PATIENCE, ManualClock
from tests.contract.moves import fill, is_bare, world
from tests.lmdb.namespaces import ROOT
from tests.lmdb.test_full import SIZE
from tests.lmdb.test_full import fill as fill_up

JOBS = 3_000
MOVING = """
import sys, jobq
from jobq.verbs import leaving

leaving.JOBS = 50
with jobq.open(sys.argv[1]) as source, jobq.open(sys.argv[2]) as target:
    source.move_to(target, progress=lambda at: print(at.moved, flush=True))
print("end", flush=True)
"""


@contextmanager
def mover(source: Path, target: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that moves jobs from one directory to another; killed when the block ends."""
    command = [sys.executable, "-c", MOVING, f"lmdb:{source}", f"lmdb:{target}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str], n: int) -> list[str]:
    """Up to n lines that a process prints."""
    assert process.stdout is not None
    return [line.strip() for _, line in zip(range(n), process.stdout, strict=False)]


@pytest.mark.parametrize("seed", range(3))
def test_processes_killed_at_any_moment_lose_and_double_nothing(tmp_path: Path, clock: ManualClock, seed: int) -> None:
    chance = random.Random(seed)
    storages = [LmdbStorage(tmp_path / name, sync="off") for name in ("source", "target")]
    source, target = map(JobService, storages)
    options = jobq.JobOptions(keep_done=None, keep_canceled=None, keep_dead=None)
    for begin in range(0, JOBS, 500):
        source.enqueue_many(
            [
                NewJob(f"t{n % 3}", n % 5, b"%d" % n * 20, unique_key=f"{n}", options=options)
                for n in range(begin, begin + 500)
            ]
        )
    source.done(source.reserve("t1", 400))
    source.pause("t2")
    before = facts(source)
    kills = 0
    for _ in range(8):
        with mover(tmp_path / "source", tmp_path / "target") as process:
            is_over = "end" in lines_of(process, chance.randrange(1, 14))
        if is_over:
            break
        kills += 1
        for storage in storages:
            check_invariants(storage)
        ids = [storage.view(lambda uow: set(uow.jobs.ids(0, 2 * JOBS))) for storage in storages]
        assert ids[0] | ids[1] >= set(range(1, JOBS + 1))
    with mover(tmp_path / "source", tmp_path / "target") as process:
        assert lines_of(process, 10_000)[-1] == "end"
        assert process.wait(PATIENCE) == 0
    assert facts(target) == before
    assert source.topics() == []
    assert (source.verify(), target.verify()) == ([], [])
    assert kills >= 5
    for storage in storages:
        storage.close()


def facts(svc: JobService) -> object:
    """All that a service shows, but for what the clock of the machine has to do with."""
    seen = world(svc)
    stats = [(one.topic, one.now, one.enqueued, one.done, one.last_reserved_at, one.paused) for one in seen.seen.stats]
    return seen.seen.jobs, seen.logs, seen.places, stats


def test_two_processes_that_move_the_same_jobs_do_no_harm(tmp_path: Path) -> None:
    with (
        jobq.open(f"lmdb:{tmp_path}/source?sync=off") as source,
        jobq.open(f"lmdb:{tmp_path}/target?sync=off") as target,
    ):
        source.enqueue_many([NewJob("t", payload=f"{n}") for n in range(2_000)])
        with (
            mover(tmp_path / "source", tmp_path / "target") as one,
            mover(tmp_path / "source", tmp_path / "target") as two,
        ):
            ends = [lines_of(process, 10_000)[-1:] for process in (one, two)]
        assert ["end"] in ends
        assert source.topics() == []
        assert sorted(int(job.text) for job in target.reserve("t", 5_000)) == list(range(2_000))
        assert target.stats("t").enqueued == 2_000


# -- full directories --------------------------------------------------------------------------------------------------


def test_a_directory_that_becomes_full_takes_the_rest_once_it_may_be_larger(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "JOBS", 100)
    source = JobService(MemoryStorage(clock=clock))
    source.enqueue_many([NewJob("t", payload=b"x" * 1_000, log_status_change=True) for _ in range(2_000)])
    before = world(source)
    with JobService(LmdbStorage(tmp_path / "jobs", sync="off", max_size=SIZE, clock=clock)) as target:
        with pytest.raises(StorageFull):
            source.move_to(target)
        assert target.verify() == source.verify() == []
    with JobService(LmdbStorage(tmp_path / "jobs", max_size=20 * SIZE, clock=clock)) as target:
        moved = source.move_to(target).moved
        assert 1_000 < moved < 2_000
        assert world(target) == before


def test_logs_and_results_are_not_cut_where_there_is_little_room(tmp_path: Path, clock: ManualClock) -> None:
    source = JobService(MemoryStorage(clock=clock))
    for _ in range(12):
        source.enqueue("t")
        [job] = source.reserve("t")
        for number in range(40):
            job.log(f"{number} " * 300)
        job.done("r" * 50_000)
    before = world(source)
    with JobService(LmdbStorage(tmp_path / "jobs", sync="off", max_size=SIZE, clock=clock)) as target:
        with pytest.raises(StorageFull):
            source.move_to(target)
        assert target.topics() == ["jobq.moves"]
    assert len(before.logs) == 12
    with JobService(LmdbStorage(tmp_path / "jobs", max_size=20 * SIZE, clock=clock)) as target:
        source.move_to(target)
        assert world(target) == before


def test_the_jobs_of_a_full_directory_can_be_moved_once_some_have_gone(tmp_path: Path, clock: ManualClock) -> None:
    with JobService(LmdbStorage(tmp_path / "jobs", sync="off", max_size=SIZE, clock=clock)) as source:
        ids = fill_up(source)
        target = JobService(MemoryStorage(clock=clock))
        with pytest.raises(StorageFull):
            source.move_to(target)
        assert target.topics() == []
        source.cancel(ids[:20])
        source.delete(ids[:20])
        more: list[int] = []

        def full_again(at: MoveProgress) -> None:
            if not at.moved and not more:
                more.extend(fill_up(source))

        assert source.move_to(target, progress=full_again) == MoveProgress(moved=len(ids) - 20 + len(more))
        assert is_bare(source)


# -- records that cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_aside", [False, True])
def test_what_cannot_be_read_stays_and_is_told(tmp_path: Path, clock: ManualClock, is_aside: bool) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)
    source, target = JobService(storage), JobService(MemoryStorage(clock=clock))
    source.enqueue_many([NewJob("t", name=f"{n}", payload=f"{n}") for n in range(5)])
    record = write(storage, 3, b"\x07" * 90)
    if is_aside:
        source.verify(repair=True)
    assert source.move_to(target) == MoveProgress(moved=4, unreadable=1)
    assert [job.text for job in target.reserve("t", 9)] == ["0", "1", "3", "4"]
    assert source.move_to(target) == MoveProgress(unreadable=1)
    source.verify(repair=True)
    assert [found.kind for found in source.verify()] == ["quarantined"]
    if not is_aside:
        return
    environment = storage._environment
    with environment.env.begin(write=True) as txn:
        txn.put(id_key(3), record, db=environment.dbs.quarantine)
    source.verify(repair=True)
    assert source.payload(3) == b"2", "it is as good as before, once it can be read"
    with pytest.raises(ConfigError, match="is not empty"):
        source.move_to(target)
    assert source.move_to(JobService(MemoryStorage(clock=clock))).moved == 1
    storage.close()


def test_a_job_goes_without_its_log_if_that_cannot_be_read(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)
    source, target = JobService(storage), JobService(MemoryStorage(clock=clock))
    id = source.enqueue("t", payload="payload")
    [job] = source.reserve("t")
    job.log("a line")
    job.release()
    environment = storage._environment
    with environment.env.begin(write=True) as txn:
        txn.put(line_key(id, 0), b"\x07", db=environment.dbs.logs)
    assert source.move_to(target).moved == 1
    [line] = target.logs(id)
    assert line.message.startswith(f"its log was left behind in a move: a line of the log of job {id} cannot be read")
    assert target.payload(id) == b"payload"
    assert f"job {id} goes without its log" in caplog.text
    storage.close()


def test_a_directory_with_nothing_but_what_cannot_be_read_is_not_empty(tmp_path: Path, clock: ManualClock) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", clock=clock)
    source, target = JobService(MemoryStorage(clock=clock)), JobService(storage)
    source.enqueue("t")
    target.enqueue("t")
    write(storage, 1, b"\x07" * 90)
    target.verify(repair=True)
    assert target.topics() == []
    with pytest.raises(ConfigError, match="it has records that cannot be read: see verify"):
        source.move_to(target)
    target.delete(1)
    assert source.move_to(target).moved == 1
    storage.close()


def write(storage: LmdbStorage, job_id: int, data: bytes) -> bytes:
    """Put other bytes in the place of a record, and return what was there."""
    environment = storage._environment
    with environment.env.begin(write=True) as txn:
        before = txn.get(id_key(job_id), b"", environment.dbs.jobs)
        txn.put(id_key(job_id), data, db=environment.dbs.jobs)
    return before


def test_a_backup_can_be_made_meanwhile(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "JOBS", 7)
    source = JobService(MemoryStorage(clock=clock))
    fill(source, clock, jobs=50)
    before = world(source)

    def back_up(at: MoveProgress) -> None:
        if at.moved == 14:
            target.backup(tmp_path / "copy")

    with JobService(LmdbStorage(tmp_path / "target", sync="off", clock=clock)) as target:
        source.move_to(target, progress=back_up)
        assert world(target) == before
    with JobService(LmdbStorage(tmp_path / "copy", clock=clock)) as copy:
        assert copy.verify() == []
        assert len(world(copy).logs) == 14 + 1  # with the mark
