"""`jobq move`: a whole queue to another storage, also when it is killed."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
from jobq import JobService, NewJob
from jobq.testing import check_invariants
from tests.cli.commands import COMMAND, Outcome, Shell, environment
from tests.cli.terminal import terminal

SRC = "lmdb:src?sync=off"
DST = "lmdb:dst?sync=off"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder for two queues."""
    return Shell(tmp_path, None)


def opened(shell: Shell, url: str) -> JobService:
    scheme, _, path = url.partition(":")
    return jobq.open(f"{scheme}://{shell.folder}/{path}")


def lived_in(shell: Shell, n: int = 5) -> dict[int, bytes]:
    """Jobs in every status; the payloads by id."""
    with opened(shell, SRC) as svc:
        ids = svc.enqueue_many([NewJob("mail", payload=f"payload {number}") for number in range(n)])
        [done, dead] = svc.reserve("mail", n=2)
        done.log("half way")
        done.done({"pages": 3})
        dead.reject("no such address")
        svc.cancel(ids[2])
        svc.enqueue("web", delay=3600, unique_key="k")
        svc.pause("web")
        return {id: svc.payload(id) for id in [*ids, ids[-1] + 1]}


def payloads(svc: JobService) -> dict[int, bytes]:
    found = [job for status in jobq.Status for job in svc.find(status, limit=10_000)]
    return {job.id: svc.payload(job.id) for job in found}


def move(shell: Shell, *more: str) -> Outcome:
    return shell.run("move", SRC, DST, "--yes", *more)


def test_everything_is_there_afterwards_and_nothing_here(shell: Shell) -> None:
    before = lived_in(shell)
    with opened(shell, SRC) as source:
        stats, log, info = source.stats("mail"), source.logs(1), source.get(2)
    assert move(shell) == (0, f"moved 6 jobs to {DST}\n", "")
    with opened(shell, DST) as other, opened(shell, SRC) as source:
        assert payloads(other) == before
        assert other.logs(1) == log
        assert (other.get(1).result, other.get(2)) == ({"pages": 3}, info)
        assert (other.stats("mail").done, other.stats("mail").dead) == (stats.done, stats.dead) == (1, 1)
        assert (other.stats("web").paused, other.lookup("web", "k")) == (True, 6)
        assert (source.topics(), payloads(source)) == ([], {})
        assert other.enqueue("mail") > 6


def test_nothing_to_move(shell: Shell) -> None:
    assert shell.refused(75, "move", SRC, DST).startswith("jobq: there is no queue at ")
    lived_in(shell)
    move(shell)
    assert shell.refused(75, "move", SRC, DST) == f"jobq: there is no job to move in {SRC}"


def test_another_queue_in_its_way_is_refused_and_nothing_moved(shell: Shell) -> None:
    before = lived_in(shell)
    with opened(shell, DST) as other:
        other.enqueue("other")
    said = shell.refused(1, "move", SRC, DST, "--yes")
    assert "other" in said
    assert "is not empty" in said or "empty" in said
    with opened(shell, SRC) as source:
        assert payloads(source) == before
        assert not source.stats("mail").paused


@pytest.mark.parametrize("url", ["memory://", "memory://shop"])
def test_jobs_are_not_moved_to_where_they_would_end_with_the_command(shell: Shell, url: str) -> None:
    before = lived_in(shell)
    said = shell.refused(1, "move", SRC, url, "--yes")
    assert said == f"jobq: {url} would end with this command, and all jobs with it: name another storage, as lmdb:jobs"
    with opened(shell, SRC) as source:
        assert payloads(source) == before


