"""What the tests of a full disk do in a process of their own, whose disk is a small tmpfs: a folder given as argument.

A filler takes the room from outside the queue, all of it but some pages, so that writes fail at different moments.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobq import Job, JobService, NewJob, StorageFull
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.directory import READERS
from jobq.testing.invariants import check_invariants, dump

PAGE = 4096
LEFT = (0, 1, 2, 3, 5, 8, 12, 20)
"""Pages that are left free, one after the other."""


@contextmanager
def filled(folder: Path, pages_left: int) -> Iterator[None]:
    """Have the disk full but for some pages."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(PAGE)):
                pass
        except OSError:
            pass
        file.truncate(max(0, file.tell() - pages_left * PAGE))
    yield
    filler.unlink()


class Worker:
    """Enqueues, reserves and settles, and keeps what it was told."""

    def __init__(self, svc: JobService) -> None:
        self.svc = svc
        self.told: list[int] = []
        self.held: list[Job] = []
        self.said: Counter[str] = Counter()

    def work(self) -> None:
        """Do one round of verbs, each of which may find the disk full."""
        for verb in (self.enqueue, self.enqueue_large, self.reserve, self.settle):
            try:
                verb()
                self.said["done"] += 1
            except StorageFull:
                self.said["full"] += 1

    def enqueue(self) -> None:
        self.told += self.svc.enqueue_many([NewJob("mail", payload=b"x" * 500) for _ in range(5)])

    def enqueue_large(self) -> None:
        self.told.append(self.svc.enqueue("mail", payload=b"x" * 30_000))

    def reserve(self) -> None:
        self.held += self.svc.reserve("mail", 100)

    def settle(self) -> None:
        self.svc.done(self.held)
        self.held.clear()


def work(folder: Path, sync: str) -> None:
    """Work with a disk that is filled and emptied; what was acknowledged is there at each moment."""
    storage = LmdbStorage(folder / "jobs", sync=sync, max_size=2**24)
    worker = Worker(JobService(storage))
    worker.told += worker.svc.enqueue_many([NewJob("mail", payload=b"x" * 100) for _ in range(2000)])
    for pages_left in LEFT:
        with filled(folder, pages_left):
            for _ in range(3):
                worker.work()
            check(worker)
        check(worker)
        worker.enqueue_large()  # there is room again
        worker.settle()
        check_invariants(storage)
    worker.svc.close()
    worker.svc = JobService(storage := LmdbStorage(folder / "jobs"))
    check(worker)
    check_invariants(storage)
    print("full" if worker.said["full"] else "never full", "done" if worker.said["done"] else "never done")


def check(worker: Worker) -> None:
    """Assert that all acknowledged jobs are there, and no others."""
    stats = worker.svc.stats("mail")
    assert stats.enqueued == len(worker.told) == sum(stats.now.values())
    for job_id in worker.told[::97]:
        assert worker.svc.payload(job_id)
    for job in worker.held:
        assert worker.svc.get(job.id).attempt == job.attempt


def read(folder: Path) -> None:
    """Use every slot for readers while the disk is full: the pages of lock.mdb have to be there already."""
    storage = LmdbStorage(folder / "jobs")
    with filled(folder, 0):
        readers = [storage._environment.env.begin() for _ in range(READERS)]
    print(len(readers), "readers")


def make(folder: Path) -> None:
    """Make a queue on a full disk, each time with a little more room, until it can be made; then it works."""
    said: list[str] = []

    def attempt(pages_left: int) -> bool:
        with filled(folder, pages_left):
            try:
                LmdbStorage(folder / "jobs").close()
            except StorageFull as full:
                said.append(str(full))
                return False
            return True

    made_with = next(pages_left for pages_left in range(100) if attempt(pages_left))
    assert all("the disk" in message and "is full: make room on it" in message for message in said)
    storage = LmdbStorage(folder / "jobs")
    svc = JobService(storage)
    svc.enqueue("mail")
    check_invariants(storage)
    print("refused" if made_with > 10 else "never refused")
    print(*(file for file in os.listdir(folder / "jobs") if file.startswith("jobq.json")))


def take_over(folder: Path) -> None:
    """Change what a directory is while the disk is full: it stays what it was, and changes once there is room."""
    LmdbStorage(folder / "jobs", sync="full").close()
    before = (folder / "jobs" / "jobq.json").read_bytes()
    with filled(folder, 0):
        try:
            LmdbStorage(folder / "jobs", sync="off")
        except StorageFull as full:
            print(full)
    print((folder / "jobs" / "jobq.json").read_bytes() == before, "jobq.json.new" in os.listdir(folder / "jobs"))
    storage = LmdbStorage(folder / "jobs", sync="off")
    print(JobService(storage).enqueue("mail"))


def compact(folder: Path, sync: str) -> None:
    """Compact while the disk has no room for a second file: nothing is changed, until it has."""
    storage = LmdbStorage(folder / "jobs", sync=sync)
    svc = JobService(storage)
    ids = svc.enqueue_many([NewJob("mail", payload=b"x" * 500) for _ in range(3000)])
    svc.cancel(ids[:1500])
    svc.delete(ids[:1500])
    before, file = dump(storage), (folder / "jobs" / "data.mdb").stat()
    looked = os.statvfs
    for pages_left, said in ((100, "refused before"), (100, "refused amid")):
        with filled(folder, pages_left):
            try:
                svc.compact()
            except StorageFull:
                print(said)
            assert os.listdir(folder / "jobs").count("data.mdb.new") == 0
            assert (folder / "jobs" / "data.mdb").stat().st_ino == file.st_ino
            assert dump(storage) == before
        os.statvfs = lambda path: looked("/")  # the second time the look does not find it out
    os.statvfs = looked
    print("smaller" if svc.compact().after < file.st_size else "not smaller")
    assert dump(storage) == before
    assert svc.verify() == []
    svc.enqueue("mail")
    svc.close()


ACTS: dict[str, Callable[..., None]] = {
    "work": work,
    "read": read,
    "make": make,
    "take_over": take_over,
    "compact": compact,
}
