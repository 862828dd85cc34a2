"""The example that does real work, with real processes, which are killed."""

from __future__ import annotations

import os
import pty
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import jobq
from jobq import JobService, Status
from tests.clocks import PATIENCE

SCRIPT = Path(__file__).parent.parent / "examples" / "hash_tree.py"


class Bench:
    """A tree, a queue and a manifest, and the command over them."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.queue = folder / "queue"
        self.manifest = folder / "manifest"
        self.parameters = ""
        self.running: list[subprocess.Popen[str]] = []
        self.tree.mkdir()

    @property
    def url(self) -> str:
        return f"lmdb:{self.queue}?sync=off{self.parameters}"

    def start(
        self,
        *more: str,
        python: Sequence[str] = (),
        output: int = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Begin the command, as a terminal would: in a process group of its own."""
        command = [sys.executable, *python, str(SCRIPT), str(self.tree), "--queue", self.url, "--processes", "2"]
        command += ["--manifest", str(self.manifest), "--lease", "1", *more]
        run = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
            env=os.environ | (environment or {}),
        )
        self.running.append(run)
        return run

    def run(self, *more: str) -> tuple[int, str, str]:
        """Exit status, output and errors of the whole command."""
        return finish(self.start(*more))

    def make_files(self, count: int, large: int = 2) -> None:
        """Fill the tree with small files and four of `large` MiB."""
        for number in range(count):
            folder = self.tree / str(number % 7)
            folder.mkdir(exist_ok=True)
            (folder / f"{number}").write_bytes(b"%d" % number * number)
        for number in range(4):
            with (self.tree / f"large {number}").open("wb") as file:
                file.truncate(large * 1024 * 1024)

    def expected(self) -> bytes:
        """What sha256sum says of the tree."""
        paths = []
        for folder, _, names in os.walk(os.fsencode(self.tree)):
            paths += [os.path.join(folder, name) for name in names]
        regular = sorted(path for path in paths if os.path.isfile(path) and not os.path.islink(path))
        return subprocess.run(["sha256sum", "--", *regular], check=True, capture_output=True).stdout


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for run in bench.running:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        with run:  # closes the pipes
            pass


@pytest.fixture
def queue(bench: Bench) -> Iterator[JobService]:
    """The command's queue, opened in this process too."""
    with jobq.open(bench.url) as svc:
        yield svc


def finish(run: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = run.communicate(timeout=PATIENCE)
    return run.returncode, output, errors


def eventually(condition: Callable[[], bool]) -> None:
    """Return once another process has made this true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)  # between two looks: what another process does gives no event to wait on


def workers_of(run: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    """How the kernel calls the state of a process: T is stopped, Z ended; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def have_ended(pids: list[int]) -> bool:
    return all(state_of(pid) in ("", "Z") for pid in pids)


def freeze_midway(run: subprocess.Popen[str], queue: JobService, waiting: int = 1) -> list[int]:
    """Stop both workers while they hold files, and at least `waiting` others wait; return the workers' ids."""

    def is_midway() -> bool:
        now = queue.stats("files").now
        return now[Status.RESERVED] > 0 and now[Status.READY] >= waiting

    def is_frozen() -> bool:
        workers = workers_of(run)
        if len(workers) < 2 or not is_midway():
            return False
        signal_all(workers, signal.SIGSTOP)
        eventually(lambda: all(state_of(worker) == "T" for worker in workers))
        if is_midway():
            return True
        signal_all(workers, signal.SIGCONT)
        return False

    eventually(is_frozen)
    return workers_of(run)


def signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)


def fill(queue: JobService) -> None:
    """Enqueue until not even a small job has room."""
    for size in (10_000, 10):
        with suppress(jobq.StorageFull):
            while True:
                queue.enqueue("ballast", payload=bytes(size))


def assert_complete(bench: Bench, queue: JobService, files: int) -> None:
    """The manifest names each file once, and each was enqueued once."""
    assert bench.manifest.read_bytes() == bench.expected()
    assert queue.stats("files").enqueued == files
    assert queue.stats("files").now[Status.DONE] == files


