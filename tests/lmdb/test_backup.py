"""backup: an exact copy of one moment, made while the queue runs, whatever interrupts it."""

from __future__ import annotations

import json
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest

import jobq
from jobq import (
    ConfigError,
    JobqError,
    JobService,
    NewJob,
    ServiceClosed,
    StorageError,
    StorageFull,
    StorageVersion,
)
from jobq.codec import id_key
from jobq.errors import ReentrantCall
from jobq.model.records import LOG_LINES, Entry, Record
from jobq.ports import UnitOfWork
from jobq.repos.lmdb import LmdbStorage, backup, dirty, rebuilding
from jobq.repos.lmdb import copy as copying
from jobq.repos.lmdb.backup import Backup
from jobq.repos.lmdb.copy import Copy
from jobq.repos.lmdb.storage import LmdbUnit
from jobq.testing.invariants import _dump as dump_of
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE, ManualClock
from tests.contract.scenes import STATES, given, put, snapshot

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PAGE", 5)
    monkeypatch.setattr(backup, "TAKEN", 4)
    monkeypatch.setattr(backup, "FEW", 3)
    monkeypatch.setattr(rebuilding, "PAGE", 4)


class Queue:
    """A directory that is backed up."""

    def __init__(self, home: Path, clock: ManualClock, **settings: Any) -> None:
        self.home = home
        self.clock = clock
        self.opened: list[LmdbStorage] = []
        self.storage = self.open("jobs", sync="off", **settings)
        self.svc = JobService(self.storage)

    def open(self, name: str, **settings: Any) -> LmdbStorage:
        self.opened.append(LmdbStorage(self.home / name, clock=self.clock, **settings))
        return self.opened[-1]

    def dump(self, name: str = "jobs") -> Any:
        """All that a directory holds, opened anew if it is not the queue's own."""
        storage = self.open(name)
        try:
            check_invariants(storage)
            assert JobService(storage).verify() == []
            return storage.view(dump_of)
        finally:
            storage.close()

    def rows(self, database: str) -> dict[bytes, bytes]:
        environment = self.storage._environment
        with environment.env.begin() as txn, txn.cursor(getattr(environment.dbs, database)) as cursor:
            return dict(cursor)

    def is_marked(self) -> bool:
        environment = self.storage._environment
        return environment.read(lambda txn: dirty.is_marked(txn, environment.dbs))


@pytest.fixture
def queue(tmp_path: Path, clock: ManualClock) -> Iterator[Queue]:
    queue = Queue(tmp_path, clock)
    yield queue
    for storage in queue.opened:
        storage.close()


def fill(svc: JobService) -> None:
    """Some jobs of every kind."""
    for state in STATES:
        put(svc, state)
        put(svc, state)
    for n in range(20):
        svc.enqueue(
            "many", n % 3, b"x" * n * 400, unique_key=f"{n}" * (1 + n % 2 * 300), lease=n + 1, headers={"n": f"{n}"}
        )
    for job in svc.reserve("many", 3):
        job.log("taken")
        job.log("and looked at")
    given(svc, "chatty", log_status_change=True).done({"pages": 3})
    svc.enqueue("again", payload="v1", unique_key="k")
    svc.enqueue("again", payload="v2", unique_key="k", on_duplicate="replace")
    svc.delete(svc.find("done", topic="done")[0].id)
    svc.pause("many")
    svc.pause("empty")


