"""compact: the room of deleted jobs goes back to the disk, and nothing else changes, whatever interrupts it."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import lmdb
import pytest

import jobq
from jobq import Compaction, ConfigError, JobService, NewJob, ServiceClosed, StorageCorrupt, StorageError, StorageFull
from jobq.codec import id_key
from jobq.errors import ReentrantCall
from jobq.repos.lmdb import LmdbStorage, directory, dirty, environment, holders
from jobq.repos.lmdb.backup import Backup
from jobq.repos.lmdb.databases import NAMES
from jobq.testing.invariants import check_invariants, dump
from tests.clocks import PATIENCE, ManualClock
from tests.contract.scenes import STATES, given, put, snapshot
from tests.lmdb import namespaces
from tests.lmdb.namespaces import MOUNT, ROOT
from tests.lmdb.test_sharing import in_child
from tests.lmdb.test_small_disk import ACT
from tests.lmdb.test_tearing import tear

WAYS: dict[str, dict[str, Any]] = {
    "full": {"sync": "full"},
    "normal": {"sync": "normal"},
    "off": {"sync": "off"},
    "places in memory": {"sync": "off", "topics": "memory"},
}


class Queue:
    """A directory that is compacted."""

    def __init__(self, home: Path, clock: ManualClock, **settings: Any) -> None:
        self.path = home / "jobs"
        self.file = self.path / "data.mdb"
        self._clock = clock
        self.open(**settings)

    def open(self, **settings: Any) -> None:
        self.storage = LmdbStorage(self.path, clock=self._clock, **settings)
        self.svc = JobService(self.storage)

    def rows(self) -> dict[str, dict[bytes, bytes]]:
        """All that LMDB holds."""
        within = self.storage._environment
        with within.env.begin() as txn:
            dbs = {**within.dbs._asdict(), **dict(zip(NAMES[-6:], within.dbs.orderings, strict=True))}
            return {name: dict(txn.cursor(dbs[name])) for name in NAMES}

    def check(self) -> None:
        """Assert that the queue is sound, and that nothing lies about."""
        check_invariants(self.storage)
        assert self.svc.verify() == []
        assert set(os.listdir(self.path)) - {"jobq.backup"} == {
            "data.mdb", "lock.mdb", "jobq.json", "jobq.lock", "jobq.gate", "wake",
        }  # fmt: skip


@pytest.fixture
def queue(tmp_path: Path, clock: ManualClock) -> Iterator[Queue]:
    queue = Queue(tmp_path, clock, sync="off")
    yield queue
    queue.svc.close()


def fill(svc: JobService) -> None:
    """Some jobs of every kind, and room that others had."""
    for state in STATES:
        put(svc, state)
    for n in range(20):
        svc.enqueue("many", n % 3, b"x" * n * 400, unique_key=f"{n}" * (1 + n % 2 * 300), lease=n + 1)
    for job in svc.reserve("many", 3):
        job.log("taken")
    given(svc, "chatty", log_status_change=True).done({"pages": 3})
    ids = svc.enqueue_many([NewJob("gone", payload=bytes(5_000)) for _ in range(200)])
    svc.cancel(ids)
    svc.delete(ids)
    svc.pause("empty")


def run(script: str, *arguments: object) -> str:
    """What a script prints in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


ENQUEUE = """
import sys, jobq
with jobq.open(f"lmdb:{sys.argv[1]}") as svc:
    for _ in range(int(sys.argv[2])):
        print(svc.enqueue("from-outside"))
"""


# -- what it gives, and what stays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_file_of_a_queue_whose_jobs_are_deleted_becomes_small(tmp_path: Path, clock: ManualClock, way: str) -> None:
    queue = Queue(tmp_path, clock, **WAYS[way])
    svc = queue.svc
    ids = [id for _ in range(4) for id in svc.enqueue_many([NewJob("mail", payload=bytes(300))] * 5_000)]
    for some in range(0, 19_000, 5_000):
        svc.cancel(ids[some : min(some + 5_000, 19_000)])
        svc.delete(ids[some : min(some + 5_000, 19_000)])
    before, size = dump(queue.storage), queue.file.stat().st_size
    done = svc.compact()
    assert done == Compaction(size, queue.file.stat().st_size)
    assert done.after < done.before / 5
    assert done.after < 1_000 * 300 * 4
    assert dump(queue.storage) == before
    queue.check()
    assert svc.enqueue("mail", -1, b"after") == ids[-1] + 1
    [job] = svc.reserve("mail")
    job.done()
    svc.close()
    assert run(ENQUEUE, queue.path, 1) == f"{ids[-1] + 2}\n"
    queue.open()
    queue.check()
    queue.svc.close()