def test_odd_names_and_odd_files(bench: Bench) -> None:
    root = os.fsencode(bench.tree)
    os.makedirs(root + b"/deep/er/est")
    os.mkdir(root + b"/empty folder")
    for name in (
        b"plain",
        b"two  spaces",
        b"new\nline",
        b"back\\slash",
        b"\\n",
        b"\xff\xfe",
        b" ",
        b"-c",
        "ü☃".encode(),
    ):
        for folder in (root, root + b"/deep/er/est"):
            with open(folder + b"/" + name, "wb") as file:
                file.write(name * 1000)
    (bench.tree / "empty").touch()
    os.symlink(bench.tree, bench.tree / "deep" / "loop")
    os.symlink("plain", bench.tree / "link to a file")
    os.symlink("nowhere", bench.tree / "dangling")
    os.mkfifo(bench.tree / "pipe")

    status, output, errors = bench.run()

    assert (status, errors) == (0, "")
    assert output.startswith(f"19 files in {bench.manifest}, 19 finished now, in ")
    assert bench.manifest.read_bytes() == bench.expected()
    assert subprocess.run(["sha256sum", "--check", "--quiet", "--strict", bench.manifest], check=False).returncode == 0


def test_the_queue_and_the_manifest_are_no_part_of_the_tree(bench: Bench, queue: JobService) -> None:
    bench.make_files(5)
    before = bench.expected()
    within = Bench(bench.tree)
    within.tree.rmdir()
    within.tree = bench.tree
    within.manifest.write_text("of another time")
    Path(f"{within.manifest}.tmp").write_text("of another time, when it was killed")

    assert within.run()[0] == 0
    assert within.manifest.read_bytes() == before


def test_parts_that_are_left_out(bench: Bench, queue: JobService) -> None:
    bench.make_files(3)
    whole = bench.expected()
    (bench.tree / "other").mkdir()
    (bench.tree / "other" / "file").touch()
    (bench.tree / "file").touch()

    assert bench.run("--leave-out", f"{bench.tree}/other", "--leave-out", f"{bench.tree}/file")[0] == 0
    assert bench.manifest.read_bytes() == whole


def test_a_directory_longer_than_a_page(bench: Bench, queue: JobService) -> None:
    for number in range(2_100):
        (bench.tree / f"{number}").touch()

    assert bench.run()[0] == 0
    assert queue.stats("dirs").enqueued == 2
    assert_complete(bench, queue, 2_100)


def test_run_again_it_only_writes_the_manifest(bench: Bench, queue: JobService) -> None:
    bench.make_files(20)
    bench.run()
    bench.manifest.unlink()
    reserved = queue.stats("files").reserved

    status, output, _ = bench.run()

    assert status == 0
    assert "24 files" in output
    assert " 0 finished now" in output
    assert queue.stats("files").reserved == reserved
    assert_complete(bench, queue, 24)


# -- what a person sees


WITHOUT_RICH = (
    "import runpy, sys; sys.modules['rich'] = None; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
)


def on_terminal(bench: Bench, *python: str, term: str = "xterm-256color") -> str:
    """What the whole command writes on a terminal of its own."""
    ours, its = pty.openpty()
    run = bench.start(python=python, output=its, environment={"TERM": term, "COLUMNS": "100"})
    os.close(its)
    too_late = threading.Timer(PATIENCE, run.kill)
    too_late.start()
    written = b""
    with suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # an error is how a terminal says that it ended
        while chunk := terminal.read(65_536):
            written += chunk
    assert run.wait(PATIENCE) == 0
    too_late.cancel()
    return written.decode()


def test_on_a_terminal_there_is_a_bar(bench: Bench, queue: JobService) -> None:
    bench.make_files(300)

    written = on_terminal(bench)

    drawn = re.findall(r"━[^\r]* (\d+) of (\d+)( or more)? files, [\d,]+ files/s, ", written)
    assert len(drawn) > 1
    assert drawn[-1] == ("304", "304", "")
    assert written.endswith(f"{written.splitlines()[-1]}\r\n")
    assert "304 finished now" in written.splitlines()[-1]
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is to be seen"

    assert "━" not in on_terminal(bench), "there is nothing to wait for"


