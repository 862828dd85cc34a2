"""The writable map of sync=off: never larger than what the disk has given, grown by any process, followed by all."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import lmdb
import pytest

import jobq
from jobq import JobService, NewJob, StorageError, StorageFull
from jobq.errors import ReentrantCall
from jobq.repos.lmdb import LmdbStorage, environment, filesystems, mapping, tearing
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE
from tests.lmdb import namespaces
from tests.lmdb.namespaces import MOUNT, ROOT

ACT = """
import sys, pathlib
from tests.lmdb.tight_disk import ACTS
ACTS[sys.argv[1]](pathlib.Path(sys.argv[2]))
"""
DISKS = {
    "tmpfs": "mount -t tmpfs -o size=12m none {path}",
    "ext4": "truncate -s 20M {path}.img && mkfs.ext4 -q -m 0 {path}.img && mount -o loop {path}.img {path}",
}
PRODUCE = """
import sys, jobq
from jobq.repos.lmdb import environment, mapping
environment.can_allocate = lambda path: True
mapping._step = lambda size: 2**16
svc = jobq.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[2])):
    svc.enqueue_many([jobq.NewJob("mail", payload=bytes([n % 256]) * 1500)] * (n % 4 + 1))
    print(n % 4 + 1, flush=True)
"""
"""A script that opens a URL, waits for a line, and enqueues as often as it is told; its map grows in small steps."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that grows often, whatever the filesystem of the tests."""
    monkeypatch.setattr(environment, "can_allocate", lambda path: True)
    monkeypatch.setattr(mapping, "_step", lambda size: 2**16)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    yield storage
    storage.close()