@pytest.mark.parametrize("way", WAYS)
def test_everything_stays_byte_by_byte(tmp_path: Path, clock: ManualClock, way: str) -> None:
    queue = Queue(tmp_path, clock, **WAYS[way])
    fill(queue.svc)
    within = queue.storage._environment
    with within.env.begin(write=True) as txn:
        txn.put(id_key(999), b"unreadable", db=within.dbs.quarantine)
        dirty.begin(txn, within.dbs)
        dirty.note(txn, within.dbs, [1, 2, 3])
    rows, seen, last = queue.rows(), snapshot(queue.svc), within.dbs
    assert all(rows[name] or WAYS[way].get("topics") for name in NAMES)
    compaction = queue.svc.compact()
    assert compaction.after < compaction.before
    assert within.dbs is not last
    assert queue.rows() == rows
    assert snapshot(queue.svc) == seen
    check_invariants(queue.storage)
    queue.svc.close()


def test_an_id_is_never_given_again(queue: Queue) -> None:
    ids = queue.svc.enqueue_many([NewJob("mail")] * 10)
    queue.svc.cancel(ids)
    queue.svc.delete(ids)
    queue.svc.compact()
    assert queue.svc.topics() == []
    assert queue.svc.enqueue("mail") == 11


def test_an_empty_queue_is_compacted_again_and_again(queue: Queue) -> None:
    first, second = queue.svc.compact(), queue.svc.compact()
    assert second.before >= first.after == second.after > 0
    assert queue.svc.enqueue("mail") == 1
    queue.check()


def test_reservations_stay_as_they_are(queue: Queue, clock: ManualClock) -> None:
    first, second = given(queue.svc, lease=60), given(queue.svc, lease=60)
    queue.svc.compact()
    first.done("result")
    clock.advance(60)
    [again] = queue.svc.reserve("t")
    assert (again.id, again.attempt) == (second.id, 2)
    queue.check()


def test_what_another_process_commits_is_seen_though_transactions_are_numbered_anew(queue: Queue) -> None:
    """A process knows by that number whether others wrote; here they write until it is what it was."""
    for _ in range(12):
        queue.svc.enqueue("mail")
    last = queue.storage._environment.last_change()
    queue.svc.compact()
    left = last - queue.storage._environment.last_change()
    assert left > 0, "some were killed before it was complete"
    assert run(ENQUEUE, queue.path, left).split() == [str(12 + n) for n in range(1, left + 1)]
    assert queue.storage._environment.last_change() == last
    assert queue.svc.enqueue("from-outside") == 13 + left
    assert queue.svc.stats("from-outside").enqueued == left + 1
    queue.check()


