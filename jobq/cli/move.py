"""`jobq move`: a whole queue to another storage."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from jobq.cli.choosing import confirm
from jobq.cli.parameters import yes_option
from jobq.cli.printing import console, count
from jobq.cli.statuses import Interrupted, NothingThere
from jobq.cli.target import Target, debug_option
from jobq.errors import StorageError
from jobq.opening import open as open_service

if TYPE_CHECKING:
    from jobq.model.views import MoveProgress
    from jobq.service import JobService

EACH = 5.0
"""Seconds between lines about how far it is, where there is no terminal to draw on."""


@click.command()
@click.argument("source_url", metavar="SRC_URL")
@click.argument("other_url", metavar="DST_URL")
@click.option("--take", is_flag=True, help="Take reserved jobs from who has them, instead of waiting for these.")
@yes_option
@debug_option
@click.pass_obj
def move(target: Target, /, source_url: str, other_url: str, take: bool, yes: bool) -> None:
    """Move all jobs to another storage, with their ids, states and logs, and the counters of topics.

    DST_URL names an empty storage, or one to which the same move was begun: killed or interrupted, it goes on when it
    is run again, and no job is lost or doubled. Let producers enqueue in the other one only.
    """
    _check_queues(target, other_url)
    with open_service(source_url, create=False) as source:
        number = source.info().job_count
        confirm(f"Move {count(number)} from {source_url} to {other_url}?", number, yes=yes)
        with open_service(other_url) as other:
            moved = _move(source, other, take=take)
    if not (moved.moved or moved.left or moved.unreadable):
        raise NothingThere(f"there is no job to move in {source_url}")
    print(f"moved {count(moved.moved)} to {other_url}")
    if moved.left:
        print(
            f"jobq: {count(moved.left)} {'was' if moved.left == 1 else 'were'} enqueued in {source_url} behind the "
            f"move, and {'stays' if moved.left == 1 else 'stay'}: enqueue in {other_url} from now on, and have workers "
            f"do what is left in {source_url}",
            file=sys.stderr,
        )
    if moved.unreadable:
        print(f"jobq: {count(moved.unreadable)} cannot be read and stay: see jobq verify", file=sys.stderr)


def _check_queues(target: Target, other_url: str) -> None:
    """Refuse what names a third queue, and a queue that does not outlive the command."""
    if target != Target(debug=target.debug):
        raise click.UsageError("The queues are SRC_URL and DST_URL: leave --url, --queue and --config out.")
    if other_url.startswith("memory:"):
        raise click.ClickException(
            f"{other_url} would end with this command, and all jobs with it: name another storage, as lmdb:jobs"
        )


def _move(source: JobService, other: JobService, *, take: bool) -> MoveProgress:
    done = 0

    def note(progress: MoveProgress) -> None:
        nonlocal done
        done = progress.moved
        show(progress)

    try:
        with _showing() as show:
            return source.move_to(other, take=take, progress=note)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {count(done)} moved, and the same command goes on") from None
    except StorageError as problem:
        rest = f"{count(done)} moved, and what is left is paused until the same command has gone on"
        raise click.ClickException(f"{problem} ({rest})") from problem


@contextmanager
def _showing() -> Iterator[Callable[[MoveProgress], None]]:
    """What shows how far it is: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("moving"), BarColumn(), MofNCompleteColumn(), TextColumn("jobs {task.description}"))
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda at: bar.update(task, completed=at.moved, total=at.moved + at.left, description=_waiting(at))


class _Lines:
    """Lines about how far it is, each some seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + EACH

    def __call__(self, at: MoveProgress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EACH
            print(f"jobq: moved {count(at.moved)}, {at.left:,} left{_waiting(at)}", file=sys.stderr)


def _waiting(at: MoveProgress) -> str:
    return f", waiting for {at.reserved:,} that are reserved (--take takes them)" if at.reserved else ""
