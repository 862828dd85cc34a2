"""A process that was spawned, and the pipe to it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker, util

from jobq.errors import ConfigError
from jobq.worker import child
from jobq.worker.child import Question, Ready, References, Reply, Report, Task, receive, send
from jobq.worker.signals import SIGNALS

FAREWELL = 2.0
"""Seconds that a process has to end once nobody speaks to it any more."""
LOOK = 0.01
"""Seconds between two looks at a process that is about to end."""


class Offspring:
    """A process that runs `child.main`. All but `kill` is for one thread."""

    def __init__(self, references: References) -> None:
        context = get_context("spawn")  # a fork would inherit locks, threads and the storage's files
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=child.main, args=(theirs, references), name="jobq-child")
        with theirs, _without_signals():
            self._process.start()
        # The interpreter waits at its end for processes that it spawned, also where nobody is left to end them.
        self._at_exit = util.Finalize(None, self.kill, exitpriority=1)

    def await_ready(self) -> None:
        """Wait until it is ready for tasks. Raises ConfigError if it never will be."""
        try:
            ready: Ready = receive(self._pipe)
            problem = ready.problem
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
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill it, from any thread."""
        with suppress(ValueError):  # it has ended, and is closed
            self._process.kill()

    def end(self) -> None:
        """Let it end, and make sure that it does."""
        self._pipe.close()
        while self._exit_code(FAREWELL) is None:
            self.kill()
        self._at_exit.cancel()
        self._process.close()

    def obituary(self) -> str:
        """How it died, once its end of the pipe is closed."""
        code = self._exit_code(FAREWELL)
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"it was killed by {signal.Signals(-code).name}"
        return "it still runs, but hears nothing" if code is None else f"it exited with status {code}"

    def _exit_code(self, timeout: float) -> int | None:
        """How it ended; None if it still runs after `timeout` seconds.

        It is looked at now and then, as `join` would wait for what handlers may have closed, or left open in processes
        of their own. And other threads, as they begin a process, see to the end of this one, too.
        """
        end = time.monotonic() + timeout
        while (code := self._process.exitcode) is None and time.monotonic() < end:
            time.sleep(LOOK)
        return code


@contextmanager
def _without_signals() -> Iterator[None]:
    """Have a process begin without the signals that stop a program, as it is not prepared for them at first."""
    resource_tracker.ensure_running()  # or it would be begun within, and its beginning unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