@pytest.mark.parametrize("option", ["--url", "--queue", "--config"])
def test_options_that_name_a_queue_are_refused_rather_than_ignored(shell: Shell, option: str) -> None:
    lived_in(shell)
    command = [*COMMAND, option, "lmdb:other", "move", SRC, DST, "--yes"]
    ended = subprocess.run(command, cwd=shell.folder, env=environment(), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("jobq move: The queues are SRC_URL and DST_URL")
    assert not (shell.folder / "dst").exists()


def test_it_says_how_many_and_asks(shell: Shell) -> None:
    before = lived_in(shell)
    said = shell.refused(1, "move", SRC, DST)
    assert said.startswith(f"jobq: Move 6 jobs from {SRC} to {DST}? There is nobody to ask")
    for answer, status in (("n", 1), ("y", 0)):
        with terminal(shell.command("move", SRC, DST), shell.folder, environment()) as screen:
            screen.wait_for("Move 6 jobs", "[y/N]")
            screen.type(f"{answer}\r")
            assert screen.end() == status
            assert ("moved 6 jobs" in screen.screen) is (answer == "y")
    with opened(shell, DST) as other:
        assert payloads(other) == before


def test_reserved_jobs_are_waited_for_on_a_terminal_that_says_so(shell: Shell) -> None:
    with opened(shell, SRC) as source:
        ids = source.enqueue_many([NewJob("mail") for _ in range(3)])
        [job] = source.reserve("mail")
        with terminal(shell.command("move", SRC, DST, "-y"), shell.folder, environment()) as screen:
            screen.wait_for("moving", "waiting for 1 that are reserved")
            job.done()
            assert screen.end() == 0
            assert f"moved 3 jobs to {DST}" in screen.screen
    with opened(shell, DST) as other:
        assert (other.status(ids[0]), other.stats("mail").now[jobq.Status.READY]) == ("done", 2)


def test_reserved_jobs_are_taken_when_told_to(shell: Shell) -> None:
    with opened(shell, SRC) as source:
        source.enqueue("mail")
        [job] = source.reserve("mail")
        assert move(shell, "--take").status == 0
        with pytest.raises(jobq.LeaseLost):
            job.done()
    with opened(shell, DST) as other:
        assert other.status(1) == "ready"


def test_ctrl_c_says_that_the_same_command_goes_on(shell: Shell) -> None:
    with opened(shell, SRC) as source:
        source.enqueue_many([NewJob("mail") for _ in range(3)])
        [job] = source.reserve("mail")
        with terminal(shell.command("move", SRC, DST, "-y"), shell.folder, environment()) as screen:
            screen.wait_for("waiting for 1 that are reserved")
            screen.type("\x03")
            assert screen.end() == 130
            assert "jobq: interrupted: 2 jobs moved, and the same command goes on" in screen.screen
            assert screen.written.rindex(b"\x1b[?25h") > screen.written.rindex(b"\x1b[?25l"), "the cursor is to be seen"
        job.done()
    assert move(shell).out == f"moved 1 job to {DST}\n"
    with opened(shell, DST) as other:
        assert payloads(other).keys() == {1, 2, 3}


LATE = """
import jobq
from jobq.cli import main
from jobq.moving import Mover

open_topics = Mover._open_topics

def too_late(self, *arguments):
    open_topics(self, *arguments)
    jobq.JobService(self._source).enqueue("mail")

Mover._open_topics = too_late
main()
"""


def test_what_comes_behind_the_end_is_told_and_can_be_worked_on_where_it_is(shell: Shell) -> None:
    lived_in(shell)
    outcome = shell.script(LATE, "move", SRC, DST, "--yes")
    assert (outcome.status, outcome.out) == (0, f"moved 6 jobs to {DST}\n")
    assert outcome.err == (
        f"jobq: 1 job was enqueued in {SRC} behind the move, and stays: enqueue in {DST} from now on, and have workers "
        f"do what is left in {SRC}\n"
    )
    with opened(shell, SRC) as source:
        assert len(source.reserve("mail", 9)) == 1


BY_BATCHES = """
import sys
from jobq.cli import main
from jobq.moving import Mover
from jobq.verbs import leaving

leaving.JOBS = 100
carry = Mover._carry

def told(self, *arguments):
    print("batch", flush=True)
    sys.stdin.readline()
    carry(self, *arguments)

Mover._carry = told
main()
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_points_and_run_again_it_loses_and_doubles_nothing(shell: Shell, seed: int) -> None:
    rng = random.Random(seed)
    before = lived_in(shell, 9_000)
    command = [sys.executable, "-c", BY_BATCHES, "move", SRC, DST, "--yes"]
    for _ in range(4):
        with subprocess.Popen(
            command, env=environment(), cwd=shell.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            batches = rng.randrange(1, 20)
            process.stdin.write(b"\n" * batches)
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(batches)] == [b"batch\n"] * batches
            process.kill()  # in the middle of the last batch, or as it waits behind it
    last = move(shell)
    assert re.fullmatch(rf"moved [\d,]+ jobs to {re.escape(DST)}\n", last.out), last
    with opened(shell, DST) as other, opened(shell, SRC) as source:
        assert payloads(other) == before
        assert (source.topics(), other.verify(), source.verify()) == ([], [], [])
        assert (other.stats("mail").enqueued, other.stats("mail").done, other.stats("mail").dead) == (9_000, 1, 1)
        check_invariants(other._storage)
