"""One environment per directory and process; forked children; threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import jobq
from jobq import ServiceClosed, StorageError
from jobq.repos import MemoryStorage
from jobq.repos.lmdb import LmdbStorage
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE


def in_child(work: Callable[[], object]) -> str:
    """What `work` returns, or raises, in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = repr(work())
        except BaseException as problem:
            answer = f"{type(problem).__name__}: {problem}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read().decode()
    assert os.waitpid(pid, 0)[1] == 0
    return answer


def test_two_services_of_a_process_share_one_environment(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with jobq.open(f"lmdb://{tmp_path}/jobs") as one, jobq.open(f"lmdb://{tmp_path}/link/jobs") as other:
        one.enqueue("mail", payload="hello")
        [job] = other.reserve("mail")
        one.close()
        job.done()
        assert other.status(job.id) == "done"


def test_a_directory_made_anew_at_the_same_path_is_another(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs") as old:
        old.enqueue("mail")
        (tmp_path / "jobs").rename(tmp_path / "moved")
        with jobq.open(f"lmdb://{tmp_path}/jobs") as new:
            assert (old.topics(), new.topics()) == (["mail"], [])


def test_a_forked_child_opens_the_directory_anew(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs") as svc:
        svc.enqueue("mail", payload="for the child")

        def work() -> bytes:
            [job] = svc.reserve("mail")
            job.done(then=jobq.NewJob("mail", payload="for the parent"))
            svc.close()
            return job.payload

        assert in_child(work) == "b'for the child'"
        assert [job.payload for job in svc.reserve("mail", 5)] == [b"for the parent"]
        assert svc.status(1) == "done"


def test_a_child_settles_what_its_parent_reserved(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs") as svc:
        svc.enqueue("mail")
        [job] = svc.reserve("mail")
        assert in_child(job.done) == "[]"
        with pytest.raises(jobq.LeaseLost):
            job.done()


def test_children_may_fork_while_threads_are_in_transactions(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs?sync=off") as svc:
        stop = threading.Event()

        def produce() -> None:
            while not stop.is_set():
                svc.enqueue("mail")
                svc.stats("mail")

        threads = [threading.Thread(target=produce) for _ in range(3)]
        for thread in threads:
            thread.start()
        answers = [in_child(lambda: svc.enqueue("from-child")) for _ in range(10)]
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(set(answers)) == 10
        assert svc.stats("from-child").enqueued == 10
        assert svc.stats("mail").enqueued == svc.stats("mail").now[jobq.Status.READY]


def test_a_parent_that_ends_leaves_its_child_working(tmp_path: Path) -> None:
    svc = jobq.open(f"lmdb://{tmp_path}/jobs")

    def grandchild_after_child() -> str:
        svc.enqueue("mail")  # the child opens it
        return in_child(lambda: svc.enqueue("mail"))

    assert in_child(grandchild_after_child) == "'2'"
    svc.close()
    with jobq.open(f"lmdb://{tmp_path}/jobs?sync=off") as again:  # nobody else has it open any more
        assert again.stats("mail").enqueued == 2


def test_a_queue_in_memory_is_not_shared_with_a_forked_child() -> None:
    storage = MemoryStorage()
    svc = jobq.JobService(storage)
    answer = in_child(lambda: svc.enqueue("mail"))
    assert answer.startswith("StorageError: a queue in memory belongs to the process that opened it")
    assert issubclass(StorageError, jobq.JobqError)


def test_threads_share_a_service(tmp_path: Path) -> None:
    with jobq.open(f"lmdb://{tmp_path}/jobs?sync=off") as svc:
        delivered: list[int] = []

        def consume() -> None:
            for job in svc.jobs("mail", n=7, timeout=0):
                delivered.append(job.id)
                job.done()

        def produce() -> None:
            for _ in range(60):
                svc.enqueue("mail")

        for target in (produce, consume):
            threads = [threading.Thread(target=target) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
        assert sorted(delivered) == list(range(1, 241))


def test_closing_while_threads_work(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = jobq.JobService(storage)
    errors: list[BaseException] = []
    begun = threading.Barrier(4)

    def work() -> None:
        begun.wait(PATIENCE)
        try:
            while True:
                svc.enqueue("mail")
                svc.stats("mail")
        except BaseException as problem:
            errors.append(problem)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE)
    svc.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert [type(problem) for problem in errors] == [ServiceClosed] * 3
    storage = LmdbStorage(tmp_path / "jobs")
    check_invariants(storage)
    storage.close()


def test_a_handle_is_settled_by_any_service_of_its_directory_and_by_no_other(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with (
        jobq.open(f"lmdb://{tmp_path}/jobs") as one,
        jobq.open(f"lmdb://{tmp_path}/link/jobs") as same,
        jobq.open(f"lmdb://{tmp_path}/other") as other,
    ):
        one.enqueue("mail")
        other.enqueue("mail")
        [job] = one.reserve("mail")
        other.reserve("mail")
        with pytest.raises(ValueError, match="was reserved from another queue"):
            other.done(job)
        same.done(job)
        assert one.status(job.id) == "done"


def test_a_handle_of_a_queue_in_memory_that_is_gone_settles_nothing_in_its_successor() -> None:
    with jobq.open("memory://successor") as old:
        old.enqueue("mail")
        [stale] = old.reserve("mail")
    with jobq.open("memory://successor") as new:
        new.enqueue("mail")
        [job] = new.reserve("mail")
        with pytest.raises(ValueError, match="was reserved from another queue"):
            new.done(stale)
        assert new.status(job.id) == "reserved"
