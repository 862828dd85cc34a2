"""Which jobs a command changes: those whose ids are given, or all of a topic, a status or an age."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from jobq.cli.describing import numbers_now
from jobq.cli.finding import PAGE, pages
from jobq.cli.parameters import DURATION, JOB_ID, before, topic_option, yes_option
from jobq.cli.statuses import Interrupted
from jobq.model.views import JobInfo
from jobq.service import JobService

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Choice:
    """Jobs by their ids, or by what they are.

    statuses: those that the verb is for, or some of them. before: the instant before which they were finished or, if
    they are not, created.
    """

    ids: Sequence[int]
    topic: str | None
    statuses: Sequence[str]
    before: datetime | None

    @classmethod
    def of(
        cls,
        meant: Sequence[str],
        *,
        ids: Sequence[int],
        topic: str | None,
        statuses: Sequence[str],
        older_than: float | None,
    ) -> Choice:
        """What the arguments of a command say; `meant` are the statuses if none is given. Raises a usage error."""
        if bool(ids) == (topic is not None or bool(statuses) or older_than is not None):
            raise click.UsageError("Say which jobs: by their ids, or by --topic, --status and --older-than.")
        return cls(tuple(dict.fromkeys(ids)), topic, tuple(dict.fromkeys(statuses)) or meant, before(older_than))

    def pages(self, svc: JobService) -> Iterator[list[int]]:
        """The ids of the jobs that are meant now, page by page, each once.

        All are looked up before the first page: a job that is changed may come again further behind, and for ever, as
        may new ones that come as fast.
        """
        ids = sorted({id for status in self.statuses for id in self._of(svc, status)})
        size = min(PAGE, svc.limits.batch)
        for start in range(0, len(ids), size):
            yield ids[start : start + size]

    def _of(self, svc: JobService, status: str) -> Iterator[int]:
        return (job.id for page in pages(svc, status, self.topic) for job in page if self._is_old(job))

    def count(self, svc: JobService) -> int:
        """How many there are now."""
        if self.ids:
            return len(self.ids)
        if self.before is not None:
            return len({id for status in self.statuses for id in self._of(svc, status)})
        topics = svc.topics() if self.topic is None else [self.topic]
        counts = [numbers_now(svc.stats(topic)) for topic in topics]
        return sum(now[status] for now in counts for status in self.statuses)

    def _is_old(self, job: JobInfo) -> bool:
        return self.before is None or (job.finished_at or job.created_at) < self.before


def choice_options(meant: Sequence[str], allowed: Sequence[str] = ()) -> Callable[[F], F]:
    """Add what says which jobs to a command: the arguments of `Choice.of`, and `yes`.

    meant: the statuses that are unless --status names others. allowed: those that it may name, if they are not these.
    """
    help_of_status = f"Only this status, which may be given again; else {', '.join(meant)}."
    old = click.option("--older-than", type=DURATION, help="Only those finished (or created) longer ago, as 7d.")
    kinds = click.Choice(allowed or meant)
    status = click.option("--status", "statuses", type=kinds, multiple=True, help=help_of_status)
    ids = click.argument("ids", type=JOB_ID, nargs=-1)

    def add(function: F) -> F:
        for option in (yes_option, old, status, topic_option, ids):
            function = option(function)
        return function

    return add


def confirm(question: str, number: int, *, yes: bool) -> None:
    """Ask whether to go on, if that is about more than one thing.

    Raises Abort if not, Interrupted at Ctrl-C, and ClickException if there is no terminal.
    """
    if yes or number <= 1:
        return
    if not sys.stdin.isatty():
        raise click.ClickException(f"{question} There is nobody to ask, so nothing was changed: --yes says yes.")
    try:
        while (answer := _answer(question)) not in ("y", "yes"):
            if answer in ("", "n", "no"):
                raise click.Abort
    except KeyboardInterrupt:  # which click.confirm would take for a no
        raise Interrupted("interrupted: nothing was changed") from None


def _answer(question: str) -> str:
    """What somebody types behind a question; nothing at Ctrl-D."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr)
    return line.strip().lower()
