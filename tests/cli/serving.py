"""Commands that run on, as tests begin, hear and signal them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.cli.commands import Shell, environment
from tests.clocks import PATIENCE


class Serving:
    """A command, and the lines that it writes; its own group, as that of a terminal's command."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.out: list[str] = []
        self.err: list[str] = []
        self._heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        pairs = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._ears = [threading.Thread(target=self._listen, args=pair) for pair in pairs]
        self._talking = len(self._ears)
        for ear in self._ears:
            ear.start()

    def expect(self, *words: str) -> str:
        """The next line in which all of these are; those before it are passed over."""
        while self._talking:
            line = self._heard.get(timeout=PATIENCE)
            if line is None:
                self._talking -= 1
            elif all(word in line for word in words):
                return line
        raise AssertionError(f"it ended without saying {words}: {self.out} {self.err}")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Its exit status, once it has ended and all is heard."""
        status = self.process.wait(PATIENCE)
        for ear in self._ears:
            ear.join(PATIENCE)
        return status

    def _listen(self, stream: IO[bytes], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
            self._heard.put(lines[-1])
        self._heard.put(None)


@contextmanager
def serving_command(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[Serving]:
    """Run a command by its words; at the end all that is left of its group is killed."""
    running = Serving(command, folder, environ)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        with running.process:  # closes the pipes
            running.end()


def serving(shell: Shell, *arguments: object, **environ: str) -> AbstractContextManager[Serving]:
    """The same for a command in a shell's folder."""
    return serving_command(shell.command(*arguments), shell.folder, environment(**environ))
