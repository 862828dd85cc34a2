"""The log of a command that runs on: a line a record on stderr, with time, level and message."""

from __future__ import annotations

import logging
from types import TracebackType

from jobq.cli.printing import visible

LEVELS = ("debug", "info", "warning", "error")
FORMAT = "%(asctime)s %(levelname)s %(message)s"
LONGEST = 1_000
"""Characters of a message; what a job failed with may be longer, and is kept with the job."""


class OneLine(logging.Formatter):
    """Writes a record as one line, and a traceback behind it, in which nothing commands a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # as logging calls it
        """See logging.Formatter."""
        line = visible(super().formatMessage(record))
        return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"

    def formatException(  # noqa: N802
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """See logging.Formatter."""
        return "\n".join(visible(line.replace("\t", "    ")) for line in super().formatException(ei).splitlines())


def report(level: str | None) -> None:
    """Have what is logged written to stderr; where the program's own modules see to that, it is left to them.

    level: one of LEVELS; None for info, or where it is left to others, for what they say.
    """
    root = logging.getLogger()
    if root.handlers:
        if level is not None:
            logging.getLogger("jobq").setLevel(level.upper())
        return
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT))
    root.addHandler(handler)
    root.setLevel((level or "info").upper())
