"""Hash every file of a directory tree in worker processes, and write a manifest that `sha256sum -c` accepts.

    python examples/hash_tree.py DIR --queue lmdb:queue --processes 2 --manifest manifest.sha256

Stop it with Ctrl-C or kill -9 any of its processes at any moment: the same command finishes the rest.

A job of the topic "dirs" is a directory to list, one of "files" a file to hash. A directory is settled and what is in
it enqueued in one commit, so that no crash loses a file or brings one twice. The SHA-256 of a file is its job's result,
from which the manifest is written. What cannot be read is retried, and ends as a dead letter, for the next run to try.
"""

import argparse
import hashlib
import heapq
import os
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING
from urllib.parse import unquote

import jobq
from jobq import Done, Job, JobInfo, JobService, NewJob, Release, Retry, Status

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

TOPICS = ("dirs", "files")  # directories first, so that the number of files is soon known
OPTIONS = jobq.JobOptions(max_retries=10, min_backoff=0.1, max_backoff=1, keep_done=None)  # a kill is a retry, too
OPEN = (Status.READY, Status.DELAYED, Status.RESERVED)
LIMITS = jobq.Limits(batch=2**30, done=2**62)  # the manifest needs every result
BATCH = 100  # jobs that a worker takes at once, and settles in one commit
SLICE = 0.5  # seconds after which it gives the rest of a batch back, for others to take
PAGE = 2_000  # entries of a directory that one job lists
CHUNK = 1024 * 1024  # bytes of a file read at once
POLL = 0.2  # seconds between two looks


class Problem(Exception):
    """Why this cannot go on, for the user to mend."""


