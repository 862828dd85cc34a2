"""One run of a program, which ends with all that it began."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, NamedTuple

TAIL = 32_000
"""Bytes that are kept of what a program writes to stderr: the last ones."""
CHUNK = 65_536
PIPE = 2**20
"""Bytes that are read at once; and that a pipe may hold."""
LOOK = 50
"""Milliseconds between two looks at a program, where the system does not tell that it ended."""

SHORTAGES = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What no program can be begun for just now, whichever it is: processes, files or memory are used up."""


class Ended(NamedTuple):
    """How a program ended: its exit status, or minus the signal that killed it; and the end of its stderr."""

    status: int
    errors: bytes


class Run:
    """A program for one job, in a session of its own: what it begins is in its process group, and no terminal's.

    words: the program and its arguments, as they are. executable: its path. environment: all of it. payload: what it
    reads from stdin. Its stdout is that of this process; what it writes to stderr goes to that of this process, too.
    """

    def __init__(
        self, words: Sequence[str], executable: str, environment: Mapping[bytes, bytes], payload: bytes
    ) -> None:
        self._words = words
        self._executable = executable
        self._environment = environment
        self._payload = payload
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def to_its_end(self) -> Ended | None:
        """Run it, and return when it and its group have ended; None if it was told to end before it began.

        The thread that calls this lives as long as the program. Raises OSError if it cannot be begun.
        """
        process = self._begin()
        if process is None:
            return None
        with process:
            tail = Tail(process, _stderr())
            try:
                self._pass_on(process, tail)
            finally:
                self._end_group(process)
            tail.read_rest()
        return Ended(process.returncode, tail.kept)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its group, from any thread; one that it has not begun with keeps it from that."""
        with self._lock:
            if self._process is None:
                self._is_over = True
            elif not self._is_over:
                _signal_group(self._process.pid, number)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        with _file_of(self._payload) as stdin, self._lock:
            if self._is_over:
                return None
            self._process = subprocess.Popen(
                self._words,
                executable=self._executable,
                env=self._environment,
                stdin=stdin,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
            return self._process

    def _pass_on(self, process: subprocess.Popen[bytes], tail: Tail) -> None:
        """Copy its stderr to that of this process until it has ended."""
        with _death_of(process) as death:
            poll = select.poll()
            poll.register(tail.source, select.POLLIN)
            if death is not None:
                poll.register(death, select.POLLIN)
            has_ended = False
            while not has_ended:
                ready = [number for number, _ in poll.poll(LOOK if death is None else None)]
                if tail.source in ready and not tail.read():
                    poll.unregister(tail.source)  # it is closed, and the program goes on
                has_ended = process.poll() is not None if death is None else death in ready

    def _end_group(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what it left running: before its end is acknowledged, after which its id may be another one's."""
        with self._lock:
            self._is_over = True
            _signal_group(process.pid, signal.SIGKILL)


class Tail:
    """The last bytes of a process's stderr. echo: what is told all of them."""

    def __init__(self, process: subprocess.Popen[bytes], echo: Callable[[bytes], object]) -> None:
        assert process.stderr is not None
        self.source = process.stderr.fileno()
        self.kept = b""
        self._echo = echo
        os.set_blocking(self.source, False)

    def read(self) -> int:
        """Read once what there is, and return how much that was; 0 at the end. Raises BlockingIOError for nothing."""
        chunk = os.read(self.source, CHUNK)
        self.kept = (self.kept + chunk)[-TAIL:]
        self._echo(chunk)
        return len(chunk)

    def read_rest(self) -> None:
        """Read what the pipe holds; there may be others who go on to write."""
        with suppress(BlockingIOError):
            for _ in range(PIPE // CHUNK):
                if not self.read():
                    return


@contextmanager
def _death_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """What poll finds readable once the process has ended, without acknowledging that; None where there is no such."""
    try:
        number = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield number
    finally:
        os.close(number)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left; or who is, runs as somebody else
        os.killpg(pid, number)


def _file_of(payload: bytes) -> IO[bytes]:
    """A file that holds the payload: unlike a pipe it needs nobody who writes, whether it is read or not."""
    file: IO[bytes]
    try:
        file = open(os.memfd_create("jobq-payload"), "w+b")  # noqa: SIM115  # it is returned
    except (AttributeError, OSError) as problem:
        if getattr(problem, "errno", None) in SHORTAGES:
            raise
        file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(payload)
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the position is that of the program, too
    return file


def _stderr() -> Callable[[bytes], object]:
    """What writes to stderr; who does not listen there keeps no program from its work."""
    if sys.stderr is None:
        return lambda chunk: None
    number = sys.stderr.fileno()

    def write(chunk: bytes) -> None:
        with suppress(OSError):
            while chunk:
                chunk = chunk[os.write(number, chunk) :]

    return write