@pytest.mark.parametrize("how", ["without rich", "dumb terminal"])
def test_a_terminal_without_what_a_bar_needs_gets_plain_text(bench: Bench, queue: JobService, how: str) -> None:
    bench.make_files(30)
    written = on_terminal(bench, "-c", WITHOUT_RICH) if how == "without rich" else on_terminal(bench, term="dumb")
    assert re.fullmatch(r"34 files in \S+, 34 finished now, in [\d.]+ s\r\n", written)


@pytest.mark.parametrize("is_forced", [False, True])
def test_without_a_terminal_there_is_a_line_every_five_seconds(
    queue: JobService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_forced: bool
) -> None:
    if is_forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    queue.enqueue_many([jobq.NewJob("dirs"), *[jobq.NewJob("files")] * 1_500])
    began = time.monotonic()
    progress = runpy.run_path(str(SCRIPT))["Progress"](queue)
    for seconds in (1, 4.9, 5.1, 5.3, 9.9, 10.1):
        monkeypatch.setattr(time, "monotonic", partial(float, began + seconds))
        queue.done(queue.reserve("files", 100))
        progress.look()
        progress.show()
    progress.close()
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"300 of 1,500 or more files, \d+ files/s, 0:\d\d:\d\d left", first)
    assert second.startswith("600 of 1,500 or more files, ")


# -- what it survives


def test_a_killed_worker_is_replaced(bench: Bench, queue: JobService) -> None:
    bench.make_files(600, large=16)
    run = bench.start()
    killed, other = freeze_midway(run, queue)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: killed not in workers_of(run) and len(workers_of(run)) == 2)
    os.kill(other, signal.SIGCONT)

    assert finish(run)[0] == 0
    assert_complete(bench, queue, 604)


def test_both_workers_killed(bench: Bench, queue: JobService) -> None:
    bench.make_files(600, large=16)
    run = bench.start()
    signal_all(freeze_midway(run, queue), signal.SIGKILL)

    assert finish(run)[0] == 0
    assert_complete(bench, queue, 604)


def test_without_their_parent_the_workers_stop_and_the_same_command_goes_on(bench: Bench, queue: JobService) -> None:
    bench.make_files(600, large=16)
    run = bench.start()
    workers = freeze_midway(run, queue)
    run.kill()
    run.wait(PATIENCE)
    signal_all(workers, signal.SIGCONT)
    eventually(lambda: have_ended(workers))

    now = queue.stats("files").now
    assert now[Status.RESERVED] == 0, "they gave back what they held"
    assert now[Status.READY] > 0, "it was killed midway"
    assert not bench.manifest.exists()

    assert bench.run()[0] == 0
    assert_complete(bench, queue, 604)


def test_all_processes_killed_again_and_again(bench: Bench, queue: JobService) -> None:
    bench.make_files(600, large=16)
    for _ in range(4):
        run = bench.start("--lease", "0.2")
        freeze_midway(run, queue, waiting=0)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait(PATIENCE)

    assert bench.run()[0] == 0
    assert_complete(bench, queue, 604)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_cleanly_and_gone_on_with(bench: Bench, queue: JobService, stop: signal.Signals) -> None:
    bench.make_files(600, large=16)
    run = bench.start()
    workers = freeze_midway(run, queue)
    if stop is signal.SIGINT:
        os.killpg(run.pid, stop)  # as Ctrl-C does: all of them get it
    else:
        os.kill(run.pid, stop)
    signal_all(workers, signal.SIGCONT)

    status, output, errors = finish(run)

    assert (status, output) == (130, "")
    assert errors.strip() == "hash_tree: stopped; the same command goes on from here"
    assert have_ended(workers)
    now = queue.stats("files").now
    assert now[Status.RESERVED] == 0, "they gave back what they held"
    assert now[Status.READY] > 0, "it was stopped midway"

    assert bench.run()[0] == 0
    assert_complete(bench, queue, 604)


def test_another_tree_with_the_same_queue_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.make_files(3)
    bench.run()
    first = bench.tree
    bench.tree = tmp_path / "other"
    bench.tree.mkdir()

    assert bench.run() == (2, "", f"hash_tree: this queue is for '{first}': take another --queue\n")