class Worker:
    """Settles a batch of jobs and takes the next in one commit, until it is told to stop or its parent is gone."""

    def __init__(self, svc: JobService, arguments: argparse.Namespace) -> None:
        self.svc = svc
        self.lease = arguments.lease
        self.parent = arguments.worker
        queue = unquote(arguments.queue.removeprefix("lmdb:").partition("?")[0])
        no_part_of_the_tree = (queue, arguments.manifest, arguments.manifest + ".tmp", *arguments.leave_out)
        self.left_out = {os.fsencode(os.path.realpath(path)) for path in no_part_of_the_tree}
        self.is_told = False
        signal.signal(signal.SIGTERM, self.tell)

    def tell(self, *_: object) -> None:
        """Have it stop soon, giving back what it holds."""
        self.is_told = True

    def is_over(self) -> bool:
        """Whether to stop now."""
        return self.is_told or os.getppid() != self.parent

    def run(self) -> None:
        """Work until it is over."""
        outcomes: list[tuple[Job, Done | Retry | Release]] = []
        while not self.is_over():
            self.held = self.svc.exchange(outcomes, topics=TOPICS, n=BATCH, timeout=POLL, lease=self.lease).jobs
            self.renew_at = time.monotonic() + self.lease / 3
            until = time.monotonic() + SLICE
            outcomes = [(job, self.work(job) if time.monotonic() < until else Release()) for job in self.held]
        self.svc.exchange(outcomes)

    def work(self, job: Job) -> Done | Retry | Release:
        """List a directory or hash a file, and say what becomes of the job."""
        try:
            self.go_on()
            return Done(then=self.contents(job.payload)) if job.topic == "dirs" else Done(self.digest(job.payload))
        except Release as given_back:
            return given_back
        except OSError as error:
            return Retry(error=error.strerror or str(error))

    def go_on(self) -> bool:
        """Raise Release if it is over; else renew the leases if it is time, and be true."""
        if self.is_over():
            raise Release
        if time.monotonic() > self.renew_at:
            with suppress(jobq.LeaseLost):  # another worker has that job now, and `exchange` drops this one's outcome
                self.svc.extend(self.held, self.lease)
            self.renew_at = time.monotonic() + self.lease / 3
        return True

    def contents(self, payload: bytes) -> list[NewJob]:
        """A job for each file and directory in a directory; a long one goes on in a job that knows the last name."""
        directory, _, last = payload.partition(b"\0")
        with os.scandir(directory) as entries:
            ahead = (entry for entry in entries if self.go_on() and entry.name > last)
            page = heapq.nsmallest(PAGE, ahead, key=attrgetter("name"))
        kept = [entry for entry in page if entry.path not in self.left_out]
        jobs = [NewJob("dirs", payload=entry.path) for entry in kept if entry.is_dir(follow_symlinks=False)]
        jobs += [NewJob("files", payload=entry.path) for entry in kept if entry.is_file(follow_symlinks=False)]
        if len(page) == PAGE:
            jobs.append(NewJob("dirs", payload=directory + b"\0" + page[-1].name))
        return jobs

    def digest(self, path: bytes) -> str:
        """The SHA-256 of a file."""
        sha256 = hashlib.sha256()
        as_listed = os.O_NOFOLLOW | os.O_NONBLOCK  # it may be a link by now, or a pipe, which waits for a writer
        with open(path, "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | as_listed)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("no regular file any more")
            while (chunk := file.read(CHUNK)) and self.go_on():
                sha256.update(chunk)
        return sha256.hexdigest()


class Crew:
    """The worker processes: replaced when killed, stopped at the end."""

    def __init__(self, size: int) -> None:
        self.command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(os.getpid())]
        self.size = size
        self.workers: list[subprocess.Popen[bytes]] = []

    def tend(self) -> None:
        """Have as many as wanted running."""
        if any((worker.poll() or 0) > 0 for worker in self.workers):
            raise Problem("a worker could not go on, so all are stopped")
        self.workers = [worker for worker in self.workers if worker.returncode is None]
        while len(self.workers) < self.size:
            # A child inherits what is blocked: Ctrl-C reaches the parent alone, which then stops its workers.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            self.workers.append(subprocess.Popen(self.command))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def close(self) -> None:
        """Stop them all."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # they are stopping already
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait()
        signal.signal(signal.SIGINT, before)


class Progress:
    """How far the tree is: a bar on a terminal if rich is installed, else a line every five seconds."""

    def __init__(self, svc: JobService) -> None:
        self.svc = svc
        self.bar = new_bar()
        self.seen: deque[tuple[float, int]] = deque(maxlen=int(5 / POLL))
        self.next_at = time.monotonic() + 5
        self.look()
        self.before = self.finished

    def look(self) -> bool:
        """Read the counters; true once everything is finished."""
        # Directories first: once they are finished, nothing adds a file.
        dirs, files = self.svc.stats("dirs").now, self.svc.stats("files").now
        self.open_dirs, self.open_files = (sum(now[status] for status in OPEN) for now in (dirs, files))
        self.known = sum(files.values())
        self.finished = self.known - self.open_files
        self.seen.append((time.monotonic(), self.finished))
        return not self.open_dirs and not self.open_files

    def show(self) -> None:
        """Draw the bar, or write the line if it is time."""
        if self.bar:
            if not self.bar.live.is_started:
                self.bar.start()
                self.bar.console.show_cursor()  # nobody would show it again after a kill -9
            self.bar.update(self.bar.task_ids[0], completed=self.finished, total=self.known, description=self.line())
            self.bar.refresh()
        elif time.monotonic() >= self.next_at:
            print(self.line(), file=sys.stderr, flush=True)
            self.next_at += 5

    def close(self) -> None:
        """Give the terminal back."""
        if self.bar:
            self.bar.stop()

    def line(self) -> str:
        """Files finished, how many a second of late, and the time left."""
        (began, before), (now, finished) = self.seen[0], self.seen[-1]
        rate = (finished - before) / (now - began) if now > began else 0
        known = f"{self.known:,} or more" if self.open_dirs else f"{self.known:,}"
        left = f"{timedelta(seconds=round(self.open_files / rate))} left" if rate else "waiting"
        return f"{finished:,} of {known} files, {rate:,.0f} files/s, {left}"


def new_bar() -> "Bar | None":
    """A bar that is drawn when told to; None where there is no terminal to draw on, or no rich to draw it."""
    if not sys.stderr.isatty():
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    console = Console(stderr=True)
    if not console.is_interactive:  # a dumb terminal
        return None
    bar = Bar(BarColumn(), "{task.description}", console=console, auto_refresh=False, redirect_stderr=False)
    bar.add_task("")
    return bar


def hash_tree(svc: JobService, arguments: argparse.Namespace) -> int:
    """Have workers hash the tree, write the manifest, and return the exit status: 1 with dead letters, else 0."""
    started = time.monotonic()
    begin(svc, os.fsencode(arguments.dir))
    progress = Progress(svc)
    with closing(Crew(arguments.processes)) as crew, closing(progress):
        while not progress.look():
            crew.tend()
            progress.show()
            time.sleep(POLL)
        if crew.workers:
            progress.show()
    lines = write_manifest(svc, os.fsencode(arguments.manifest))
    new, seconds = progress.finished - progress.before, time.monotonic() - started
    print(f"{lines:,} files in {arguments.manifest}, {new:,} finished now, in {seconds:.1f} s")
    return 1 if list_dead_letters(svc) else 0


def begin(svc: JobService, root: bytes) -> None:
    """Enqueue the root directory if the queue is new; else give what could not be read another chance."""
    try:
        # Nobody serves the topic "root", so its job holds the unique key for good: a queue begins only once.
        svc.enqueue_many([NewJob("root", payload=root, unique_key="root"), NewJob("dirs", payload=root)])
    except jobq.DuplicateJob as begun:
        if (other := svc.payload(begun.job_id)) != root:
            raise Problem(f"this queue is for {os.fsdecode(other)!r}: take another --queue") from None
        for topic in TOPICS:
            while dead := svc.dead_letters(topic, limit=1_000):
                svc.reset([info.id for info in dead])


def every(find: Callable[..., list[JobInfo]]) -> Iterator[JobInfo]:
    """All that `find` finds, page by page."""
    after = None
    while page := find(after=after, limit=1_000):
        yield from page
        after = page[-1]


def write_manifest(svc: JobService, manifest: bytes) -> int:
    """Write the digests by path, replacing the file as a whole, and return how many."""
    done = list(every(partial(svc.find, Status.DONE, topic="files")))
    if cut := [info.id for info in done if not info.result]:  # a full queue settles jobs, but keeps no results
        svc.reset(cut)
        raise Problem(f"no room for {len(cut):,} digests: go on with a larger lmdb:PATH?max_size=BYTES")
    lines = sorted((svc.payload(info.id), info.result) for info in done)
    with open(manifest + b".tmp", "wb") as file:
        file.writelines(manifest_line(path, digest) for path, digest in lines)
    os.replace(manifest + b".tmp", manifest)
    return len(lines)


def manifest_line(path: bytes, digest: str) -> bytes:
    """A line as sha256sum writes it: a backslash in front says that characters of the path are escaped."""
    escaped = path.replace(b"\\", rb"\\").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != path else b"", digest.encode(), escaped)


def list_dead_letters(svc: JobService) -> bool:
    """Say what could not be read and why; true if there was anything."""
    dead = [info for topic in TOPICS for info in every(partial(svc.dead_letters, topic))]
    for info in dead:
        path = os.fsdecode(svc.payload(info.id).partition(b"\0")[0])
        print(f"not read: {path!r}: {info.last_error or 'whoever read it was killed'}", file=sys.stderr)
    return bool(dead)


def parse() -> argparse.Namespace:
    """The command's arguments."""
    parser = argparse.ArgumentParser(description="Hash the files of a directory tree, and go on where it was stopped.")
    add = parser.add_argument
    add("dir", type=os.path.realpath, metavar="DIR", help="the tree; symbolic links are not followed")
    add("--queue", required=True, metavar="lmdb:PATH", help="where the work is kept, a queue for each tree")
    add("--processes", type=int, default=os.cpu_count(), metavar="N", help="how many workers (%(default)s)")
    add("--manifest", default="manifest.sha256", metavar="FILE", help="what to write (%(default)s)")
    add("--leave-out", action="append", default=[], metavar="PATH", help="a part not to hash; may be given repeatedly")
    add("--lease", type=float, default=15, metavar="S", help="seconds that a killed worker holds files (%(default)s)")
    add("--worker", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.queue.startswith("lmdb:"):
        parser.error("--queue must be lmdb:PATH, which processes can share")
    if not os.path.isdir(arguments.dir):
        parser.error(f"{arguments.dir!r} is not a directory")
    if arguments.processes < 1 or not arguments.lease > 0:
        parser.error("--processes must be at least 1, and --lease above 0")
    return arguments


def main() -> int:
    """Run the command and return its exit status."""
    arguments = parse()
    try:
        with jobq.open(arguments.queue, defaults=OPTIONS, limits=LIMITS) as svc:
            if arguments.worker:
                Worker(svc, arguments).run()
                return 0
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            return hash_tree(svc, arguments)
    except (jobq.JobqError, Problem, OSError) as error:
        print(f"hash_tree: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nhash_tree: stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
