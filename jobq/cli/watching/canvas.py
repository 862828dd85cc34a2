"""A terminal as a canvas: a screen of its own that is painted line by line, and given back as it was."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from rich.text import Text

from jobq.cli.printing import console

# Lines are put where they belong and not wrapped: a name that is wider than it seems can then move nothing but itself.
ENTER = "\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?1049l\x1b[?25h"
USUAL = os.terminal_size((80, 24))


def is_terminal() -> bool:
    """Whether standard output is a terminal on which one can paint."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Canvas:
    """The terminal, in a block: without a cursor, and with its keys read one by one and not shown."""

    def __init__(self) -> None:
        self._console = console()
        self._modes: list[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._modes = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())
        self._write(ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, termios.error):  # the terminal may be gone
            self._write(LEAVE)
        if self._modes is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._modes)

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal now."""
        size = os.get_terminal_size(sys.stdout.fileno())
        return size if size.columns and size.lines else USUAL

    def paint(self, lines: Sequence[Text]) -> None:
        """Paint the screen anew. Raises OSError if the terminal is gone."""
        # Erased before, as the cursor stays on the last cell of a full line, and what is behind it includes that one.
        painted = "".join(f"\x1b[{row};1H\x1b[K{self._codes(line)}" for row, line in enumerate(lines, 1))
        left = f"\x1b[{len(lines) + 1};1H\x1b[J" if len(lines) < self.size.lines else ""
        self._write(painted + left)

    def _codes(self, line: Text) -> str:
        """A line in the codes of this terminal."""
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False, width=max(1, line.cell_len))
        return captured.get()

    def _write(self, codes: str) -> None:
        sys.stdout.buffer.write(codes.encode(sys.stdout.encoding, "replace"))
        sys.stdout.buffer.flush()
