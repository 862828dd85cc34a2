"""A terminal of 100 columns, in which a command runs, and whose screen can be read."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyte

from tests.clocks import PATIENCE

COLUMNS, LINES = 100, 30


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, its = pty.openpty()
        self._size(COLUMNS, LINES)
        environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | {"TERM": "xterm-256color"},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(its)
        self.written = b""

    @property
    def screen(self) -> str:
        """What is to be seen, without the spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def colours(self, word: str) -> set[str]:
        """The colours in which the first such word on the screen is written."""
        for number, line in enumerate(self._screen.display):
            if (start := line.find(word)) >= 0:
                return {self._screen.buffer[number][column].fg for column in range(start, start + len(word))}
        raise AssertionError(f"{word} is not on the screen:\n{self.screen}")

    def wait_for(self, *words: str) -> str:
        """The screen, once all of these are to be seen."""
        return self.wait_until(lambda screen: all(word in screen for word in words), str(words))

    def wait_until(self, is_right: Callable[[str], bool], what: str) -> str:
        """The screen, once it is right."""
        end = time.monotonic() + PATIENCE
        while not is_right(self.screen):
            assert time.monotonic() < end, f"{what} not seen on the screen:\n{self.screen}"
            assert self._read(1) or self.process.poll() is None or is_right(self.screen), (
                f"it ended without {what}:\n{self.screen}"
            )
        return self.screen

    def type(self, keys: str) -> None:
        """Press keys; "\\x03" is Ctrl-C."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, which its kernel tells the command."""
        self._screen.resize(lines, columns)
        self._size(columns, lines)

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed; nothing can be read any more."""
        os.close(self._ours)
        self._ours = -1

    @property
    def modes(self) -> list[Any]:
        """How the terminal treats what is typed and written."""
        return termios.tcgetattr(self._ours)

    def end(self) -> int:
        """The exit status, once the command has ended and all is read."""
        while self._read(0.1) or self.process.poll() is None:
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End what still runs."""
        with suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self._ours >= 0:
            os.close(self._ours)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self, timeout: float) -> bool:
        if not select.select([self._ours], [], [], timeout)[0]:
            return False
        try:
            chunk = os.read(self._ours, 65_536)
        except OSError:  # that is how a terminal says that it ended
            return False
        self.written += chunk
        self._stream.feed(chunk)
        return bool(chunk)


@contextmanager
def terminal(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """A command in a terminal, ended at the end of the block if it runs still."""
    opened = Terminal(command, folder, environment)
    try:
        yield opened
    finally:
        opened.close()