@contextmanager
def between_pages(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> Iterator[None]:
    """Do something each time that the backup has copied a page, or jobs that were touched."""
    with monkeypatch.context() as patch:
        for name in ("append", "replace"):
            patch.setattr(Copy, name, _and_then(getattr(Copy, name), what))
        yield


def _and_then(method: Callable[..., None], what: Callable[[], object]) -> Callable[..., None]:
    def both(*arguments: Any) -> None:
        method(*arguments)
        what()

    return both


@contextmanager
def moment_of_the_copy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the source holds in the transaction that the copy is a copy of."""
    dumps: list[Any] = []
    finish = Backup._finish

    def dump_and_finish(self: Backup, txn: lmdb.Transaction[bytes], copy: Copy, few: int) -> Any:
        dumps[:] = [dump_of(LmdbUnit(self._environment, txn))]
        return finish(self, txn, copy, few)

    with monkeypatch.context() as patch:
        patch.setattr(Backup, "_finish", dump_and_finish)
        yield dumps


# -- a quiet queue -----------------------------------------------------------------------------------------------------


def test_the_copy_of_a_quiet_queue_is_the_same_queue(queue: Queue) -> None:
    fill(queue.svc)
    before = snapshot(queue.svc)
    queue.svc.backup(queue.home / "copy")
    assert queue.dump("copy") == queue.dump() == queue.storage.view(dump_of)
    with JobService(queue.open("copy")) as copy:
        assert snapshot(copy) == before
        assert copy.enqueue("new") == queue.svc.enqueue("new")


def test_an_empty_queue_is_copied(queue: Queue) -> None:
    queue.svc.backup(queue.home / "copy")
    with JobService(queue.open("copy")) as copy:
        assert copy.topics() == []
        assert copy.enqueue("mail") == 1


def test_reservations_keep_their_leases_in_the_copy(queue: Queue) -> None:
    job = given(queue.svc, lease=60)
    queue.svc.backup(queue.home / "copy")
    job.done()
    with JobService(queue.open("copy")) as copy:
        assert copy.get(job.id).deadline == job.deadline
        queue.clock.advance(59)
        assert copy.reserve("t") == []
        queue.clock.advance(1)
        assert [again.attempt for again in copy.reserve("t")] == [2]
    assert queue.svc.status(job.id) == "done"


def test_the_copy_is_a_directory_with_the_sources_settings(queue: Queue) -> None:
    storage = queue.open("other", sync="normal", max_size=5_000_000)
    svc = JobService(storage)
    svc.enqueue("mail", payload="x" * 100_000)
    svc.backup(queue.home / "deep" / "down" / "copy")
    copy = queue.home / "deep" / "down" / "copy"
    assert json.loads((copy / "jobq.json").read_text()) == json.loads((queue.home / "other/jobq.json").read_text())
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in copy.iterdir()} == {0o600}
    with jobq.open(f"lmdb://{copy}") as again:
        assert len(again.payload(1)) == 100_000


def test_a_backup_leaves_no_trace_in_the_source(queue: Queue) -> None:
    fill(queue.svc)
    queue.svc.backup(queue.home / "copy")
    queue.svc.enqueue("mail")
    assert not queue.is_marked()
    assert queue.rows("dirty") == {}
    assert queue.svc.verify() == []


def test_an_empty_directory_will_do(queue: Queue) -> None:
    (queue.home / "copy").mkdir()
    queue.svc.enqueue("mail")
    queue.svc.backup(str(queue.home / "copy"))
    assert queue.dump("copy") == queue.dump()


def test_what_cannot_be_read_is_in_the_quarantine_of_the_copy(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    svc = queue.svc
    svc.enqueue_many([NewJob("mail", payload=f"{n}") for n in range(6)])
    environment = queue.storage._environment
    with environment.env.begin(write=True) as txn:
        txn.put(id_key(2), b"met", db=environment.dbs.jobs)
        txn.put(id_key(5), b"not met yet", db=environment.dbs.jobs)
    svc.reserve("mail", 2)
    svc.backup(queue.home / "copy")
    storage = queue.open("copy")
    check_invariants(storage)
    copy = JobService(storage)
    assert [(found.kind, found.job_id) for found in copy.verify()] == [("quarantined", 2), ("quarantined", 5)]
    assert [job.id for job in copy.reserve("mail", 9)] == [3, 4, 6]


def test_a_source_that_differs_from_its_jobs_has_a_sound_copy(queue: Queue) -> None:
    svc = queue.svc
    first, _, third = svc.enqueue_many([NewJob("mail", unique_key=f"{n}") for n in range(3)])
    before = queue.storage.view(dump_of)
    environment = queue.storage._environment
    with environment.env.begin(write=True) as txn:
        for db in (environment.dbs.keys, environment.dbs.topics, environment.dbs.orderings[0]):
            txn.drop(db, delete=False)
    svc.backup(queue.home / "copy")
    after = queue.dump("copy")
    assert after.pop("topics")["mail"].now == before.pop("topics")["mail"].now
    assert after == before
    shared = [one._replace(unique_key="0") for one in before["records"]]
    queue.storage.transact(lambda uow: uow.jobs.put(list(zip(before["records"], shared, strict=True))))
    svc.backup(queue.home / "another")
    with JobService(queue.open("another")) as copy:
        assert copy.lookup("mail", "0") == first
        assert len(copy.verify()) == third - first


# -- while the queue runs ----------------------------------------------------------------------------------------------


class Traffic:
    """Verbs drawn at random; each call makes some."""

    def __init__(self, queue: Queue, seed: int) -> None:
        self.svc, self.clock, self.chance = queue.svc, queue.clock, random.Random(seed)

    def __call__(self) -> None:
        for _ in range(self.chance.randrange(4)):
            with suppress(JobqError):
                self.one()

    def one(self) -> None:
        svc, chance = self.svc, self.chance
        topic = chance.choice(["many", "t", "u"])
        verb = chance.choice(["enqueue", "enqueue", "replace", "settle", "settle", "log", "cancel", "reset", "prune"])
        if verb == "enqueue":
            svc.enqueue_many([NewJob(topic, delay=chance.choice([0, 9]), keep_done=chance.choice([0, 9]))] * 2)
        elif verb == "replace":
            payload = b"y" * chance.randrange(6_000)
            svc.enqueue(topic, 1, payload, unique_key=chance.choice("0ab"), on_duplicate="replace")
        elif verb == "settle":
            for job in svc.reserve(topic, 2):
                getattr(job, chance.choice(["done", "retry", "release", "reject"]))()
        elif verb == "log":
            for job in svc.reserve(topic):
                job.log("reserved")
        elif verb == "cancel":
            svc.cancel([info.id for info in svc.find("ready", topic=topic)][:2])
        elif verb == "reset":
            svc.reset([info.id for info in svc.find("canceled")][:2])
        else:
            self.clock.advance(5)
            svc.prune()
            chance.choice([svc.pause, svc.resume])(topic)


@pytest.mark.parametrize("seed", range(6))
def test_the_copy_is_exact_whatever_happens_between_its_pages(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    fill(queue.svc)
    before = queue.storage.view(dump_of)
    traffic = Traffic(queue, seed)
    with between_pages(monkeypatch, traffic), moment_of_the_copy(monkeypatch) as dumps:
        queue.svc.backup(queue.home / "copy")
    [expected] = dumps
    assert expected != before
    assert queue.dump("copy") == expected
    assert queue.dump() == queue.storage.view(dump_of)


def one(uow: UnitOfWork, job_id: int) -> Record:
    [record] = uow.jobs.get([job_id])
    assert record is not None
    return record


TOUCHES: dict[str, Callable[[UnitOfWork], object]] = {
    "changed": lambda uow: uow.jobs.put([(one(uow, 1), one(uow, 1)._replace(note="changed"))]),
    "another payload": lambda uow: uow.jobs.put_payload(1, b"another"),
    "no payload": lambda uow: uow.jobs.put_payload(1, b""),
    "logged": lambda uow: uow.jobs.log([Entry(1, 5, "one more, and the oldest goes")]),
    "deleted": lambda uow: uow.jobs.delete([one(uow, 1)]),
    "discarded": lambda uow: uow.jobs.discard([1]),
    "added": lambda uow: uow.jobs.add([one(uow, 1)._replace(id=uow.jobs.allocate(1), unique_key="")], [b"new"]),
    "set aside": lambda uow: uow.jobs.get([2]),
    "taken back": lambda uow: uow.jobs.restore([3]),
    "forgotten": lambda uow: uow.jobs.discard([4]),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_whatever_is_done_to_a_job_that_was_copied_already_is_copied(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, touch: str
) -> None:
    svc = queue.svc
    svc.enqueue_many([NewJob("t", payload=f"{n}" * 3_000, unique_key=f"{n}") for n in range(5)])
    job = svc.reserve("t", lease=1_000)[0]
    for n in range(LOG_LINES):
        job.log(f"line {n}")
    environment = queue.storage._environment
    sound = queue.rows("jobs")[id_key(3)]
    with environment.env.begin(write=True) as txn:
        for job_id in (3, 4):
            txn.put(id_key(job_id), b"to be met", db=environment.dbs.jobs)
    assert svc.reserve("t", 2) != []
    with environment.env.begin(write=True) as txn:
        assert txn.put(id_key(3), sound, db=environment.dbs.quarantine)
        assert txn.put(id_key(2), b"not met yet", db=environment.dbs.jobs)

    def touch_and_catch_up(self: Backup, copy: Copy) -> None:
        queue.storage.transact(TOUCHES[touch])
        for name in backup.BY_ID:
            before[name] = queue.rows(name)
        catch_up(self, copy)

    before: dict[str, Any] = {}
    catch_up = Backup._catch_up
    monkeypatch.setattr(Backup, "_catch_up", touch_and_catch_up)
    monkeypatch.setattr(copying, "places_in_lmdb", lambda *_: None)  # which would set aside what cannot be read
    svc.backup(queue.home / "copy")
    queue.storage = queue.open("copy")
    assert {name: queue.rows(name) for name in backup.BY_ID} == before


@pytest.mark.parametrize("seed", range(2))
def test_places_in_memory_are_ordinary_ones_in_the_copy(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    queue = Queue(tmp_path, clock, topics="memory")
    fill(queue.svc)
    with between_pages(monkeypatch, Traffic(queue, seed)), moment_of_the_copy(monkeypatch) as dumps:
        queue.svc.backup(queue.home / "copy")
    assert json.loads((queue.home / "copy" / "jobq.json").read_text())["topics"] == "lmdb"
    assert queue.dump("copy") == dumps[0]
    queue.svc.close()


PAIRS = """
import sys, jobq
svc = jobq.open(sys.argv[1])
print("ready", flush=True)
n = 0
while True:
    n += 1
    svc.enqueue_many([jobq.NewJob("pair", name=f"{sys.argv[2]}-{n}", payload="p" * 500)] * 2)
    svc.enqueue("chain", name=f"{sys.argv[2]}-{n}", keep_done=0)
    for job in svc.reserve("chain"):
        job.done(then=jobq.NewJob("chain", name=job.name, keep_done=0))
    svc.reserve("nothing-is-here", timeout=0.005)
    if n % 3 == 0:
        svc.exchange([(job, jobq.Done()) for job in svc.reserve("pair", n=2)])
"""


def test_what_belongs_together_is_in_the_copy_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    """Processes and threads enqueue pairs in one transaction, and chains of which always one job is unfinished."""
    monkeypatch.undo()
    url = f"lmdb://{tmp_path}/jobs"
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = JobService(storage)
    svc.enqueue_many([NewJob("old", payload=b"o" * 300) for _ in range(1_000)])
    stop = threading.Event()

    def settle() -> None:
        while not stop.is_set():
            for job in svc.reserve("old", timeout=0.005):
                job.done()

    threads = [threading.Thread(target=settle) for _ in range(2)]
    command = [sys.executable, "-c", PAIRS, url]
    writers = [subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in "ab"]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for thread in threads:
            thread.start()
        for n in range(2):
            with moment_of_the_copy(monkeypatch) as dumps:
                svc.backup(tmp_path / f"copy{n}")
            copy = LmdbStorage(tmp_path / f"copy{n}")
            check_invariants(copy)
            [expected] = dumps
            assert copy.view(dump_of) == expected
            records = expected["records"]
            pairs = [record.name for record in records if record.topic == "pair"]
            chains = [record.name for record in records if record.topic == "chain"]
            assert {pairs.count(name) for name in pairs} == {2}
            assert len(set(chains)) == len(chains) >= len(set(pairs)) - len(writers)
            assert JobService(copy).verify() == []
            copy.close()
    finally:
        stop.set()
        for writer in writers:
            writer.kill()
            writer.communicate(timeout=PATIENCE)
        for thread in threads:
            thread.join()
    assert svc.verify() == []
    check_invariants(storage)
    svc.close()


@pytest.mark.parametrize("what", ["other jobs", "the same jobs"])
def test_writers_that_never_rest_do_not_keep_a_backup_from_its_end(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each page that is copied leaves more to copy than it had: the rest is copied while they are held up."""
    turns: list[int] = []
    finish = Backup._finish

    def counted(self: Backup, txn: lmdb.Transaction[bytes], copy: Copy, few: int) -> Any:
        turns.append(few)
        return finish(self, txn, copy, few)

    def keep_busy() -> None:
        if turns:
            return
        if what == "other jobs":
            queue.svc.enqueue_many([NewJob("busy") for _ in range(12)])
        else:
            queue.svc.reschedule(ids[:12], queue.clock.after(60))

    ids = queue.svc.enqueue_many([NewJob("busy") for _ in range(40)])
    monkeypatch.setattr(Backup, "_finish", counted)
    with between_pages(monkeypatch, keep_busy), moment_of_the_copy(monkeypatch) as dumps:
        queue.svc.backup(queue.home / "copy")
    assert turns == [3 * 2**n for n in range(len(turns))]
    assert len(turns) > 2
    assert queue.dump("copy") == dumps[0]


def test_the_file_of_the_source_does_not_grow_while_it_is_copied(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """One long reader would keep every page that is replaced meanwhile."""
    monkeypatch.setattr(backup, "PAGE", 20)
    svc = queue.svc
    svc.enqueue_many([NewJob("kept", payload=b"k" * 2_000) for _ in range(300)])
    pages = []

    def churn() -> None:
        with suppress(ReentrantCall):  # of the last transaction, which no writer could get in between
            pages.append(svc.enqueue_many([NewJob("churn", payload=b"c" * 12_000, keep_done=0) for _ in range(10)]))
            svc.done(svc.reserve("churn", 10))

    for _ in range(20):
        churn()
    file = queue.home / "jobs" / "data.mdb"
    before, done = file.stat().st_size, len(pages)
    with between_pages(monkeypatch, churn):
        svc.backup(queue.home / "copy")
    turned_over = (len(pages) - done) * 10 * 12_000
    assert turned_over > 4_000_000
    assert file.stat().st_size - before < turned_over / 20


# -- one at a time, and killed -----------------------------------------------------------------------------------------

STOPPED = """
import sys, jobq
from jobq.repos.lmdb.copy import Copy
append = Copy.append
def stop(self, name, rows):
    append(self, name, rows)
    print("copying", flush=True)
    sys.stdin.read()
Copy.append = stop
jobq.open(sys.argv[1]).backup(sys.argv[2])
"""


@contextmanager
def stopped_backup(queue: Queue) -> Iterator[subprocess.Popen[str]]:
    """A process that stands in the middle of a backup to `killed`, until it is killed."""
    command = [sys.executable, "-c", STOPPED, f"lmdb://{queue.home}/jobs", str(queue.home / "killed")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "copying\n"
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)


def test_a_second_backup_at_the_same_time_is_refused(queue: Queue) -> None:
    fill(queue.svc)
    with stopped_backup(queue):
        with pytest.raises(StorageError, match=r"jobs is being backed up already: try again when that is done"):
            queue.svc.backup(queue.home / "copy")
        assert not (queue.home / "copy").exists()
        assert queue.is_marked()
    queue.svc.backup(queue.home / "copy")
    assert queue.dump("copy") == queue.dump()


def test_a_second_backup_of_the_same_process_is_refused(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.svc.enqueue("mail")
    refused = []

    def again() -> None:
        with pytest.raises(StorageError, match="backed up already"):
            queue.svc.backup(queue.home / "second")
        refused.append(True)

    with between_pages(monkeypatch, again):
        queue.svc.backup(queue.home / "copy")
    assert refused
    assert not (queue.home / "second").exists()
    assert queue.dump("copy") == queue.dump()


def test_a_backup_that_was_killed_harms_nobody_and_the_next_one_works(queue: Queue) -> None:
    fill(queue.svc)
    with stopped_backup(queue) as process:
        process.kill()
    job_id = queue.svc.enqueue("mail")
    assert set(queue.rows("dirty")) == {id_key(job_id)}, "its mark stands"
    with pytest.raises(StorageVersion, match="holds an LMDB environment that is no jobq queue"):
        queue.open("killed")
    with pytest.raises(ConfigError, match=r"killed is not empty \(data\.mdb"):
        queue.svc.backup(queue.home / "killed")
    assert queue.dump() == queue.storage.view(dump_of)
    queue.svc.backup(queue.home / "copy")
    assert queue.dump("copy") == queue.dump()
    assert not queue.is_marked()
    assert queue.rows("dirty") == {}


@pytest.mark.parametrize("is_alone", [True, False])
def test_the_next_who_opens_a_directory_clears_what_a_killed_backup_left(queue: Queue, is_alone: bool) -> None:
    fill(queue.svc)
    with stopped_backup(queue) as process:
        queue.svc.enqueue("mail")
        opener = [sys.executable, "-c", "import jobq, sys; jobq.open(sys.argv[1])", f"lmdb://{queue.home}/jobs"]
        subprocess.run(opener, cwd=ROOT, check=True, timeout=PATIENCE)
        assert queue.is_marked(), "that of one that lives stays"
        process.kill()
    assert queue.rows("dirty")
    if is_alone:
        queue.svc.close()
        queue.storage = queue.open("jobs")
        queue.svc = JobService(queue.storage)
    else:
        subprocess.run(opener, cwd=ROOT, check=True, timeout=PATIENCE)
    assert not queue.is_marked()
    assert queue.rows("dirty") == {}
    queue.svc.enqueue("mail")
    assert queue.rows("dirty") == {}


# -- failures ----------------------------------------------------------------------------------------------------------


class Broken(BaseException):
    """What a test raises in the middle of things."""


@pytest.mark.parametrize("where", ["append", "replace", "complete", "_take_keys"])
@pytest.mark.parametrize("error", [Broken(), KeyboardInterrupt(), lmdb.DiskError("no room"), OSError("gone")])
def test_a_backup_that_fails_leaves_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    fill(queue.svc)
    before = queue.storage.view(dump_of)

    def fail(*_: object) -> None:
        raise error

    (queue.home / "empty").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Copy, where, fail)
        for path in ("copy", "deep/copy", "empty"):
            with pytest.raises((type(error), StorageFull)):
                queue.svc.backup(queue.home / path)
    assert sorted(entry.name for entry in queue.home.iterdir()) == ["empty", "jobs"]
    assert list((queue.home / "empty").iterdir()) == []
    assert not queue.is_marked()
    assert queue.storage.view(dump_of) == before
    queue.svc.backup(queue.home / "copy")
    assert queue.dump("copy") == before


FILLED = """
import resource, sys, jobq
svc = jobq.open(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
try:
    svc.backup(sys.argv[2])
except jobq.StorageError as problem:
    print(type(problem).__name__, sys.argv[2] in str(problem))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(svc.enqueue("mail") > 1, svc.verify())
"""


def test_a_copy_that_cannot_be_written_is_removed(queue: Queue) -> None:
    """The source has free pages below the limit of the size of files, which the copy would pass."""
    old = queue.svc.enqueue_many([NewJob("mail", payload=b"x" * 3_000) for _ in range(100)])
    queue.svc.enqueue_many([NewJob("mail", payload=b"x" * 3_000) for _ in range(400)])
    queue.svc.cancel(old)
    queue.svc.delete(old)
    copy = queue.home / "copy"
    command = [sys.executable, "-c", FILLED, f"lmdb://{queue.home}/jobs", str(copy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("StorageError True\nTrue []\n", "")
    assert not copy.exists()
    queue.svc.backup(copy)
    assert queue.dump("copy") == queue.dump()


def test_a_disk_is_not_filled_with_copies(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.svc.enqueue("mail", payload=b"x" * 100_000)
    monkeypatch.setattr(copying, "SMALLEST_RESERVE", 2**62)
    with pytest.raises(StorageFull, match=r"copy has \d+ bytes left, of which \d+ are kept: make room"):
        queue.svc.backup(queue.home / "copy")
    assert not (queue.home / "copy").exists()


def test_a_copy_takes_less_where_the_address_space_is_bounded(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(queue.svc)
    before, room = queue.dump(), 2**30
    open_map = lmdb.open

    def bounded(path: str, *, map_size: int, **settings: Any) -> lmdb.Environment:
        if map_size > room:
            raise lmdb.MemoryError("no room for the map")
        return open_map(path, map_size=map_size, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(lmdb, "open", bounded)
        queue.svc.backup(queue.home / "copy")
        room = 100
        with pytest.raises(StorageError, match="no room for the map"):
            queue.svc.backup(queue.home / "another")
    assert queue.dump("copy") == before
    assert not (queue.home / "another").exists()


def test_a_queue_that_is_closed_meanwhile_ends_the_backup(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(queue.svc)
    with between_pages(monkeypatch, queue.svc.close), pytest.raises(ServiceClosed):
        queue.svc.backup(queue.home / "copy")
    assert not (queue.home / "copy").exists()
    queue.storage = queue.open("jobs")
    assert not queue.is_marked()


# -- bad calls ---------------------------------------------------------------------------------------------------------


def test_a_path_must_be_free(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    before = queue.dump()
    (queue.home / "file").write_text("mine")
    (queue.home / "full").mkdir()
    (queue.home / "full" / "mine").write_text("mine")
    (queue.home / "link").symlink_to(queue.home / "nowhere")
    for path in ("file", "full", "link", "jobs"):
        with pytest.raises(ConfigError, match=rf"{path} is (not empty|a file|a symbolic link)"):
            queue.svc.backup(queue.home / path)
    assert (queue.home / "file").read_text() == (queue.home / "full" / "mine").read_text() == "mine"
    assert not (queue.home / "nowhere").exists()
    assert queue.dump() == before
    assert not queue.is_marked()


def test_a_relative_path_is_relative_to_the_current_folder(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(queue.home)
    queue.svc.backup("copy")
    assert (queue.home / "copy" / "jobq.json").exists()


def test_a_closed_service_backs_up_nothing(queue: Queue) -> None:
    queue.svc.close()
    with pytest.raises(ServiceClosed):
        queue.svc.backup(queue.home / "copy")
    assert not (queue.home / "copy").exists()


def test_a_queue_in_memory_says_what_to_use_instead(tmp_path: Path) -> None:
    with jobq.open("memory://") as svc, pytest.raises(ConfigError, match="keep the jobs in lmdb:DIRECTORY, which can"):
        svc.backup(tmp_path / "copy")


def test_no_backup_costs_no_notes(queue: Queue) -> None:
    fill(queue.svc)
    assert queue.rows("dirty") == {}
