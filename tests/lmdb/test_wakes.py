"""A waiter is woken by what another process commits. Its clock stands still, so nothing else can wake it."""

from __future__ import annotations

import gc
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import jobq
from jobq import Job, JobService, NewJob, ServiceClosed
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.board import _NAMES, SLOTS, Board
from tests.clocks import PATIENCE, ManualClock

ROOT = Path(__file__).parents[2]


class Other:
    """Another process that waits for jobs; see `waiters`."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "tests.lmdb.waiters", str(directory)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.line() == "ready"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def line(self) -> str:
        """The next line that it writes."""
        return self._lines.get(timeout=PATIENCE)

    def is_silent(self) -> bool:
        """Whether it has written nothing more."""
        return self._lines.empty()

    def tell(self, command: str, *, then: str | None = None) -> None:
        """Give it a command, and see what it writes first."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if then is not None:
            assert self.line() == then

    def stop(self) -> None:
        """Have it stand still until it gets SIGCONT; returns once it does."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


StartOther = Callable[[], Other]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def svc(directory: Path, clock: ManualClock) -> Iterator[JobService]:
    with JobService(LmdbStorage(directory, sync="off", clock=clock)) as svc:
        yield svc


@pytest.fixture
def start(svc: JobService, directory: Path) -> Iterator[StartOther]:
    started: list[Other] = []

    def start_one() -> Other:
        started.append(Other(directory))
        return started[-1]

    yield start_one
    for other in started:
        other.end()


def one_line(others: list[Other]) -> str:
    """What the first of them to write anything writes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for other in others:
            if not other.is_silent():
                return other.line()
        time.sleep(0.001)  # between two looks: which of several processes writes first gives no event to wait on
    raise AssertionError("none of them wrote anything")


def sockets(directory: Path) -> list[str]:
    """The names of the sockets of a directory."""
    return sorted(path.name for path in (directory / "wake").iterdir() if path.is_socket())


def test_an_enqueue_wakes_a_waiter_of_another_process(svc: JobService, start: StartOther) -> None:
    other = start()
    other.tell("reserve t", then="asleep")
    svc.enqueue("u")
    svc.enqueue("t", name="new")
    assert other.line() == "job new"


def test_every_way_to_ready_wakes_it(svc: JobService, start: StartOther, clock: ManualClock) -> None:
    other = start()
    frees: list[Callable[[Job], object]] = [
        lambda job: job.release(),
        lambda job: job.retry(0),
        lambda job: job.done(then=NewJob("t", name="a")),
    ]
    for free in frees:
        svc.enqueue("t", name="a")
        [job] = svc.reserve("t")
        other.tell("reserve t", then="asleep")
        free(job)
        assert other.line() == "job a"
    svc.enqueue("t", name="a")
    svc.pause("t")
    other.tell("reserve t", then="asleep")
    svc.resume("t")
    assert other.line() == "job a"
    svc.cancel(id := svc.enqueue("t", name="b"))
    other.tell("reserve t", then="asleep")
    svc.reset(id)
    assert other.line() == "job b"


def test_a_nearer_due_time_shortens_its_sleep(svc: JobService, start: StartOther) -> None:
    other = start()
    svc.enqueue("t", name="later", delay=3600)
    other.tell("reserve t", then="asleep")
    svc.enqueue("t", name="sooner", delay=0.5)
    assert other.line() == "asleep"
    other.tell("advance 0.5", then="job sooner")


def test_who_waits_for_a_job_sees_it_finish(svc: JobService, start: StartOther) -> None:
    other = start()
    id = svc.enqueue("t")
    other.tell(f"wait_for {id}", then="asleep")
    [job] = svc.reserve("t")
    assert other.is_silent()
    job.done()
    assert other.line() == "finished done"


def test_no_call_is_lost_however_close_it_comes(svc: JobService, start: StartOther) -> None:
    """Some calls come before the waiter looks, some between its look and its sleep."""
    other = start()
    for n in range(300):
        other.tell("reserve t")
        for _ in range(n % 60):
            svc.stats("t")
        svc.enqueue("t", name=str(n))
        while (line := other.line()) == "asleep":
            pass
        assert line == f"job {n}"


def test_of_ten_waiters_one_wakes_for_one_job(svc: JobService, start: StartOther) -> None:
    others = [start(), start()]
    for other in others * 5:
        other.tell("reserve t", then="asleep")
    for name in ("first", "second"):
        svc.enqueue("t", name=name)
        assert one_line(others) == f"job {name}"
    for other in others:
        other.tell("reserve u", then="asleep")  # had another been woken, its sleep would be told first
    assert all(other.is_silent() for other in others)


