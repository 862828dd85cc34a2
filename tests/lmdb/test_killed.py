"""Processes killed (kill -9) while they write, read, or open the directory: others go on, and nothing is by half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import jobq
from jobq import JobService
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.environment import CHECK_READERS
from jobq.testing.invariants import check_invariants
from tests.clocks import PATIENCE
from tests.lmdb.namespaces import ROOT

BEGIN = """
import sys
from jobq import JobService, NewJob
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.directory import Presence
from jobq.repos.lmdb.topics import LmdbTopics

def stay(result=None):
    print("here", flush=True)
    sys.stdin.read()
"""
BEFORE_WRITING = """
LmdbStorage(sys.argv[1]).transact(lambda uow: (uow.topics.pause("mail", True), stay()))
"""
AMID_WRITING = """
apply = LmdbTopics.apply
LmdbTopics.apply = lambda topics: stay(apply(topics))
JobService(LmdbStorage(sys.argv[1])).enqueue_many([NewJob("mail")] * 50)
"""
READING = """
LmdbStorage(sys.argv[1]).view(lambda uow: (uow.jobs.get([1]), stay()))
"""
OPENING = """
import pathlib
with Presence(pathlib.Path(sys.argv[1])).entering():
    stay()
"""


@contextmanager
def killed_at_the_end(script: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has come to where its script stays; killed when the block ends."""
    command = [sys.executable, "-c", BEGIN + script, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "here\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("script", [BEFORE_WRITING, AMID_WRITING], ids=["before", "amid"])
@pytest.mark.parametrize("sync", ["full", "off"])
def test_a_writer_killed_in_its_transaction_leaves_nothing_and_the_next_goes_on(
    tmp_path: Path, script: str, sync: str
) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync=sync)
    svc = JobService(storage)
    svc.enqueue("mail", payload="before")
    with ThreadPoolExecutor(1) as pool:
        with killed_at_the_end(script, tmp_path / "jobs"):
            waiting = pool.submit(svc.enqueue, "mail", payload="after")
            assert svc.stats("mail").enqueued == 1  # who reads waits for no writer
            assert not waiting.done()
        assert waiting.result(PATIENCE) == 2
    assert [job.text for job in svc.reserve("mail", 100)] == ["before", "after"]
    check_invariants(storage)
    storage.close()


def test_pages_that_a_killed_reader_kept_are_used_again(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    svc = JobService(storage)
    [first] = svc.enqueue_many([jobq.NewJob("mail", payload=b"x" * 10_000, keep_done=0)])

    def pages_after(jobs: int) -> int:
        for _ in range(jobs):
            svc.enqueue("mail", payload=b"x" * 10_000, keep_done=0)
            svc.done(svc.reserve("mail"))
        return storage._environment.env.info()["last_pgno"]

    before = pages_after(20)
    assert pages_after(50) <= before + 5
    with killed_at_the_end(READING, tmp_path / "jobs") as reader:
        pinned = pages_after(50)
        assert pinned > before + 50, "a reader that lives keeps what it may read"
    assert str(reader.pid) in storage._environment.env.readers()
    freed = pages_after(CHECK_READERS)
    assert str(reader.pid) not in storage._environment.env.readers()
    assert pages_after(CHECK_READERS) <= freed
    assert svc.stats("mail").enqueued > first
    storage.close()


def test_opening_frees_the_slot_of_a_killed_reader(tmp_path: Path) -> None:
    storage = LmdbStorage(tmp_path / "jobs", sync="off")
    with killed_at_the_end(READING, tmp_path / "jobs") as reader:
        pass
    assert str(reader.pid) in storage._environment.env.readers()
    script = "import sys; from jobq.repos.lmdb import LmdbStorage; LmdbStorage(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, tmp_path / "jobs"], cwd=ROOT, check=True, timeout=PATIENCE)
    assert str(reader.pid) not in storage._environment.env.readers()
    storage.close()


def test_who_is_killed_while_opening_lets_the_next_one_in(tmp_path: Path) -> None:
    jobq.open(f"lmdb://{tmp_path}/jobs").close()
    with ThreadPoolExecutor(1) as pool:
        with killed_at_the_end(OPENING, tmp_path / "jobs"):
            opening = pool.submit(jobq.open, f"lmdb://{tmp_path}/jobs?sync=off")
            assert not opening.done()
        with opening.result(PATIENCE) as svc:
            assert svc.enqueue("mail") == 1


def opened_but_killed_at(path: Path, moment: int) -> bool:
    """Whether a child that opens the path, killed at its so-manieth call of a function, was killed."""
    pid = os.fork()
    if pid == 0:
        calls = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        LmdbStorage(path, sync="off")
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("is_new", [True, False])
def test_a_process_killed_at_any_moment_of_opening_leaves_a_directory_that_can_be_opened(
    tmp_path: Path, is_new: bool
) -> None:
    moment, step = 1, 23
    while True:
        path = tmp_path / f"{moment}" if is_new else tmp_path / "jobs"
        was_killed = opened_but_killed_at(path, moment)
        with JobService(storage := LmdbStorage(path)) as svc:
            svc.enqueue("mail")
            check_invariants(storage)
        if not was_killed:
            break
        moment += step
    assert moment > 20 * step