def test_room_on_the_disk_is_looked_for_anew(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file had before, it had from the disk; now it takes that again."""
    fill(queue.svc)
    queue.svc.compact()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=10**6, f_bavail=1, f_frsize=4096))
    with pytest.raises(StorageFull, match="has 4096 bytes left"):
        queue.svc.enqueue("mail", payload=bytes(400_000))
    queue.check()


def test_the_writable_map_is_as_large_as_the_new_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "can_allocate", lambda path: True)
    queue = Queue(tmp_path, clock, sync="off")
    for _ in range(3):
        fill(queue.svc) if not queue.svc.topics() else queue.svc.enqueue("mail", payload=bytes(500_000))
        queue.svc.compact()
        within, file = queue.storage._environment, queue.file.stat()
        assert within.env.flags()["writemap"]
        assert within.env.info()["map_size"] <= file.st_size <= file.st_blocks * 512
        queue.check()
    queue.svc.close()


def test_the_new_file_is_safe_on_the_disk_before_it_counts(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, replace = os.fsync, os.replace
    steps: list[str] = []

    def noted_fsync(fd: int) -> None:
        steps.append("fsync of the folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync of the file")
        fsync(fd)

    def noted_replace(old: Path, new: Path) -> None:
        steps.append("replace")
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted_fsync)
        patch.setattr(os, "replace", noted_replace)
        queue.svc.compact()
    assert steps == ["fsync of the file", "replace", "fsync of the folder"]


def test_it_is_opened_anew_once(queue: Queue) -> None:
    within = queue.storage._environment
    before = within.env
    queue.svc.compact()
    after = within.env
    queue.svc.enqueue("mail")
    assert before is not after is within.env


def test_after_a_commit_that_failed_it_looks_again_first(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    queue.storage._environment.note_failure()
    queue.storage._environment.env.close()
    assert queue.svc.compact().after > 0
    queue.check()


GROW = """
import sys, jobq
from jobq.repos.lmdb import environment
environment.can_allocate = lambda path: True
with jobq.open(f"lmdb:{sys.argv[1]}") as svc:
    for _ in range(41):
        svc.enqueue("mail", payload=bytes(30_000))
"""


@pytest.mark.parametrize("is_torn", [False, True])
def test_what_another_process_left_is_taken_as_the_next_writer_would(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, is_torn: bool
) -> None:
    """It has made the file larger than this process has mapped, and was killed in its last commit, or not."""
    monkeypatch.setattr(environment, "can_allocate", lambda path: True)
    queue = Queue(tmp_path, clock, sync="off")
    run(GROW, queue.path)
    if is_torn:
        tear(queue.path)
    queue.svc.compact()
    assert queue.svc.stats("mail").enqueued == 41 - is_torn
    queue.check()
    assert queue.svc.enqueue("mail") == 42 - is_torn
    queue.svc.close()


def test_it_leaves_no_descriptor_open(queue: Queue) -> None:
    before = len(os.listdir("/proc/self/fd"))
    queue.svc.compact()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_new_file_is_its_owners_alone(queue: Queue) -> None:
    umask = os.umask(0)
    try:
        queue.svc.compact()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(queue.file.stat().st_mode) == 0o600


# -- other processes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_told", [True, False])
def test_it_is_refused_while_another_process_has_it_open(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    if not is_told:
        monkeypatch.setattr(holders, "LOCKS", queue.path / "nowhere")
    fill(queue.svc)
    file = queue.file.stat()
    command = [sys.executable, "-c", namespaces.OPEN, f"lmdb:{queue.path}"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("open ")
        who = rf" \({process.pid}\)" if is_told else ""
        before = dump(queue.storage)
        with pytest.raises(StorageError, match=rf"jobs is open in another process{who}, and .* backup$"):
            queue.svc.compact()
        assert queue.file.stat().st_ino == file.st_ino
        assert dump(queue.storage) == before
        process.communicate(timeout=PATIENCE)
    assert queue.svc.compact().after < file.st_size
    assert dump(queue.storage) == before
    queue.check()


def test_it_is_refused_in_a_forked_child_of_who_has_it_open_and_the_other_way_round(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    assert f"StorageError: {queue.path} is open in another process ({os.getpid()})" in in_child(queue.svc.compact)
    queue.svc.close()
    assert in_child(lambda: JobService(LmdbStorage(queue.path)).compact()).startswith("Compaction(before=")
    queue.open()
    queue.check()


SHARE = """
import sys, jobq
try:
    with jobq.open(f"lmdb:{sys.argv[1]}?topics=memory"):
        print("alone")
except jobq.ConfigError:
    with jobq.open(f"lmdb:{sys.argv[1]}") as svc:
        print("shared", svc.topics())
"""


def test_others_share_the_directory_after_it_and_none_has_it_alone(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    queue.svc.compact()
    assert run(SHARE, queue.path) == "shared ['mail']\n"
    with namespaces.opened_in((), f"lmdb:{queue.path}"), pytest.raises(StorageError):
        queue.svc.compact()
    assert run(SHARE, queue.path) == "shared ['mail']\n"
    queue.svc.close()
    assert run(SHARE, queue.path) == "alone\n"


def test_who_has_its_places_in_memory_stays_alone(tmp_path: Path, clock: ManualClock) -> None:
    queue = Queue(tmp_path, clock, topics="memory")
    queue.svc.compact()
    script = "import sys, jobq; jobq.open(f'lmdb:{sys.argv[1]}')"
    done = subprocess.run([sys.executable, "-c", script, queue.path], cwd=ROOT, capture_output=True, text=True)
    assert "is open in another process with topics=memory" in done.stderr
    queue.svc.close()


def test_who_opens_it_meanwhile_waits_and_has_the_new_file(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(queue.svc)
    script = "import sys, jobq; svc = jobq.open(f'lmdb:{sys.argv[1]}'); print(svc.enqueue('from-outside'))"
    opening: list[subprocess.Popen[str]] = []

    def begin_to_open() -> None:
        command = [sys.executable, "-c", script, str(queue.path)]
        opening.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        with open(queue.path / "jobq.gate", "rb") as gate, pytest.raises(BlockingIOError):
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with before_replacing(monkeypatch, begin_to_open):
        queue.svc.compact()
    said, _ = opening[0].communicate(timeout=PATIENCE)
    assert [job.id for job in queue.svc.reserve("from-outside", 5)] == [int(said)]
    queue.check()


def test_a_child_that_is_forked_meanwhile_keeps_nobody_out(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    children: list[int] = []

    def fork() -> None:
        children.append(os.fork())
        if not children[0]:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)

    with before_replacing(monkeypatch, fork):
        queue.svc.compact()
    assert run(ENQUEUE, queue.path, 1) == "1\n"
    queue.check()
    for fd in (reader, writer):
        os.close(fd)
    assert os.waitpid(children[0], 0)[1] == 0


def test_it_is_refused_while_a_program_has_it_open_by_lmdb_itself(queue: Queue) -> None:
    """Its transactions would go on with the numbers of the old file."""
    fill(queue.svc)
    before, file = dump(queue.storage), queue.file.stat()
    script = "import sys, lmdb; env = lmdb.open(sys.argv[1], readonly=True); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, queue.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StorageError, match="in a program that uses LMDB itself, as its tools do: close it there"):
            queue.svc.compact()
        assert queue.file.stat().st_ino == file.st_ino
        assert dump(queue.storage) == before
        process.communicate("\n", timeout=PATIENCE)
    assert queue.svc.compact().after < file.st_size
    queue.check()


# -- other threads, and handlers in this one ---------------------------------------------------------------------------


@contextmanager
def before_replacing(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> Iterator[None]:
    """Do something while LMDB is closed, and the old file is still in its place."""
    replace = os.replace

    def both(old: Path, new: Path) -> None:
        what()
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", both)
        yield


@contextmanager
def at_work(works: list[Callable[[], object]]) -> Iterator[Callable[[], bool]]:
    """Have each work done again and again by a thread of its own; gives whether none has failed."""
    stop, failures = threading.Event(), []

    def repeat(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield lambda: not failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failures == []


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_work_meanwhile_notice_nothing(tmp_path: Path, way: str) -> None:
    storage = LmdbStorage(tmp_path / "jobs", **WAYS[way])
    svc = JobService(storage)
    told: list[int] = []

    def produce() -> None:
        told.append(svc.enqueue("mail", payload=bytes(2_000)))
        assert svc.stats("mail").enqueued > 0

    def consume() -> None:
        svc.done(svc.reserve("mail", 3, timeout=0.01))

    with at_work([produce, produce, consume]) as is_well:
        for _ in range(20):
            enqueued = len(told)
            assert svc.compact().after > 0
            while len(told) < enqueued + 5 and is_well():
                consume()
    assert len(set(told)) == len(told) == svc.stats("mail").enqueued
    check_invariants(storage)
    assert svc.verify() == []
    svc.close()


def test_a_thread_that_waits_for_a_job_gets_one_that_comes_later(queue: Queue) -> None:
    got: list[int] = []
    waiting = threading.Thread(target=lambda: got.extend(job.id for job in queue.svc.reserve("mail", timeout=None)))
    waiting.start()
    while queue.storage._environment.wakes.is_quiet():
        assert waiting.is_alive()
    queue.svc.compact()
    job_id = queue.svc.enqueue("mail")
    waiting.join(PATIENCE)
    assert got == [job_id]
    queue.check()


def test_another_storage_of_the_process_goes_on(queue: Queue) -> None:
    with JobService(LmdbStorage(queue.path)) as other:
        other.enqueue("mail", payload="before")
        queue.svc.compact()
        assert [job.text for job in other.reserve("mail")] == ["before"]
        other.compact()
        assert other.enqueue("mail") == 2
    assert queue.svc.enqueue("mail") == 3
    queue.check()


@pytest.mark.parametrize("way", ["off", "places in memory"])
def test_a_verb_of_a_handler_in_the_middle_is_refused(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    queue = Queue(tmp_path, clock, **WAYS[way])
    fill(queue.svc)
    before, refused = dump(queue.storage), []

    def handler() -> None:
        verbs: list[Callable[[], object]] = [
            lambda: queue.svc.enqueue("mail"), lambda: queue.svc.stats("mail"), queue.svc.compact,
            lambda: queue.svc.reserve("mail"),
        ]  # fmt: skip
        for verb in verbs:
            with pytest.raises(ReentrantCall):
                verb()
            refused.append(verb)

    with before_replacing(monkeypatch, handler):
        queue.svc.compact()
    assert len(refused) == 4
    assert dump(queue.storage) == before
    queue.check()
    queue.svc.close()


def test_within_a_transaction_it_is_refused(queue: Queue) -> None:
    def body(_: object) -> None:
        with pytest.raises(ReentrantCall):
            queue.svc.compact()

    queue.storage.transact(body)
    queue.storage.view(body)
    queue.check()


def test_a_service_that_a_handler_closes_in_the_middle_is_closed_at_the_end(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(queue.svc)
    before = dump(queue.storage)
    with before_replacing(monkeypatch, queue.svc.close):
        assert queue.svc.compact().after > 0
    with pytest.raises(ServiceClosed):
        queue.svc.topics()
    queue.open()
    assert dump(queue.storage) == before
    queue.check()


def test_a_backup_of_the_same_process_goes_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: ManualClock
) -> None:
    fill(queue.svc)
    catch_up = Backup._catch_up
    done: list[Compaction] = []

    def compact_and_catch_up(self: Backup, copy: Any) -> None:
        done.append(queue.svc.compact())
        queue.svc.enqueue("mail", payload="touched meanwhile")
        catch_up(self, copy)

    monkeypatch.setattr(Backup, "_catch_up", compact_and_catch_up)
    queue.svc.backup(tmp_path / "copy")
    assert len(done) == 1
    queue.check()
    with JobService(LmdbStorage(tmp_path / "copy", clock=clock)) as copy:
        assert snapshot(copy) == snapshot(queue.svc)


# -- failures ----------------------------------------------------------------------------------------------------------


class Broken(BaseException):
    """What a test raises in the middle of things."""


FAILURES = [Broken(), KeyboardInterrupt(), OSError(errno.EIO, "gone"), OSError(errno.ENOSPC, "full")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["fsync", "replace", "statvfs", "unlink"])
@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_whatever_fails_the_queue_is_as_it_was(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, way: str, where: str, error: BaseException
) -> None:
    queue = Queue(tmp_path, clock, **WAYS[way])
    fill(queue.svc)
    before, inode = dump(queue.storage), queue.file.stat().st_ino

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        if where == "unlink":  # the third step fails, and then the removal of what the first made
            patch.setattr(os, "replace", fail)
            patch.setattr(Path, "unlink", fail)
        else:
            patch.setattr(os, where, fail)
        with pytest.raises((type(error), StorageFull, StorageError)):
            queue.svc.compact()
    if where == "unlink":
        (queue.path / directory.NEW_DATA).unlink()
    assert queue.file.stat().st_ino == inode
    assert dump(queue.storage) == before
    queue.check()
    assert queue.svc.enqueue("mail") > 0
    queue.svc.compact()
    queue.check()
    queue.svc.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), lmdb.MemoryError("no room"), OSError(errno.EMFILE, "no more")])
def test_if_the_new_file_cannot_be_opened_the_next_verb_does_it(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, way: str, error: BaseException
) -> None:
    queue = Queue(tmp_path, clock, **WAYS[way])
    fill(queue.svc)
    before, size = dump(queue.storage), queue.file.stat().st_size

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(environment, "open_readable", fail)
        with pytest.raises((KeyboardInterrupt, StorageError)):
            queue.svc.compact()
    assert queue.file.stat().st_size < size
    assert dump(queue.storage) == before
    queue.check()
    queue.svc.close()


@pytest.mark.parametrize(
    ("error", "raised"), [(lmdb.DiskError("full"), StorageFull), (lmdb.CorruptedError("page"), StorageCorrupt)]
)
def test_what_lmdb_says_of_the_copy_is_translated(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, error: lmdb.Error, raised: type[StorageError]
) -> None:
    queue.svc.enqueue("mail")

    class Env:
        def __getattr__(self, name: str) -> Any:
            return getattr(env, name)

        def copyfd(self, *_: object, **__: object) -> None:
            raise error

    env = queue.storage._environment.env
    with monkeypatch.context() as patch:
        patch.setattr(queue.storage._environment, "env", Env())
        with pytest.raises(raised) as caught:
            queue.svc.compact()
        assert caught.value.__cause__ is error
    queue.check()


INTERRUPTED = """
import signal, sys, jobq
from jobq.testing.invariants import check_invariants, dump
svc = jobq.open(sys.argv[1])
svc.enqueue_many([jobq.NewJob("mail", payload=bytes(500))] * 500)
before = dump(svc._storage)
armed, interrupts, done = False, 0, 0

def interrupt(*_):
    global armed, interrupts
    if armed:
        armed = False
        interrupts += 1
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0013)
while interrupts < 150:
    armed = True
    try:
        while True:
            svc.compact()
            done += 1
    except KeyboardInterrupt:
        pass
    finally:
        armed = False
    svc.status(1)
    if interrupts % 15 == 0:
        assert dump(svc._storage) == before