@contextmanager
def producer(path: Path, calls: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has the directory open, and enqueues when it is given a line; killed when the block ends."""
    command = [sys.executable, "-c", PRODUCE, f"lmdb:{path}?sync=off", str(calls)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def produce(path: Path, calls: int) -> int:
    """Have another process enqueue; returns how many jobs."""
    with producer(path, calls) as process:
        said, _ = process.communicate("go\n", timeout=PATIENCE)
        assert process.returncode == 0
        return sum(map(int, said.split()))


def map_size(storage: LmdbStorage) -> int:
    """The bytes that this process has mapped, which the disk has given."""
    environment = storage._environment
    file = (environment.path / "data.mdb").stat()
    size = environment.env.info()["map_size"]
    assert size <= file.st_size <= file.st_blocks * 512
    return size


def is_writable(storage: LmdbStorage) -> bool:
    """Whether the map is one that is written to."""
    return storage._environment.env.flags()["writemap"]


# -- a disk that is full -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("use_up", "refused and went on\n"),
        ("be_crowded", "refused and went on\n"),
        ("open_holey", "the disk of {path}/jobs is full: make room on it\n0\n"),
    ],
)
def test_a_full_disk_is_an_error_and_kills_nobody(tmp_path: Path, disk: str, act: str, said: str) -> None:
    path = tmp_path / "disk"
    path.mkdir()
    shell = DISKS[disk].format(path=path)
    trial = subprocess.run(namespaces.command(MOUNT, shell, "print()"), capture_output=True, timeout=PATIENCE)
    if trial.returncode:
        pytest.skip(f"no {disk} can be mounted here: {trial.stderr.decode()}")
    assert namespaces.run(MOUNT, ACT, act, path, shell=shell) == said.format(path=path)


def refusing(code: int, when: Callable[[int], bool] = lambda size: True) -> Callable[[int, int, int], None]:
    """A posix_fallocate that has no room for some sizes."""
    allocate = os.posix_fallocate

    def allocated(fd: int, offset: int, size: int) -> None:
        if when(size):
            raise OSError(code, os.strerror(code))
        allocate(fd, offset, size)

    return allocated


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_gives_nothing_is_storage_full_until_it_does(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    svc = JobService(storage)
    monkeypatch.setattr(mapping, "_step", lambda size: mapping.FIRST_STEP)
    ids = svc.enqueue_many([NewJob("mail")] * 5)
    ids += svc.enqueue_many([NewJob("mail")] * 5)  # before which the map grows, so that something is left
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refusing(code))
        size = map_size(storage)
        with pytest.raises(StorageFull, match=r"jobs is full: make room on it$"):
            svc.enqueue("mail", payload=bytes(500_000))
        svc.done(svc.reserve("mail", 5))  # for which the map has pages
        svc.cancel(ids[5:])
        assert (map_size(storage), svc.verify()) == (size, [])
    assert svc.enqueue("mail", payload=bytes(500_000)) > ids[-1]
    assert map_size(storage) > size


def test_a_disk_that_gives_less_is_taken_as_it_is(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    svc = JobService(storage)
    monkeypatch.setattr(mapping, "_step", lambda size: 2**22)
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC, lambda size: size > 2**17))
    size = map_size(storage)
    for _ in range(20):
        svc.enqueue("mail", payload=bytes(30_000))
    assert size + 20 * 30_000 < map_size(storage) < size + 2**22
    assert svc.verify() == []


def test_another_error_of_the_disk_is_a_storage_error(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    svc = JobService(storage)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refusing(errno.EIO))
        with pytest.raises(StorageError, match="Input/output error") as caught:
            svc.enqueue("mail", payload=bytes(500_000))
        assert type(caught.value) is StorageError
    assert svc.enqueue("mail", payload=bytes(500_000)) == 1


def test_the_map_ends_where_max_size_has_it_end(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", max_size=2**20)
    svc = JobService(storage)
    limit = storage._environment.map_size()

    def enqueue_for_ever() -> None:
        while True:
            svc.enqueue("mail", payload=bytes(5_000))

    with pytest.raises(StorageFull, match="has reached its max_size of 1048576 bytes"):
        enqueue_for_ever()
    assert map_size(storage) < 2**21 < limit
    mapped = storage._environment._mapping
    assert mapped is not None
    mapped._expected, mapped.is_short = 2 * limit, True
    svc.done(svc.reserve("mail", 10))
    svc.done(svc.reserve("mail", 10))
    assert map_size(storage) == limit
    storage.close()


def test_a_map_for_which_there_is_no_address_space_stays_as_it_is(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = JobService(storage)
    with monkeypatch.context() as patch:
        patch.setattr(mapping, "_has_address_space", lambda more: False)
        with pytest.raises(StorageFull, match="max_size"):
            svc.enqueue("mail", payload=bytes(500_000))
        assert svc.enqueue("mail") == 1
    assert svc.enqueue("mail", payload=bytes(500_000)) == 2
    assert not mapping._has_address_space(2**62)


def test_a_map_that_could_not_be_made_larger_is_opened_anew(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = JobService(storage)

    def no_memory(mapping: mapping.Mapping, env: lmdb.Environment, size: int) -> bool:
        raise lmdb.MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(mapping.Mapping, "_map", no_memory)
        with pytest.raises(StorageError, match="no memory"):
            svc.enqueue("mail", payload=bytes(500_000))
    before = storage._environment.env
    assert svc.enqueue("mail", payload=bytes(500_000)) == 1
    assert storage._environment.env is not before
    assert is_writable(storage)


# -- growing -----------------------------------------------------------------------------------------------------------


def test_the_map_is_never_larger_than_what_is_allocated(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    sizes = {map_size(storage)}
    for n in range(400):
        svc.enqueue("mail", payload=bytes(n * 7))
        sizes.add(map_size(storage))
        if n % 3:
            svc.reserve("mail")[0].done()
            sizes.add(map_size(storage))
    assert len(sizes) > 5
    assert svc.verify() == []


def test_a_small_queue_has_a_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with jobq.open(f"lmdb:{tmp_path}/jobs?sync=off") as svc:
        svc.enqueue_many([NewJob("mail", payload=bytes(100))] * 20)
    assert (tmp_path / "jobs" / "data.mdb").stat().st_size < 300_000


def test_a_large_batch_makes_the_map_grow_once(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    svc = JobService(storage)
    svc.enqueue("mail")
    grown: list[int] = []
    grow = mapping.Mapping.grow

    def counted(mapping: mapping.Mapping, env: lmdb.Environment) -> bool:
        grown.append(mapping.size)
        return grow(mapping, env)

    monkeypatch.setattr(mapping.Mapping, "grow", counted)
    svc.enqueue_many([NewJob("mail", payload=bytes(1_000))] * 3_000)
    assert len(grown) == 1
    assert svc.stats("mail").enqueued == 3_001


def test_threads_whose_map_grows_do_each_work_once(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    size = map_size(storage)

    def work() -> list[int]:
        ids = [id for n in range(60) for id in svc.enqueue_many([NewJob("mail", payload=bytes(2_000))] * (n % 3 + 1))]
        svc.done(svc.reserve("mail", 20))
        return ids

    with ThreadPoolExecutor(4) as pool:
        told = [id for call in [pool.submit(work) for _ in range(4)] for id in call.result(PATIENCE)]
    assert len(told) == len(set(told)) == svc.stats("mail").enqueued == 480
    assert map_size(storage) > size + 10 * 2**16
    check_invariants(storage)


def test_places_in_memory_stay_right_as_the_map_grows(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off", topics="memory")
    svc = JobService(storage)
    for n in range(60):
        svc.enqueue_many([NewJob("mail", n % 3, bytes(3_000))] * (n % 5 + 1))
        svc.done(svc.reserve("mail"))
    check_invariants(storage)
    storage.close()
    plain = LmdbStorage(tmp_path / "jobs")
    assert is_writable(plain)
    check_invariants(plain)
    plain.close()


def test_a_handler_that_calls_a_verb_while_the_map_grows_is_told_to_wait(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = JobService(storage)
    said: list[object] = []
    allocate = os.posix_fallocate

    def interrupted(fd: int, offset: int, size: int) -> None:
        said.append(svc.stats("mail").enqueued)
        with pytest.raises(ReentrantCall):
            svc.enqueue("mail")
        with pytest.raises(ReentrantCall):
            storage._environment._mapping._locked(lambda: None)  # type: ignore[union-attr]
        allocate(fd, offset, size)

    svc.enqueue("mail")
    monkeypatch.setattr(os, "posix_fallocate", interrupted)
    svc.enqueue("mail", payload=bytes(200_000))
    assert said == [1]
    assert svc.stats("mail").enqueued == 2


def test_the_map_goes_on_growing_after_an_interrupt_right_behind_its_lock(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = JobService(storage)
    svc.enqueue("mail")
    left = [KeyboardInterrupt()]

    def flock(fd: int, operation: int) -> None:
        fcntl.flock(fd, operation)
        if operation == fcntl.LOCK_UN and left:
            raise left.pop()

    monkeypatch.setattr(mapping, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_UN=fcntl.LOCK_UN))
    with pytest.raises(KeyboardInterrupt):
        svc.enqueue("mail", payload=bytes(200_000))
    assert not left
    for _ in range(20):
        svc.enqueue("mail", payload=bytes(200_000))
    assert svc.stats("mail").enqueued in (21, 22)
    check_invariants(storage)


def test_an_interrupt_as_a_transaction_begins_leaves_none_open(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = JobService(storage)
    svc.enqueue("mail")
    left = [KeyboardInterrupt()]
    mend = tearing.MetaPages.mend

    def interrupted(pages: tearing.MetaPages, last: int) -> bool:
        if left:
            raise left.pop()
        return mend(pages, last)

    monkeypatch.setattr(tearing.MetaPages, "mend", interrupted)
    storage._environment.known.forget()
    with pytest.raises(KeyboardInterrupt) as kept:  # with its traceback, and so with all that its frames hold
        svc.enqueue("mail")
    command = [sys.executable, "-c", "import sys, jobq; print(jobq.open(sys.argv[1]).enqueue('mail'))", storage.url]
    assert subprocess.run(command, timeout=PATIENCE, capture_output=True, text=True, check=True).stdout == "2\n"
    assert svc.enqueue("mail") == 3
    assert kept.tb is not None


# -- other processes ---------------------------------------------------------------------------------------------------


def test_what_another_process_has_grown_is_followed_by_readers_and_writers(tmp_path: Path) -> None:
    reader = LmdbStorage(tmp_path / "jobs", sync="off")
    size = map_size(reader)
    count = produce(tmp_path / "jobs", 100)
    assert map_size(reader) == size
    assert JobService(reader).stats("mail").enqueued == count
    assert map_size(reader) > size + count * 1500
    size = map_size(reader)
    count += produce(tmp_path / "jobs", 100)
    jobs = JobService(reader).reserve("mail", 10)  # a write
    assert len(jobs) == 10
    assert map_size(reader) > size
    assert JobService(reader).stats("mail").enqueued == count
    check_invariants(reader)
    reader.close()


def test_a_view_within_one_of_an_earlier_state_is_refused_if_the_map_would_have_to_grow(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    svc.enqueue("mail")

    def body(_: object) -> int:
        count = produce(storage._environment.path, 60)
        with pytest.raises(ReentrantCall):
            svc.stats("mail")
        return count

    count = storage.view(body)
    assert svc.stats("mail").enqueued == count + 1


def test_processes_grow_the_map_at_the_same_time_beside_readers(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    storage = LmdbStorage(path, sync="off")
    svc = JobService(storage)
    first = svc.enqueue("mail", payload=b"first")
    with producer(path, 150) as one, producer(path, 150) as two, ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(process.communicate, "go\n", PATIENCE) for process in (one, two)]
        seen = [1]
        while not all(end.done() for end in ends):
            seen.append(svc.stats("mail").enqueued)
            assert svc.payload(first) == b"first"
            map_size(storage)
        told = sum(int(line) for end in ends for line in end.result()[0].split())
        assert [one.returncode, two.returncode] == [0, 0]
    assert seen == sorted(seen)
    assert svc.stats("mail").enqueued == told + 1
    assert svc.verify() == []
    storage.close()


def test_a_process_killed_while_its_map_grows_loses_nothing(tmp_path: Path) -> None:
    path, told = tmp_path / "jobs", 0
    draw = random.Random(5)
    survivor = JobService(LmdbStorage(path, sync="off"))
    for n in range(10):
        if n == 5:
            survivor.close()  # from here on nobody else has it open, and who comes next recovers what was left
        with producer(path, 10_000) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            told += sum(int(process.stdout.readline()) for _ in range(draw.randrange(1, 60)))
            process.kill()
            told += sum(map(int, process.stdout.read().split()))
        storage = LmdbStorage(path)
        assert is_writable(storage)
        svc = JobService(storage)
        stored = svc.stats("mail").enqueued
        assert told <= stored <= told + 4  # the last one may be committed and not said
        told = stored
        map_size(storage)
        assert svc.verify() == []
        svc.enqueue("mail", payload=bytes(100_000))
        told += 1
        storage.close()


def test_parent_and_child_of_a_fork_grow_the_map(storage: LmdbStorage) -> None:
    svc = JobService(storage)
    svc.enqueue("mail", payload=bytes(100_000))
    child = os.fork()
    if not child:  # pragma: no cover  # measured in the parent alone
        code = 1
        try:
            code = int(svc.enqueue("mail", payload=bytes(300_000)) != 2)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert svc.enqueue("mail", payload=bytes(300_000)) == 3
    assert map_size(storage) > 700_000
    assert svc.verify() == []


# -- where, and when not -----------------------------------------------------------------------------------------------


def test_sync_may_be_switched_off_and_on_again(tmp_path: Path) -> None:
    told = 0
    for sync in ("off", "full", "off", "normal", "off"):
        storage = LmdbStorage(tmp_path / "jobs", sync=sync)
        svc = JobService(storage)
        assert svc.stats("mail").enqueued == told
        told += len(svc.enqueue_many([NewJob("mail", payload=bytes(5_000))] * 100))
        ids = [job.id for job in svc.find(jobq.Status.READY, limit=50)]
        svc.cancel(ids)
        svc.delete(ids)
        assert is_writable(storage) is (sync == "off")
        if sync == "off":
            map_size(storage)
        assert svc.verify() == []
        svc.close()


def test_a_file_with_holes_is_allocated_by_who_opens_it_alone(tmp_path: Path) -> None:
    with jobq.open(f"lmdb:{tmp_path}/jobs?sync=full") as svc:
        svc.enqueue("mail", payload="kept")
    file = tmp_path / "jobs" / "data.mdb"
    os.truncate(file, 2**22)
    assert file.stat().st_blocks * 512 < 2**21
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    assert map_size(storage) == 2**22
    assert JobService(storage).payload(1) == b"kept"
    storage.close()


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "zfs", "overlay", "fuse.something", None])
def test_elsewhere_the_map_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(mapping, "filesystem_of", lambda path: kind)
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    assert JobService(storage).enqueue("mail", payload=bytes(500_000)) == 1
    assert not is_writable(storage)
    storage.close()


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_linux_filesystems_that_keep_their_word_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(mapping, "filesystem_of", lambda path: kind)
    assert mapping.can_allocate(tmp_path)
    monkeypatch.delattr(os, "posix_fallocate")
    assert not mapping.can_allocate(tmp_path)


def test_a_filesystem_that_cannot_allocate_after_all_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EOPNOTSUPP))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    assert JobService(storage).enqueue("mail", payload=bytes(500_000)) == 1
    assert not is_writable(storage)
    storage.close()
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)


def test_a_closed_queue_has_no_file_open(tmp_path: Path) -> None:
    if filesystems.filesystem_of(tmp_path) is None:
        pytest.skip("there is no /proc")
    before = len(os.listdir("/proc/self/fd"))
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    storage._environment.note_failure()  # opened anew
    JobService(storage).enqueue("mail", payload=bytes(500_000))
    storage.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_handler_while_a_view_waits_for_the_map_to_grow_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that comes while the map grows waits for the writers' lock; with a verb in it, that would be for ever."""
    with closing(LmdbStorage(tmp_path / "jobs", sync="off")) as storage:
        svc, directory = JobService(storage), storage._environment
        svc.enqueue("t")
        refusals: list[ReentrantCall] = []

        def handler() -> None:
            with pytest.raises(ReentrantCall) as refusal:
                svc.enqueue("from-handler")
            refusals.append(refusal.value)

        monkeypatch.setattr(directory, "_mend", handler)
        directory.entrance.is_quiet = True
        assert svc.stats("t").enqueued == 1
        assert len(refusals) == 1