def test_what_cannot_be_read_is_listed_and_tried_again(bench: Bench, queue: JobService) -> None:
    """The paths lead nowhere at first, as root may read everything."""
    bench.make_files(3)
    late = bench.tree / "late"
    runpy.run_path(str(SCRIPT))["begin"](queue, os.fsencode(bench.tree))
    options = jobq.JobOptions(max_retries=1, min_backoff=0, keep_done=None)
    queue.enqueue("files", payload=os.fsencode(late), options=options)
    queue.enqueue("dirs", payload=os.fsencode(bench.tree / "late\nfolder"), options=options)

    status, output, errors = bench.run()

    assert status == 1
    assert output.startswith("7 files")
    assert errors.splitlines() == [
        f"not read: '{bench.tree}/late\\nfolder': No such file or directory",
        f"not read: '{late}': No such file or directory",
    ]
    assert bench.manifest.read_bytes() == bench.expected()
    assert queue.dead_letters("files")[0].attempt == 2, "it was retried"

    late.write_text("here at last")
    (bench.tree / "late\nfolder").mkdir()
    assert bench.run()[0] == 0
    assert bench.manifest.read_bytes() == bench.expected()


def test_what_took_the_place_of_a_file_is_not_read(bench: Bench, queue: JobService) -> None:
    os.mkfifo(bench.tree / "pipe")
    (bench.tree / "link").symlink_to(SCRIPT)
    for name in ("pipe", "link"):
        queue.enqueue("files", payload=os.fsencode(bench.tree / name), max_retries=0)

    status, output, errors = bench.run()

    assert status == 1
    assert output.startswith("0 files")
    assert errors.splitlines() == [
        f"not read: '{bench.tree}/pipe': no regular file any more",
        f"not read: '{bench.tree}/link': Too many levels of symbolic links",
    ]


def test_a_file_that_kills_its_workers_ends_as_a_dead_letter(bench: Bench, queue: JobService) -> None:
    queue.enqueue("files", payload=os.fsencode(bench.tree / "deadly"), max_retries=0)
    [job] = queue.reserve("files", lease=0.001)
    assert not job.settled

    status, _, errors = bench.run()

    assert (status, errors) == (1, f"not read: '{bench.tree}/deadly': whoever read it was killed\n")


def test_a_full_queue_stops_all_with_one_line_a_process(bench: Bench) -> None:
    bench.make_files(30)
    bench.parameters = "&max_size=1048576"
    with jobq.open(bench.url) as queue:
        runpy.run_path(str(SCRIPT))["begin"](queue, os.fsencode(bench.tree))
        fill(queue)

    status, output, errors = bench.run()

    assert (status, output) == (2, "")
    *workers, parent = errors.splitlines()
    assert parent == "hash_tree: a worker could not go on, so all are stopped"
    assert workers
    assert all(line.startswith("hash_tree: ") and "max_size" in line for line in workers)


def test_digests_that_a_full_queue_did_not_keep_are_made_again(bench: Bench, queue: JobService) -> None:
    bench.make_files(3)
    bench.run()
    first = queue.find(Status.DONE, topic="files")[0]
    queue.reset(first.id)
    queue.done(queue.reserve("files"))

    status, output, errors = bench.run()

    assert (status, output) == (2, "")
    assert errors == "hash_tree: no room for 1 digests: go on with a larger lmdb:PATH?max_size=BYTES\n"
    assert bench.run()[0] == 0
    assert_complete(bench, queue, 7)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["/nowhere", "--queue", "lmdb:queue"], "'/nowhere' is not a directory"),
        ([".", "--queue", "memory://queue"], "--queue must be lmdb:PATH, which processes can share"),
        ([".", "--queue", "lmdb:queue", "--processes", "0"], "--processes must be at least 1, and --lease above 0"),
        ([".", "--queue", "lmdb:queue", "--lease", "nan"], "--processes must be at least 1, and --lease above 0"),
    ],
)
def test_wrong_arguments(arguments: list[str], complaint: str) -> None:
    run = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert run.stderr.endswith(f"hash_tree.py: error: {complaint}\n")


def test_a_url_that_jobq_refuses(bench: Bench) -> None:
    bench.parameters = "&sink=off"

    status, _, errors = bench.run()

    assert status == 2
    assert errors.startswith("hash_tree: unknown parameter 'sink'")
    assert errors.count("\n") == 1