signal.setitimer(signal.ITIMER_REAL, 0)
assert dump(svc._storage) == before
check_invariants(svc._storage)
svc.compact()
print(svc.enqueue("mail"), svc.verify())
svc.close()
"""


@pytest.mark.parametrize("how", ["sync=full", "sync=off", "topics=memory"])
def test_ctrl_c_at_any_moment_leaves_the_queue_as_it_was(tmp_path: Path, how: str) -> None:
    assert run(INTERRUPTED, f"lmdb:{tmp_path}/jobs?{how}") == "501 []\n"
    assert "data.mdb.new" not in os.listdir(tmp_path / "jobs")


@pytest.mark.parametrize("sync", ["full", "off"])
def test_a_full_disk_is_storage_full_and_changes_nothing(tmp_path: Path, sync: str) -> None:
    shell = f"mount -t tmpfs -o size=8m none {tmp_path}"
    said = namespaces.run(MOUNT, ACT, "compact", tmp_path, sync, shell=shell)
    assert said.splitlines() == ["refused before", "refused amid", "smaller"]


# -- killed ------------------------------------------------------------------------------------------------------------

COMPACT_FOR_EVER = """
import sys, jobq
svc = jobq.open(sys.argv[1])
while True:
    svc.compact()
    print("compacted", flush=True)
