"""What the tests of the writable map do in a process of their own, whose disk is a small one: the folder given to it.

A store that the disk has no page for would kill the process, which then prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jobq
from jobq import Job, JobOptions, JobService, NewJob, Status, StorageFull
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants

PAGE = 4096
ROUNDS = 40


class Disk:
    """A queue with sync=off on a disk, and what else takes room there."""

    def __init__(self, folder: Path) -> None:
        self.storage = LmdbStorage(folder / "jobs", sync="off")
        self.svc = JobService(self.storage, defaults=JobOptions(keep_done=None))
        self.told: list[int] = []
        self.held: list[Job] = []
        self.full = 0
        self._filler = folder / "filler"

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Have something else take the last byte."""
        with open(self._filler, "wb", buffering=0) as file:
            for size in (2**16, PAGE, 512, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        yield
        self._filler.unlink()

    def attempt(self, *verbs: Callable[[], object]) -> None:
        """Do each verb, which may find the disk full; what is mapped is never more than the disk has given."""
        for verb in verbs:
            try:
                verb()
            except StorageFull:
                self.full += 1
            self.check_map()

    def check_map(self) -> None:
        """Assert that there is no page in the map which the disk would have to give first."""
        environment = self.storage._environment
        assert environment.env.flags()["writemap"]
        file = (environment.path / "data.mdb").stat()
        assert environment.env.info()["map_size"] <= file.st_size <= file.st_blocks * 512

    def enqueue(self) -> None:
        self.told += self.svc.enqueue_many([NewJob("mail", payload=bytes(700)) for _ in range(20)])

    def enqueue_large(self) -> None:
        self.told.append(self.svc.enqueue("mail", payload=bytes(50_000)))

    def reserve(self) -> None:
        self.held += self.svc.reserve("mail", 20)

    def settle(self) -> None:
        self.svc.done(self.held, "result" * 100)
        self.held.clear()

    def check(self) -> None:
        """Assert that what was acknowledged is there, and nothing is by half."""
        stats = self.svc.stats("mail")
        assert stats.enqueued == len(self.told) == sum(stats.now.values())
        assert self.svc.verify() == []


def use_up(folder: Path) -> None:
    """Enqueue until the disk is full, then settle, cancel and delete all that is there, and begin anew."""
    disk = Disk(folder)
    while not disk.full:
        disk.attempt(disk.enqueue_large, disk.enqueue)
    disk.check()
    finish(disk)
    count = len(disk.told)
    disk.full = 0
    while not disk.full:
        disk.attempt(disk.enqueue_large, disk.enqueue)
    assert len(disk.told) - count > count // 2, "the room of deleted jobs is used again"
    disk.storage.close()
    print("refused and went on")


def finish(disk: Disk) -> None:
    """Bring every job to an end, which needs no room that was not kept for it."""
    for n, job in enumerate(disk.svc.jobs("mail", n=50, timeout=0)):
        job.cancel("no") if n % 3 == 0 else job.done("r" * 1000)
        disk.check_map()
    stats = disk.svc.stats("mail").now
    assert stats[Status.DONE] + stats[Status.CANCELED] == len(disk.told)
    assert disk.svc.verify() == []
    disk.svc.delete(disk.told)
    assert disk.svc.topics() == []


def be_crowded(folder: Path) -> None:
    """Go on while something else fills the disk to the last byte, and when there is room again."""
    disk = Disk(folder)
    disk.attempt(disk.enqueue)
    for _ in range(6):
        refused = disk.full
        with disk.filled():
            for _ in range(ROUNDS):
                disk.attempt(disk.enqueue, disk.enqueue_large, disk.reserve, disk.settle)
            disk.check()
        assert disk.full > refused
        refused = disk.full
        for _ in range(5):
            disk.attempt(disk.enqueue, disk.enqueue_large, disk.reserve, disk.settle)
        assert disk.full == refused
        disk.check()
        check_invariants(disk.storage)
    disk.storage.close()
    with jobq.open(f"lmdb:{folder}/jobs") as svc:
        assert svc.stats("mail").enqueued == len(disk.told)
        assert svc.verify() == []
    print("refused and went on")


def open_holey(folder: Path) -> None:
    """Open a directory whose file has holes: not without room for them on the disk, and then they are gone."""
    disk = Disk(folder)
    disk.attempt(disk.enqueue)
    disk.storage.close()
    file = folder / "jobs" / "data.mdb"
    os.truncate(file, file.stat().st_size + 2**20)  # as copying programs leave holes, and LMDB on its own
    with disk.filled():
        try:
            Disk(folder)
        except StorageFull as full:
            print(full)
    again = Disk(folder)
    again.told = disk.told
    again.attempt(again.enqueue, again.reserve, again.settle)
    again.check()
    print(again.full)


ACTS: dict[str, Callable[[Path], None]] = {"use_up": use_up, "be_crowded": be_crowded, "open_holey": open_holey}
