"""Running a command: from arguments to an exit status, with every failure said in one line."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import click

from jobq.cli.commands import commands
from jobq.cli.statuses import FAILED, NOTHING_THERE, USAGE, Interrupted, NothingThere, ReaderGone
from jobq.cli.streams import open_streams
from jobq.cli.target import Target
from jobq.errors import JobNotFound, JobqError, StorageNotFound

NEEDED = {"rich": "rich", "dotenv": "python-dotenv"}
"""Modules of the extra `cli` that are imported where they are needed, and their packages."""
OF_SIGNAL = 128
"""What shells add to a signal's number for the status of a program that it ended."""


Said = Callable[[Any], str]

KINDS: tuple[tuple[tuple[type[BaseException], ...], int, Said], ...] = (
    ((click.UsageError,), USAGE, lambda problem: f"{problem.format_message()} See '{_command(problem)} --help'."),
    ((click.ClickException,), FAILED, lambda problem: problem.format_message()),
    ((Interrupted,), OF_SIGNAL + signal.SIGINT, str),
    ((KeyboardInterrupt,), OF_SIGNAL + signal.SIGINT, lambda _: "interrupted"),
    ((click.Abort,), FAILED, lambda _: "nothing was changed"),
    ((NothingThere, JobNotFound, StorageNotFound), NOTHING_THERE, str),
    ((ImportError,), FAILED, lambda problem: _missing(problem)),
    ((JobqError, ValueError, TypeError, TimeoutError), FAILED, str),
    ((OSError,), FAILED, lambda problem: f"{problem.filename or 'system'}: {problem.strerror or problem}"),
    ((Exception,), FAILED, lambda problem: f"{type(problem).__name__}: {problem} (--debug shows where)"),
)
"""What failures are: the exit status, and what is said. The first that fits counts."""


def run(arguments: Sequence[str]) -> int:
    """Run `jobq` with these arguments; returns the exit status."""
    open_streams()
    target = Target()
    try:
        status = commands.main(list(arguments), "jobq", standalone_mode=False, obj=target)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (ReaderGone, BrokenPipeError):  # who reads the output has enough of it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OF_SIGNAL + signal.SIGPIPE
    except BaseException as problem:
        if target.debug and not isinstance(problem, click.UsageError | SystemExit):
            traceback.print_exc()
        return _report(problem)


def _report(problem: BaseException) -> int:
    """Say what went wrong in one line on stderr; returns the exit status."""
    for kinds, status, said in KINDS:
        if isinstance(problem, kinds):
            return _say(said(problem), status, _command(problem))
    raise problem


def _missing(problem: ImportError) -> str:
    """What to do about a module that is not there: a package of the extra, or one of the user's own."""
    package = NEEDED.get((problem.name or "").partition(".")[0])
    return f"this needs the package {package}: pip install 'jobq[cli]'" if package else str(problem)


def _command(problem: BaseException) -> str:
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    return context.command_path if context else "jobq"


def _say(message: str, status: int, who: str) -> int:
    if status > OF_SIGNAL and sys.stderr.isatty():
        print(file=sys.stderr)  # behind the ^C
    print(f"{who}: {' '.join(message.split())}", file=sys.stderr)
    return status