"""


@pytest.mark.parametrize("how", ["sync=full", "sync=off", "topics=memory"])
def test_killed_at_a_random_moment_it_leaves_the_old_file_or_the_new_one(tmp_path: Path, how: str) -> None:
    chance, url = random.Random(how), f"lmdb:{tmp_path}/jobs?{how}"
    svc = jobq.open(url)
    svc.enqueue_many([NewJob("mail", payload=bytes(10_000), unique_key=f"{n}") for n in range(1_000)])
    fill(svc)
    before = dump(svc._storage)
    svc.close()
    for _ in range(5):
        command = [sys.executable, "-c", COMPACT_FOR_EVER, url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 20)):
                assert process.stdout.readline() == "compacted\n"
            process.kill()
        with jobq.open(url) as svc:
            assert dump(svc._storage) == before
            check_invariants(svc._storage)
            assert svc.verify() == []
            assert not (tmp_path / "jobs" / directory.NEW_DATA).exists()


def compacted_but_killed_at(path: Path, moment: int, way: str) -> bool:
    """Whether a child that compacts the path, killed at its so-manieth call of a function from then on, was killed."""
    pid = os.fork()
    if pid == 0:
        svc, calls = JobService(LmdbStorage(path, **WAYS[way])), 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        svc.compact()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("way", ["full", "off", "places in memory"])
def test_killed_between_any_two_steps_it_leaves_the_old_file_or_the_new_one(tmp_path: Path, way: str) -> None:
    path = tmp_path / "jobs"
    with JobService(storage := LmdbStorage(path, **WAYS[way])) as svc:
        fill(svc)
        before = dump(storage)
    moment, was_killed, inodes, left = 1, True, set(), 0
    while was_killed:
        was_killed = compacted_but_killed_at(path, moment, way)
        inodes.add((path / "data.mdb").stat().st_ino)
        left += (path / directory.NEW_DATA).exists()
        with JobService(storage := LmdbStorage(path, **WAYS[way])) as svc:
            assert dump(storage) == before
            assert svc.verify() == []
            assert not (path / directory.NEW_DATA).exists()
        moment += 17
    assert left > 0
    assert len(inodes) > 1, "some found the old file, some the new one"


def test_the_next_compaction_writes_over_what_a_killed_one_left(queue: Queue) -> None:
    fill(queue.svc)
    (queue.path / directory.NEW_DATA).write_bytes(b"half of a copy" * 100_000)
    (queue.path / directory.NEW_DATA).chmod(0o600)
    assert queue.svc.compact().after < 1_000_000
    queue.check()


# -- who may, and who need not -----------------------------------------------------------------------------------------


def test_a_link_in_the_place_of_the_new_file_is_not_followed(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (queue.path / directory.NEW_DATA).symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"data\.mdb\.new is a symbolic link"):
        queue.svc.compact()
    assert (tmp_path / "mine").read_text() == "mine"
    queue.svc.close()
    queue.open()
    assert (tmp_path / "mine").read_text() == "mine"
    queue.check()


@pytest.mark.parametrize("name", ["", "data.mdb", "lock.mdb"])
def test_what_others_may_write_is_refused(queue: Queue, name: str) -> None:
    mode, inode = (queue.path / name).stat().st_mode, queue.file.stat().st_ino
    (queue.path / name).chmod(mode | stat.S_IWGRP)
    with pytest.raises(ConfigError, match="can be written by others than its owner"):
        queue.svc.compact()
    (queue.path / name).chmod(mode)
    assert queue.file.stat().st_ino == inode
    queue.check()


def test_a_directory_that_was_moved_is_not_mistaken_for_the_one_in_its_place(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    moved = queue.path.rename(queue.path.with_name("moved"))
    with pytest.raises(StorageError, match="cannot be compacted"):
        queue.svc.compact()
    queue.path.mkdir(mode=0o700)
    (queue.path / "data.mdb").write_bytes(b"another's")
    with pytest.raises(StorageError, match="was moved, and another directory is there"):
        queue.svc.compact()
    assert os.listdir(queue.path) == ["data.mdb"]
    queue.svc.close()
    with JobService(LmdbStorage(moved)) as svc:
        assert svc.verify() == []
        assert svc.topics() == ["mail"]


def test_a_file_that_was_removed_is_not_made_anew(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    away = queue.file.rename(queue.path / "away")
    with pytest.raises(StorageError, match=r"data\.mdb was removed while it is open: put it back"):
        queue.svc.compact()
    assert queue.svc.topics() == ["mail"]
    away.rename(queue.file)
    queue.svc.compact()
    queue.check()


def test_a_closed_service_compacts_nothing(queue: Queue) -> None:
    inode = queue.file.stat().st_ino
    queue.svc.close()
    for compact in (queue.svc.compact, queue.storage.compact):
        with pytest.raises(ServiceClosed):
            compact()
    assert queue.file.stat().st_ino == inode


def test_a_queue_in_memory_says_that_it_need_not() -> None:
    with jobq.open("memory://") as svc, pytest.raises(ConfigError, match="cannot be compacted, and need not be"):
        svc.compact()