def test_a_hundred_jobs_wake_all_ten(svc: JobService, start: StartOther) -> None:
    others = [start(), start()]
    for other in others * 5:
        other.tell("reserve t", then="asleep")
    svc.enqueue_many([NewJob("t", name="x") for _ in range(100)])
    assert [other.line() for other in others for _ in range(5)] == ["job x"] * 10


def test_ten_jobs_one_after_the_other_wake_all_ten(svc: JobService, start: StartOther) -> None:
    others = [start(), start()]
    for other in others * 5:
        other.tell("reserve t", then="asleep")
    for _ in range(10):
        svc.enqueue("t", name="x")
    for other in others:
        jobs = 0
        while jobs < 5:
            jobs += other.line() == "job x"
    assert svc.stats("t").reserved == 10


def test_a_killed_receiver_does_not_count(svc: JobService, start: StartOther, directory: Path) -> None:
    dead = [start() for _ in range(3)]
    for other in dead:
        other.tell("reserve t", then="asleep")
    living = start()
    living.tell("reserve t", then="asleep")
    for other in dead:
        other.end()
    assert len(sockets(directory)) == 4
    for n in range(4):
        svc.enqueue("t", name=str(n))
        assert living.line() == f"job {n}"
        living.tell("reserve t", then="asleep")
    assert len(sockets(directory)) == 1


def test_a_call_that_reaches_nobody_is_made_up_for_within_a_second(svc: JobService, start: StartOther) -> None:
    """As when the only one who was called is killed before it looks; here it is stopped."""
    stopped, living = start(), start()
    for other in (stopped, living):
        other.tell("reserve t", then="asleep")
    stopped.stop()
    for n in range(2):  # it is the turn of each
        svc.enqueue("t", name=str(n))
        living.tell("advance 1")
        while (line := living.line()) == "asleep":
            pass
        assert line == f"job {n}"
        living.tell("reserve t", then="asleep")


def test_a_stale_socket_is_removed(svc: JobService, start: StartOther, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(directory / "wake" / "0123456789abcdef"))
    board = Board(directory / "wake" / "board")
    slot = board.claim("0123456789abcdef")
    assert slot is not None
    board.show(slot, ["t"])
    assert board.waiting("t", None) == [slot]
    svc.enqueue("t", name="x")
    assert (sockets(directory), board.waiting("t", None), board.is_quiet()) == ([], [], True)
    board.close()


def test_what_was_left_behind_is_removed_by_who_opens_alone(directory: Path) -> None:
    LmdbStorage(directory).close()
    (directory / "wake" / "0123456789abcdef").write_bytes(b"")
    LmdbStorage(directory).close()
    assert [path.name for path in (directory / "wake").iterdir()] == ["board"]


def test_a_path_of_200_bytes(tmp_path: Path, clock: ManualClock) -> None:
    directory = tmp_path / ("x" * (200 - len(str(tmp_path)) - 1))
    assert len(str(directory)) >= 200
    with JobService(LmdbStorage(directory, sync="off", clock=clock)) as svc:
        other = Other(directory)
        try:
            other.tell("reserve t", then="asleep")
            svc.enqueue("t", name="far away")
            assert other.line() == "job far away"
        finally:
            other.end()


def test_a_full_socket_buffer_holds_nobody_up(svc: JobService, start: StartOther) -> None:
    """A stopped process gets more calls than its socket takes, then goes on: it has missed none."""
    stopped = start()
    for topic in ("t", "u", "u", "late"):
        stopped.tell(f"reserve {topic}", then="asleep")
    stopped.stop()
    for _ in range(1_000):
        svc.enqueue("t", name="x")
    svc.enqueue_many([NewJob("u", name="x"), NewJob("u", name="x")])
    svc.enqueue("late", name="last")  # for which there was no room
    os.kill(stopped.process.pid, signal.SIGCONT)
    assert sorted(stopped.line() for _ in range(4)) == ["job last", "job x", "job x", "job x"]


