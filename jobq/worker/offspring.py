"""A process that was spawned, and the pipe to it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker, util
from typing import Any

from jobq.errors import ConfigError
from jobq.worker import child
from jobq.worker.child import Program
from jobq.worker.messages import Question, Ready, Reply, Report, Task, receive, send
from jobq.worker.signals import TO_ALL

BEGINNING = 60.0
"""Seconds that a process has to import the handlers."""
FAREWELL = 2.0
"""Seconds that a process has to end once nobody speaks to it any more."""
LOOK = 0.01
"""Seconds between two looks at a process that is about to end."""
UNSEEN = 256
"""The exit status of a process that ended unseen: no process has such a one."""


class Offspring:
    """A process that runs `child.main`. All but `kill` is for one thread."""

    def __init__(self, program: Program) -> None:
        context = get_context("spawn")  # a fork would inherit locks, threads and the storage's files
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=child.main, args=(theirs, program), name="jobq-child")
        with theirs, _without_signals():
            self._process.start()
        self._lock = threading.Lock()
        self._is_closed = False
        self._pidfd = _pidfd(self._process.pid)
        # The interpreter waits at its end for processes that it spawned, also where nobody is left to end them.
        self._at_exit = util.Finalize(None, self.kill, exitpriority=1)

    def await_ready(self) -> None:
        """Wait until it is ready for tasks. Raises ConfigError if it never will be, or takes too long."""
        try:
            if self._pipe.poll(BEGINNING):
                ready: Ready = receive(self._pipe)
                problem = ready.problem
            else:
                self.kill()
                problem = f"it was killed, as it had not imported the handlers after {BEGINNING:g} seconds"
        except (EOFError, OSError):
            problem = f"{self.obituary()}. If it is this program's own script that it could not import: "
            problem += "worker.run() belongs under `if __name__ == '__main__':`"
        if problem:
            raise ConfigError(f"a child process of the worker could not begin: {problem}")

    def begin(self, task: Task) -> None:
        """Have it begin with a task. Raises EOFError or OSError if it was dead before it had begun."""
        send(self._pipe, task)
        self._pipe.recv_bytes()

    def reply(self, message: Reply) -> None:
        """Answer what it asked. Raises OSError if it is dead."""
        send(self._pipe, message)

    def receive(self) -> Question | Report:
        """Hear what it says. Raises EOFError and OSError if it is dead, anything else if that cannot be understood."""
        said: Question | Report = receive(self._pipe)
        return said

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._look() is None

    def kill(self) -> None:
        """Kill it, from any thread."""
        with suppress(OSError):  # it has ended
            self._send(signal.SIGKILL)

    def end(self) -> None:
        """Let it end, and make sure that it does."""
        self._pipe.close()
        if self._exit_code(FAREWELL) is None:
            self.kill()
            if self._exit_code(FAREWELL) is None:
                return  # the kernel does not let go of it: it ends as soon as that does
        self._at_exit.cancel()
        with self._lock:
            self._process.close()
            self._is_closed = True
            if self._pidfd is not None:
                os.close(self._pidfd)

    def obituary(self) -> str:
        """How it died, once its end of the pipe is closed."""
        code = self._exit_code(FAREWELL)
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"it was killed by {signal.Signals(-code).name}"
        if code == UNSEEN:
            return "its status went to someone else (who waits for any child of the program, or ignores SIGCHLD)"
        return "it still runs, but hears nothing" if code is None else f"it exited with status {code}"

    def _exit_code(self, timeout: float) -> int | None:
        """How it ended; None if it still runs after `timeout` seconds.

        It is looked at now and then, as `join` would wait for what handlers may have closed, or left open in processes
        of their own. And other threads, as they begin a process, see to the end of this one, too.
        """
        end = time.monotonic() + timeout
        while (code := self._look()) is None and time.monotonic() < end:
            time.sleep(LOOK)
        return code

    def _look(self) -> int | None:
        """How it ended; None if it runs.

        The kernel tells that once: where SIGCHLD is ignored nobody, and else whoever asks first.
        """
        if self._process.exitcode is None:
            try:
                self._send(0)
            except ProcessLookupError:
                time.sleep(LOOK)  # it may be another thread that was told, and has yet to write it down
                if self._process.exitcode is None:
                    popen: Any = vars(self._process)["_popen"]
                    popen.returncode = UNSEEN  # or it would be kept as a running one, with its files
        return self._process.exitcode

    def _send(self, number: int) -> None:
        """Send it a signal, or with 0 see whether it is there. Raises ProcessLookupError if it is not."""
        with self._lock:
            if self._is_closed:
                raise ProcessLookupError
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self._process.exitcode is None and self._process.pid is not None:
                os.kill(self._process.pid, number)


def _pidfd(pid: int | None) -> int | None:
    """What names a process for good, as its id may be another one's once it has ended; None where there is no such."""
    try:
        return os.pidfd_open(pid or 0)
    except (AttributeError, OSError):
        return None


@contextmanager
def _without_signals() -> Iterator[None]:
    """Have a process begin without the signals that stop a program, as it is not prepared for them at first."""
    resource_tracker.ensure_running()  # or it would be begun within, and its beginning unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