def test_without_sockets_it_looks_every_now_and_then(tmp_path: Path) -> None:
    directory = tmp_path / "jobs"
    with jobq.open(f"lmdb://{directory}?sync=off") as svc:
        board = Board(directory / "wake" / "board")
        for n in range(SLOTS):
            board.claim(f"{n:016x}")
        board.close()
        script = (
            "import sys, jobq; svc = jobq.open(sys.argv[1]); print('ready', flush=True); "
            "print(svc.reserve('t', timeout=30)[0].text)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, f"lmdb://{directory}"], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            svc.enqueue("t", payload="found")
            assert other.stdout.readline() == "found\n"


def test_a_closed_service_ends_its_thread_and_gives_up_its_slot(directory: Path, clock: ManualClock) -> None:
    before = threading.active_count()
    with JobService(LmdbStorage(directory, clock=clock)) as svc:
        assert svc.reserve("t", timeout=0) == []
        assert (threading.active_count(), sockets(directory)) == (before, [])
        svc.enqueue("t", delay=0.5)
        waiter = threading.Thread(target=svc.reserve, args=("t", 1, 60))
        waiter.start()
        assert clock.sleeping.acquire(timeout=PATIENCE)
        clock.advance(0.5)
        waiter.join(PATIENCE)
        assert (threading.active_count(), len(sockets(directory))) == (before + 1, 1)
    assert (threading.active_count(), sockets(directory)) == (before, [])


def test_a_slot_that_is_given_up_while_it_is_looked_at_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path / "board")
    slot = board.claim("0123456789abcdef")
    assert slot is not None
    read = Board._name

    def read_and_given_up(self: Board, number: int) -> bytes | bytearray:
        name = read(self, number)
        self._map[_NAMES:] = bytes(SLOTS * 16)
        return name

    board.give_up(slot)
    board.show(slot, ["t"])  # as whoever was interrupted between the two
    assert board.waiting("t", None) == []
    slot = board.claim("0123456789abcdef")
    monkeypatch.setattr(Board, "_name", read_and_given_up)
    assert board.slots() == [slot]
    assert board.slots() == []
    board.close()


def test_a_board_that_is_full_has_no_slot(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    slots = [board.claim(f"{n:016x}") for n in range(SLOTS)]
    assert board.claim("f" * 16) is None
    assert slots[7] is not None
    board.give_up(slots[7]._replace(name="0" * 16))  # another's by now
    assert board.claim("f" * 16) is None
    board.give_up(slots[7])
    assert board.claim("f" * 16) == (7, "f" * 16)
    board.close()


def test_a_killed_receiver_whose_forked_child_lives_does_not_count(svc: JobService, start: StartOther) -> None:
    """The child has inherited its parent's socket, which would take calls for ever."""
    dead, living = start(), start()
    for other in (dead, living):
        other.tell("reserve t", then="asleep")
    dead.tell("fork 0", then="forked")
    dead.end()
    for n in range(4):
        svc.enqueue("t", name=str(n))
        assert living.line() == f"job {n}"
        living.tell("reserve t", then="asleep")


def test_slots_of_the_killed_are_freed_by_the_next_who_waits(
    svc: JobService, start: StartOther, directory: Path
) -> None:
    """Also where nobody ever calls them."""
    dead = [start() for _ in range(3)]
    for n, other in enumerate(dead):
        other.tell(f"reserve never-used-{n}", then="asleep")
    for other in dead:
        other.end()
    assert len(sockets(directory)) == 3
    start().tell("reserve t", then="asleep")
    assert len(sockets(directory)) == 1


def test_a_closed_service_keeps_no_file_open(directory: Path, clock: ManualClock) -> None:
    kept = []
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            svc = JobService(LmdbStorage(directory, clock=clock))
            with svc._storage.watch(["t"]):
                kept.append(svc)
            svc.close()
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_who_waits_is_never_hidden_as_others_begin_and_end_to_wait(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    slot = board.claim("0" * 16)
    assert slot is not None
    board.show(slot, ["t"])
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            board.show(slot, ["t", "u"])
            board.show(slot, ["t"])

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    thread.start()
    try:
        assert all(board.waiting("t", None) == [slot] for _ in range(20_000))
    finally:
        stop.set()
        thread.join(PATIENCE)
        sys.setswitchinterval(interval)
        board.close()


def test_closing_as_a_first_wait_begins_leaves_nothing_open(directory: Path) -> None:
    for _ in range(30):
        svc = JobService(LmdbStorage(directory, sync="off"))
        waiter = threading.Thread(target=reserve_until_closed, args=(svc,))
        waiter.start()
        svc.close()
        waiter.join(PATIENCE)
        assert not waiter.is_alive()
    LmdbStorage(directory, topics="memory").close()  # which nobody else has open
    assert sockets(directory) == []


def reserve_until_closed(svc: JobService) -> None:
    with suppress(ServiceClosed):
        svc.reserve("t", timeout=60)
